import { vi } from 'vitest'
import { hashSlot } from '../../src/core/keys.ts'
import type { Node, PrivateCluster } from '../../tools/redis-cluster.ts'

export type { Node, PrivateCluster } from '../../tools/redis-cluster.ts'
export { startCluster } from '../../tools/redis-cluster.ts'

const PATIENCE_MS = 20_000
/** A master votes for a replica of the same master once in two node timeouts. */
const AGAIN_MS = 2_200

/** Keys of streams by the index of the master that has them. */
export const STREAM_OF = ['shop-1', 'shop-2', 'shop-3'].toSorted((a, b) => hashSlot(a) - hashSlot(b))

/** The failover that an operator asks for: the replica of a master takes over, and loses nothing. */
export async function failOver({ nodes, whole }: PrivateCluster, key: string, ownerOf: PrivateCluster['ownerOf']) {
  const owner = await ownerOf(key)
  const at = nodes.indexOf(owner)
  const other = nodes[(at + 3) % 6] as Node
  const again = setInterval(() => void other.raw.cluster('FAILOVER').catch(() => {}), AGAIN_MS)
  try {
    await other.raw.cluster('FAILOVER')
    await vi.waitUntil(async () => (await ownerOf(key).catch(() => undefined)) === other, {
      timeout: PATIENCE_MS,
      interval: 20,
    })
  } finally {
    clearInterval(again)
  }
  await whole()
  return other
}

/** The steps by which a slot moves key by key; each may be taken when a test wants it. */
export function slotMove({ nodes }: PrivateCluster, key: string, from: Node, to: Node) {
  const slot = hashSlot(key)
  const move = async (...keys: string[]) => {
    const password = (to.raw.options.password ?? '') as string
    const auth = password ? ['AUTH', password] : []
    for (const each of keys) await from.raw.call('MIGRATE', '127.0.0.1', to.server.port, each, 0, 5_000, ...auth)
  }
  return {
    async begin() {
      await to.raw.cluster('SETSLOT', slot, 'IMPORTING', from.id)
      await from.raw.cluster('SETSLOT', slot, 'MIGRATING', to.id)
    },
    move,
    async finish() {
      for (;;) {
        const keys = (await from.raw.cluster('GETKEYSINSLOT', slot, 100)) as string[]
        if (keys.length === 0) break
        await move(...keys)
      }
      for (const { raw } of [to, from, ...nodes]) await raw.cluster('SETSLOT', slot, 'NODE', to.id).catch(() => {})
    },
  }
}

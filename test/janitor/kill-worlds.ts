import type { Redis } from 'ioredis'
import type { Keeping } from '../../src/group/keeping.ts'
import { memoryKeeping } from '../../src/group/memory/memory-keeping.ts'
import { MemoryConsumerGroup, MemoryServer } from '../../src/group/memory/memory-server.ts'
import type { KillWorld } from './kills.ts'

/** A world in memory, whose clock goes on only when a lease is to end. */
export function memoryKillWorld(): KillWorld {
  let now = Date.UTC(2030, 0, 1)
  const server = new MemoryServer({ now: () => now, monotonic: () => now, after: () => () => {} })
  const stream = server.stream('orders')
  const groupOf = (name: string) => {
    const group = stream.groups.get(name) ?? new MemoryConsumerGroup('0-0')
    stream.groups.set(name, group)
    return group
  }
  return {
    keeping: memoryKeeping(server),
    publish: async () => stream.add([['n', 'x']], now),
    async deliver(name, entries) {
      const group = groupOf(name)
      for (const { id } of stream.after(group.lastDeliveredId, entries)) {
        group.hand(id, { owner: 'poller-0' }, 1, now)
        group.lastDeliveredId = id
      }
    },
    async ack(name, n) {
      const group = groupOf(name)
      const id = group.ids[n % Math.max(1, group.ids.length)]
      if (id !== undefined) group.pending.delete(id)
    },
    async undone(name, published) {
      const group = groupOf(name)
      const read = published.indexOf(group.lastDeliveredId) + 1
      return [...group.ids, ...published.slice(read)]
    },
    ids: async () => stream.entries.map(({ id }) => id),
    async endLease() {
      now += 600_000
    },
  }
}

/** A world on a server; the stream and all beside it are new. */
export async function redisKillWorld(raw: Redis, keeping: Keeping): Promise<KillWorld> {
  await raw.flushall()
  const make = (group: string) => raw.xgroup('CREATE', 'orders', group, '0', 'MKSTREAM').catch(() => {})
  const pendingOf = async (group: string) =>
    ((await raw.xpending('orders', group, '-', '+', 1_000)) as [string][]).map(([id]) => id)
  return {
    keeping,
    publish: async () => (await raw.xadd('orders', '*', 'n', 'x')) as string,
    async deliver(group, entries) {
      await make(group)
      if (entries > 0) await raw.xreadgroup('GROUP', group, 'poller-0', 'COUNT', entries, 'STREAMS', 'orders', '>')
    },
    async ack(group, n) {
      const ids = await pendingOf(group)
      const id = ids[n % Math.max(1, ids.length)]
      if (id !== undefined) await raw.xack('orders', group, id)
    },
    async undone(group, published) {
      const groups = (await raw.xinfo('GROUPS', 'orders')) as unknown[][]
      const info = groups.find((fields) => fields[1] === group) ?? []
      const last = String(info[info.indexOf('last-delivered-id') + 1])
      return [...(await pendingOf(group)), ...published.slice(published.indexOf(last) + 1)]
    },
    ids: async () => (await raw.xrange('orders', '-', '+')).map(([id]) => id),
    endLease: async () => void (await raw.hdel('{orders}::stream::janitor', 'lease', 'leaseUntil')),
  }
}

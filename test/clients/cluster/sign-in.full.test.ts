import { Cluster, type Redis } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { iamAuth } from 'millrace/lambda'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Node, type PrivateCluster, STREAM_OF, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

const USER = 'app'
let cluster: PrivateCluster
let tokens = 0

/** Tokens are told apart by the second, and signed with what the environment has. */
const options = { userId: USER, cacheName: 'orders', region: 'eu-central-1' }
const token = () => iamAuth(options).password

beforeAll(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret')
  cluster = await startCluster()
}, 30_000)
afterAll(() => cluster.stop())

/** From now on only the new token logs in; who is connected stays so. */
async function rotate(nodes: readonly Node[] = cluster.nodes): Promise<void> {
  vi.stubEnv('AWS_SESSION_TOKEN', `session-${tokens++}`)
  await allow(token(), nodes)
}

async function allow(password: string, nodes: readonly Node[]): Promise<void> {
  for (const { raw } of nodes)
    await raw.call('ACL', 'SETUSER', USER, 'on', 'resetpass', `>${password}`, '~*', '+@all', '-cluster|info')
}

const cut = (nodes: readonly Node[] = cluster.nodes) =>
  Promise.all(nodes.map(({ raw }) => raw.client('KILL', 'USER', USER as never)))

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
// the clock of a token goes by the second: fixed, so that the server's token is the client's
const at = new Date('2026-01-01T00:00:00Z')
beforeEach(async () => {
  vi.useFakeTimers({ now: at, toFake: ['Date'] })
  await rotate()
})

const CLIENTS = {
  'a URL': () => connectIoredis(cluster.url, iamAuth(options)),
  'ioredis 6, as redisOptions': () => connectIoredis(() => new Cluster(startup(), { redisOptions: iamAuth(options) })),
  'ioredis 6, spread': () => connectIoredis(() => new Cluster(startup(), { redisOptions: { ...iamAuth(options) } })),
  'ioredis 5, spread': () =>
    connectIoredis(() => new Cluster5(startup(), { redisOptions: { ...iamAuth(options) } }) as never),
}

describe.each(Object.entries(CLIENTS))('%s', (_name, connect) => {
  const invoke = async (redis: ReturnType<typeof connect>) => {
    try {
      for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o' })
      await poll(
        STREAM_OF.map((stream) => billing(async () => {}, { stream, mode: 'once' })),
        { redis, remainingMs: 20_000 },
      )
      return 'fine'
    } catch (error) {
      return (error as Error).message
    }
  }
  const failed = (all: readonly string[]) => all.filter((end) => end !== 'fine')

  test('a node that is connected to later gets the token of that time', async () => {
    const redis = connect()
    const [first, ...others] = STREAM_OF as [string, ...string[]]
    await createPublisher({ stream: first, redis }).publish(OrderPaid, { orderId: 'o' })
    await rotate()
    for (const stream of others) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o' })
    await cut()
    expect(failed([await invoke(redis), await invoke(redis), await invoke(redis)])).toEqual([])
    await redis.close()
  })

  test('a cut while idle costs no invocation, a cut amid a command one at most', async () => {
    const redis = connect()
    await invoke(redis)
    await rotate()
    await cut()
    expect(await invoke(redis)).toBe('fine')
    await rotate()
    const invocations: string[] = []
    const cutting = setInterval(() => void cut(), 7)
    setTimeout(() => clearInterval(cutting), 20)
    for (let n = 0; n < 10; n++) invocations.push(await invoke(redis))
    clearInterval(cutting)
    expect(failed(invocations).length, String(failed(invocations))).toBeLessThanOrEqual(1)
    await redis.close()
  })

  test('a node that refuses the login stops no other, and says so', async () => {
    const redis = connect()
    const wrong = await cluster.ownerOf(STREAM_OF[0] as string)
    await allow('another', [wrong])
    await cut([wrong])
    const publish = (stream: string) => createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o' })
    const ends = await Promise.allSettled(STREAM_OF.map(publish))
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
    await expect(publish(STREAM_OF[0] as string)).rejects.toThrow(/WRONGPASS/)
    await allow(token(), [wrong])
    expect(await invoke(redis)).toBe('fine')
    await redis.close()
  })
})

test('a URL of a cluster needs no right to CLUSTER INFO, INFO or PING', async () => {
  for (const { raw } of cluster.nodes)
    await (raw as Redis).call('ACL', 'SETUSER', 'least', 'on', '>p', '~*', '-@all', '+cluster|slots', '+xadd')
  const redis = connectIoredis(cluster.url.replace('://', '://least:p@'))
  for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o' })
  await redis.close()
})

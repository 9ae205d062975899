import { createPublisher, defineConsumer, NonRetryableError, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { inspectStreams, redriveDeadLetters } from 'millrace/operate'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { type Node, type PrivateCluster, slotMove, startCluster } from '../support/cluster.ts'
import { OrderPaid } from '../support/consumer.ts'
import { createAclUsers, urlOf } from './acl-users.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({ empty: 1 })
  for (const { raw } of cluster.nodes) await createAclUsers(raw)
}, 30_000)
afterAll(() => cluster.stop())

const seen: string[] = []
const billing = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [
    on(OrderPaid, async ({ payload: { orderId } }) => {
      seen.push(orderId)
      if (orderId === 'bad') throw new NonRetryableError('bad')
      if (orderId === 'later' && seen.filter((id) => id === 'later').length === 1) throw new Error('again')
    }),
  ],
  minIdleMs: 200,
  handlerTimeoutMs: 1_000,
  allowLongHandlers: true,
  backoff: { firstMs: 0 },
})

const connectAs = (user: string, node = cluster.nodes[1] as Node) =>
  connectIoredis(`${urlOf(node.server, user)}?cluster`)

test('the users of infra/redis-acl.txt do their work on a cluster while the hash slot moves', async () => {
  const users = ['publisher', 'poller', 'claimer', 'console', 'operator'] as const
  const [publisher, poller, claimer, console, operator] = users.map((name) => connectAs(`orders-${name}`))
  const move = slotMove(cluster, 'orders', await cluster.ownerOf('orders'), cluster.nodes.at(-1) as Node)
  const round = async () => {
    seen.length = 0
    const orders = createPublisher({ stream: 'orders', redis: publisher as never })
    await orders.publishMany(['good', 'bad', 'later'].map((orderId) => [OrderPaid, { orderId }] as const))
    const read = await poll(billing, { redis: poller as never, remainingMs: 20_000 })
    await new Promise((resolve) => setTimeout(resolve, 300))
    const claimed = await claimOnce(billing, { redis: claimer as never, remainingMs: 20_000 })
    const { streams } = await inspectStreams({ redis: console as never, streams: ['orders'] })
    const redriven = await redriveDeadLetters(billing, { redis: operator as never, all: true })
    expect({ read, claimed, streams, redriven }).toMatchObject({
      read: { read: 3, acked: 1, retried: 1, deadLettered: 1 },
      claimed: { acked: 1 },
      streams: [{ unknown: {}, groups: [{ unknown: {} }] }],
      redriven: { redriven: expect.any(Number) },
    })
  }
  await round()
  await claimOnce(billing, { redis: claimer as never, remainingMs: 20_000 })
  await move.begin()
  await move.move('orders')
  const moving = new Promise((resolve) => setTimeout(resolve, 1_500)).then(() => move.finish())
  await round()
  await moving
  for (const redis of [publisher, poller, claimer, console, operator]) await redis?.close()
}, 60_000)

test('a user without +cluster|slots learns at once which right is missing', async () => {
  for (const { raw } of cluster.nodes) await raw.call('ACL', 'SETUSER', 'orders-publisher', '-cluster|slots')
  const redis = connectAs('orders-publisher')
  const startedAt = performance.now()
  const published = createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' })
  await expect(published).rejects.toThrow(/NOPERM.*cluster/i)
  expect(performance.now() - startedAt).toBeLessThan(3_000)
  await redis.close()
})

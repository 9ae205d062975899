import { Redis } from 'ioredis'
import { createPublisher, defineConsumer, defineEvent, NonRetryableError, on, orderedBy, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { accessOf, dropDeadLetters, redriveDeadLetters } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { operator } from '../../infra/redis-acl.js'
import { startRedisServer } from '../../tools/redis-server.ts'
import { claimOnce } from '../support/claim-once.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ id: z.string() }) })

test.each(['drain', 'listen'] as const)(
  'a consumer with orderedBy() does all its work under the users of accessOf(), %s',
  async (mode) => {
    const server = await startRedisServer()
    const admin = new Redis(server.url)
    const calls: string[] = []
    const remainingMs = mode === 'listen' ? 2_000 : 60_000
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        on(Stepped, ({ payload: { id } }, { deliveryCount }) => {
          calls.push(id)
          if (id === 'a1' && deliveryCount < 3) throw new Error('no')
        }),
      ],
      backoff: { firstMs: 0, factor: 1, maxMs: 0 },
      mode,
      handlerTimeoutMs: 500,
      reserveMs: 100,
      use: [orderedBy(({ aggregateId }) => aggregateId)],
    })
    const access = accessOf(consumer)
    for (const [name, rules] of Object.entries(access))
      await admin.call('ACL', 'SETUSER', name, 'reset', '>only-in-tests', ...(rules.match(/\([^)]*\)|\S+/g) ?? []))
    const connect = (user: string) => connectIoredis(`redis://${user}:only-in-tests@${server.host}:${server.port}`)
    const [operator, poller, claimer] = [connectIoredis(server.url), connect('poller'), connect('claimer')]
    onTestFinished(async () => {
      await Promise.all([operator, poller, claimer].map((redis) => redis.close()))
      admin.disconnect()
      await server.stop()
    })
    const publisher = createPublisher({ stream: 'orders', redis: operator })
    const publish = (...ids: string[]) =>
      publisher.publishMany(ids.map((id) => [Stepped, { id }, { aggregateId: id[0] as string }] as const))

    await publish('a1', 'a2', 'a3', 'b1')
    await poll(consumer, { redis: poller, remainingMs })
    for (let round = 0; round < 3; round++) await claimOnce(consumer, { redis: claimer })
    // what a poller left behind, and a group that is lost
    await publish('a4', 'a5', 'c1')
    await admin.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 2, 'STREAMS', 'orders', '>')
    await poll(consumer, { redis: poller, remainingMs })
    for (let round = 0; round < 3; round++) await claimOnce(consumer, { redis: claimer })
    await admin.xgroup('DESTROY', 'orders', 'billing')
    await publish('a6')
    for (let round = 0; round < 4; round++) {
      await poll(consumer, { redis: poller, remainingMs })
      await claimOnce(consumer, { redis: claimer })
    }

    const first = calls.filter((id, n) => id.startsWith('a') && calls.indexOf(id) === n)
    expect(first).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'a6'])
    const pending = (await admin.xpending('orders', 'billing')) as unknown[]
    expect(pending[0]).toBe(0)
    // nor was anything refused that a script does without
    expect(await admin.call('ACL', 'LOG')).toEqual([])
  },
)

/** What `infra/redis-acl.txt` gives who is on call, and what letters of an ordering key take beside it. */
const OPERATOR = `${operator} +hget +hset +hexists +xack +zscore +zrangebylex +zrevrangebylex +zremrangebylex`

test("keys wait for dead letters, and go on, under the users of accessOf() and an operator's", async () => {
  const server = await startRedisServer()
  const admin = new Redis(server.url)
  const calls: string[] = []
  const broken = { is: true }
  const define = (afterDeadLetter: 'wait' | 'continue') =>
    defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        on(Stepped, ({ payload: { id } }) => {
          calls.push(id)
          if (broken.is && id.endsWith('1')) throw new NonRetryableError('no')
        }),
      ],
      use: [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter })],
    })
  const consumer = define('wait')
  for (const [name, rules] of Object.entries({ ...accessOf(consumer), operator: OPERATOR }))
    await admin.call('ACL', 'SETUSER', name, 'reset', 'on', '>only-in-tests', ...(rules.match(/\([^)]*\)|\S+/g) ?? []))
  const connect = (user: string) => connectIoredis(`redis://${user}:only-in-tests@${server.host}:${server.port}`)
  const [publishing, poller, claimer, onCall] = [
    connectIoredis(server.url),
    connect('poller'),
    connect('claimer'),
    connect('operator'),
  ]
  onTestFinished(async () => {
    await Promise.all([publishing, poller, claimer, onCall].map((redis) => redis.close()))
    admin.disconnect()
    await server.stop()
  })
  const publisher = createPublisher({ stream: 'orders', redis: publishing })
  await publisher.publishMany(
    ['a1', 'a2', 'b1', 'b2', 'c1', 'c2', 'd1', 'd2'].map(
      (id) => [Stepped, { id }, { aggregateId: id[0] as string }] as const,
    ),
  )
  await poll(consumer, { redis: poller })
  expect(calls).toEqual(['a1', 'b1', 'c1', 'd1'])
  broken.is = false

  expect((await redriveDeadLetters(consumer, { redis: onCall, orderingKeys: ['a'] })).redriven).toBe(1)
  expect((await dropDeadLetters(consumer, { redis: onCall, orderingKeys: ['b'] })).dropped).toBe(1)
  for (let round = 0; round < 3; round++) await claimOnce(consumer, { redis: claimer })
  expect(calls.slice(4).toSorted()).toEqual(['a1', 'a2', 'b2'])
  // one is deleted by hand, the other is waited for no more
  const letters = (await admin.xrange('{orders}:billing:dlq', '-', '+')) as [string, string[]][]
  const ofC = letters.find(([, fields]) => fields[fields.indexOf('orderingKey') + 1] === 'c') as [string, string[]]
  await admin.xdel('{orders}:billing:dlq', ofC[0])
  expect((await poll(consumer, { redis: poller })).deadLettersGone).toBe(1)
  await poll(define('continue'), { redis: poller })

  expect(calls.slice(7)).toEqual(['c2', 'd2'])
})

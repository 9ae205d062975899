import { Redis } from 'ioredis'
import type { Connection, HandlerContext, Report } from 'millrace'
import { createPublisher, effects, poll } from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { expect, it, onTestFinished } from 'vitest'
import { RedisReplyError } from '../../src/errors.ts'
import { createRedisConnection } from '../../src/group/redis/redis-connection.ts'
import type { RedisReply } from '../../src/group/redis/transport.ts'
import { reportImbalance } from '../../src/report.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, OrderPaid, startScenario } from '../support/scenario.ts'
import { Booked } from './asking.ts'
import { onBatch } from './batch-of-orders.ts'

type Handle = (event: { entryId: string }, context: HandlerContext) => unknown
const handling = (handle: Handle, options = {}) => billing(handle as never, options)
const reportOf = (run: Promise<Report>) => run.catch((error: unknown) => (error as { report: Report }).report)

/** A server behind a service that takes so many bytes per request. */
function connectLimited(url: string, limit: number): Connection {
  const client = new Redis(url, { protocol: 2 })
  return createRedisConnection({
    scriptPrefix: '',
    async send(commands) {
      const bytes = JSON.stringify(commands).length
      if (bytes > limit) throw new RedisReplyError(`ERR max request size exceeded. Limit: ${limit} bytes`)
      const pipeline = client.pipeline()
      for (const [name, ...args] of commands) pipeline.callBuffer(name, args as never)
      const results = (await pipeline.exec()) ?? []
      return results.map(([error, reply]) => (error ? new RedisReplyError(error.message) : (reply as RedisReply)))
    },
    close: async () => client.disconnect(),
  })
}

it('effects that are refused fail their entries, though the read beside them brings too much', {
  timeout: 60_000,
}, async () => {
  const { server, raw, age, publish, deadLetters } = await startScenario()
  const rest = await startRestServer({ redisUrl: server.url, token: 'secret', maxReplyBytes: 2_000 })
  const redis = connectUrl(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  await raw.sadd('{orders}:set', 'a')
  await publish('o-1', 'o-2', 'o-3', 'o-4', `o-5${'x'.repeat(1_500)}`, `o-6${'y'.repeat(1_500)}`)
  const consumer = handling((_event, context) => void effects(context).increment('{orders}:set'), {
    batchSize: 4,
    maxDeliveries: 2,
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
  })

  const reports = [await reportOf(poll(consumer, { redis, remainingMs: 20_000 }))]
  for (let round = 0; round < 4; round++) {
    await age(120_000)
    reports.push(await reportOf(claimOnce(consumer, { redis, remainingMs: 20_000 })))
    reports.push(await reportOf(poll(consumer, { redis, remainingMs: 20_000 })))
  }

  expect(reports.map(reportImbalance)).toEqual(reports.map(() => 0))
  expect(reports.reduce((sum, { invoked }) => sum + invoked, 0)).toBe(12)
  expect((await deadLetters()).map(({ head }) => head.reason)).toEqual(Array(6).fill('max-deliveries'))
})

it.each(['single', 'batch'])('effects do not take place where the entry may not be acknowledged: %s', async (kind) => {
  const { server, raw, connect, publish } = await startScenario()
  await publish('o-1', 'o-2', 'o-3')
  await raw.call('ACL', 'SETUSER', 'u', 'reset', 'on', '>p', '~*', '+@all', '-xack')
  const redis = connect(server.url.replace('redis://', 'redis://u:p@'))
  const increment = (_events: unknown, context: object) => void effects(context as never).increment('{orders}:n')
  const consumer = kind === 'batch' ? onBatch(OrderPaid, increment) : handling(increment as Handle)

  const report = await reportOf(poll(consumer, { redis, remainingMs: 17_000 }))

  expect([report.acked, report.unsettled, await raw.get('{orders}:n')]).toEqual([0, 3, null])
})

it('effects of several entries are settled, though one request does not take them all', async () => {
  const { raw, server, publish, pending } = await startScenario()
  const redis = connectLimited(server.url, 3_000_000)
  onTestFinished(() => redis.close())
  await publish(...Array.from({ length: 6 }, (_, n) => `o-${n}`))
  const consumer = handling((_event, context) =>
    effects(context).set(`{orders}:text:${context.entryId}`, 'x'.repeat(1_000_000)),
  )

  const report = await reportOf(poll(consumer, { redis, remainingMs: 20_000 }))

  expect([report.acked, await pending(), (await raw.keys('{orders}:text:*')).length]).toEqual([6, [], 6])
})

it.each([
  ['a publisher with deduplicateMs', { deduplicateMs: 1_000 }, {}, 'its publisher must have no deduplicateMs'],
  ['deduplicateMs', {}, { deduplicateMs: 1_000 }, 'deduplicateMs must be left out'],
  ['expectedVersion', {}, { expectedVersion: 0 }, 'expectedVersion must be left out'],
  ['half a character', {}, { eventId: '\ud800' }, 'eventId must be text of whole characters'],
])('an effect does not publish with %s', async (_what, ofPublisher, options, message) => {
  const { redis, publish } = await startScenario()
  await publish('o-1')
  const ledger = createPublisher({ stream: '{orders}:ledger', redis, ...ofPublisher })
  let thrown: unknown
  const consumer = handling((_event, context) => {
    try {
      effects(context).publish(ledger, Booked, { orderId: 'o-1' }, options as never)
    } catch (error) {
      thrown = error
    }
  })
  await poll(consumer, { redis })

  expect(String(thrown)).toContain(message)
})

import type { Redis } from 'ioredis'
import type { Consumer, Effects, Report } from 'millrace'
import { effects, NonRetryableError, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { beforeEach, describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { connectLike62 } from '../support/redis-62.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, counts, startScenario } from '../support/scenario.ts'
import { Booked, ledgerOf } from './asking.ts'
import { OrderPaid, onBatch } from './batch-of-orders.ts'

const LAST_ID = '18446744073709551615-18446744073709551615'

/** One effect of each kind, which nothing is wrong with. */
function fine(e: Effects): Effects {
  return e
    .increment('{orders}:n', 5)
    .incrementField('{orders}:h', 'a', 2)
    .addToSortedSet('{orders}:z', 'k', 2.5)
    .incrementScore('{orders}:z', 'i', 3)
    .addToHyperLogLog('{orders}:p', 'b', 'c')
    .addToSet('{orders}:s', 'b')
    .setFields('{orders}:h', { b: 'x' })
    .set('{orders}:v', 'hello', { ttlMs: 60_000 })
    .expire('{orders}:n', 50_000)
    .removeFromSet('{orders}:gone', 'a')
}

async function prepare({ raw }: Scenario): Promise<void> {
  await raw.mset({ '{orders}:n': '10', '{orders}:word': 'abc', '{orders}:long': '9'.repeat(400) })
  await raw.mset({ '{orders}:max': '9223372036854775807', '{orders}:min': '-9223372036854775808' })
  await raw.hset('{orders}:h', { a: '1', w: 'x', max: '9223372036854775807' })
  await raw.zadd('{orders}:z', 1, 'm')
  await raw.xadd('{orders}:end', LAST_ID, 'a', 'b')
  await raw.pfadd('{orders}:p', 'a')
  await raw.rpush('{orders}:l', 'a')
  await raw.sadd('{orders}:s', 'a')
  const sparse = (await raw.getBuffer('{orders}:p')) as Buffer
  await raw.set('{orders}:torn', sparse.subarray(0, 17))
  await raw.set('{orders}:short', Buffer.concat([sparse.subarray(0, 16), Buffer.from([0x3f])]))
  await raw.set('{orders}:named', Buffer.concat([Buffer.from('XYLL'), sparse.subarray(4)]))
  await raw.set('{orders}:half', Buffer.concat([sparse.subarray(0, 16), Buffer.from([0x7f])]))
  await raw.set('{orders}:encoded', Buffer.concat([sparse.subarray(0, 4), Buffer.from([2]), sparse.subarray(5)]))
  await raw.pfadd('{orders}:dense', ...Array.from({ length: 5_000 }, (_, n) => `e${n}`))
  await raw.set('{orders}:torn-dense', ((await raw.getBuffer('{orders}:dense')) as Buffer).subarray(0, 9_000))
}

/** Every key that is no part of the group, byte for byte. */
async function everything(raw: Redis): Promise<Record<string, string>> {
  const keys = (await raw.keys('*')).filter((key) => key !== 'orders' && !key.startsWith('{orders}:billing')).sort()
  const pairs = keys.map(async (key) => {
    const dump = await raw.dumpBuffer(key)
    return [key, `${dump?.toString('hex')} ${(await raw.pttl(key)) > 0}`] as const
  })
  return Object.fromEntries(await Promise.all(pairs))
}

const asking = (ask: (e: Effects) => unknown, options: object = {}): Consumer =>
  billing(((_event: unknown, context: never) => ask(effects(context))) as never, options)

const reportOf = (run: Promise<Report>) => run.catch((error: unknown) => (error as { report: Report }).report)

const WRONG: Readonly<Record<string, (e: Effects) => Effects>> = {
  'INCRBY of a hash': (e) => e.increment('{orders}:z'),
  'HINCRBY of a string': (e) => e.incrementField('{orders}:word', 'a'),
  'HSET of a string': (e) => e.setFields('{orders}:word', { a: 1 }),
  'HDEL of a string': (e) => e.deleteFields('{orders}:word', 'a'),
  'SADD of a list': (e) => e.addToSet('{orders}:l', 'a'),
  'SREM of a list': (e) => e.removeFromSet('{orders}:l', 'a'),
  'ZADD of a string': (e) => e.addToSortedSet('{orders}:word', 'm', 1),
  'ZINCRBY of a string': (e) => e.incrementScore('{orders}:word', 'm'),
  'ZREM of a string': (e) => e.removeFromSortedSet('{orders}:word', 'm'),
  'ZREMRANGEBYRANK of a string': (e) => e.keepHighest('{orders}:word', 1),
  'PFADD of a sorted set': (e) => e.addToHyperLogLog('{orders}:l', 'a'),
  'PFADD of a text': (e) => e.addToHyperLogLog('{orders}:word', 'a'),
  'PFADD of a HyperLogLog that is torn': (e) => e.addToHyperLogLog('{orders}:torn', 'a'),
  'PFADD of a dense HyperLogLog that is torn': (e) => e.addToHyperLogLog('{orders}:torn-dense', 'a'),
  'PFADD of a HyperLogLog that lacks registers': (e) => e.addToHyperLogLog('{orders}:short', 'a'),
  'PFADD of what begins otherwise': (e) => e.addToHyperLogLog('{orders}:named', 'a'),
  'PFADD of a HyperLogLog of another encoding': (e) => e.addToHyperLogLog('{orders}:encoded', 'a'),
  'PFADD of a HyperLogLog that ends within a run': (e) => e.addToHyperLogLog('{orders}:half', 'a'),
  'PFADD of two, the second of them torn': (e) =>
    e.addToHyperLogLog('{orders}:new', 'a').addToHyperLogLog('{orders}:torn', 'a'),
  'INCRBY of a text': (e) => e.increment('{orders}:word'),
  'INCRBY of a long text': (e) => e.increment('{orders}:long'),
  'INCRBY of a HyperLogLog': (e) => e.increment('{orders}:torn'),
  'INCRBY beyond the highest': (e) => e.increment('{orders}:max'),
  'INCRBY beyond the highest, by a carry': (e) =>
    e.set('{orders}:q', 9_223_372_035_900_000_000n).increment('{orders}:q', 999_999_999),
  'INCRBY of one more than the highest': (e) => e.set('{orders}:q', '9223372036854775808').increment('{orders}:q', -1),
  'INCRBY of one less than the lowest': (e) => e.set('{orders}:q', '-9223372036854775809').increment('{orders}:q'),
  'INCRBY below the lowest': (e) => e.increment('{orders}:min', -1),
  'INCRBY twice, which overflows only together': (e) =>
    e.increment('{orders}:n', 9_223_372_036_854_775_792n).increment('{orders}:n'),
  'INCRBY of what is set to a text': (e) => e.set('{orders}:q', 'x').increment('{orders}:q'),
  'HINCRBY of a text': (e) => e.incrementField('{orders}:h', 'w'),
  'HINCRBY beyond the highest': (e) => e.incrementField('{orders}:h', 'max'),
  'HINCRBY of what is set to a text': (e) => e.setFields('{orders}:h', { q: 'x' }).incrementField('{orders}:h', 'q'),
  'HINCRBY twice of what was deleted': (e) =>
    e
      .delete('{orders}:h')
      .incrementField('{orders}:h', 'f', 9_223_372_036_854_775_807n)
      .incrementField('{orders}:h', 'f'),
  'XADD of a list': (e) => e.publish(ledgerOf(memory, { stream: '{orders}:l' }), Booked, { orderId: 'o' }),
  'XADD where ids are used up': (e) =>
    e.publish(ledgerOf(memory, { stream: '{orders}:end' }), Booked, { orderId: 'o' }),
}

// no command is sent over a publisher's own connection
const memory = connectMemory()

describe.each([
  ['', undefined],
  [', as on Redis 6.2', connectLike62],
])('effects that cannot take place%s', (_version, connect) => {
  let scenario: Scenario

  beforeEach(async () => {
    scenario = await startScenario(connect && { connect })
    await prepare(scenario)
    await scenario.publish('o-1')
  })

  it.each(Object.entries(WRONG))('as %s leave all keys byte-equal, and the entry is retried', async (_name, ask) => {
    const { raw, redis, pending } = scenario
    const before = await everything(raw)

    const report = await poll(
      asking((e) => ask(fine(e)), { backoff: { firstMs: 60_000 } }),
      { redis },
    )

    expect(counts(report)).toMatchObject({ read: 1, retried: 1 })
    expect(await everything(raw)).toEqual(before)
    expect(await pending()).toEqual([['o-1', 'parked', 1]])
  })

  it('all take place where nothing is wrong, integers at the bounds and a dense HyperLogLog', async () => {
    const { raw, redis } = scenario
    await raw.pfadd('{orders}:p', ...Array.from({ length: 5_000 }, (_, n) => `e${n}`))
    await poll(
      asking((e) =>
        fine(e)
          .delete('{orders}:h')
          .increment('{orders}:h', -9_223_372_036_854_775_808n)
          .increment('{orders}:h', 9_223_372_036_854_775_807n)
          .set('{orders}:q', 9_223_372_036_500_000_000n)
          .increment('{orders}:q', -999_999_999)
          .increment('{orders}:q', 1_100_000_000)
          .set('{orders}:r', -9_223_372_036_500_000_000n)
          .increment('{orders}:r', 999_999_999)
          .increment('{orders}:r', -1_100_000_000),
      ),
      { redis },
    )

    expect(await raw.mget('{orders}:h', '{orders}:q', '{orders}:r')).toEqual([
      '-1',
      '9223372036600000001',
      '-9223372036600000001',
    ])
    expect(await raw.get('{orders}:n')).toBe('15')
  })

  it('for which memory is full leave all keys byte-equal, and the run ends in an error', async () => {
    const { raw, redis, pending } = scenario
    const before = await everything(raw)
    let error: unknown
    const consumer = billing((async (_event: unknown, context: never) => {
      fine(effects(context))
      await raw.config('SET', 'maxmemory', '1')
    }) as never)
    await poll(consumer, { redis }).catch((thrown: unknown) => {
      error = thrown
    })
    await raw.config('SET', 'maxmemory', '0')

    expect((error as { report: Report }).report).toMatchObject({ unsettled: 1, retried: 0, failed: 0 })
    expect(String(error)).toContain('OOM')
    expect(await everything(raw)).toEqual(before)
    expect(await pending()).toEqual([['o-1', 'parked', 1]])
  })

  it('on what has become a replica leave all keys byte-equal', async () => {
    const { raw, redis } = scenario
    const before = await everything(raw)
    const consumer = billing((async (_event: unknown, context: never) => {
      fine(effects(context))
      await raw.replicaof('127.0.0.1', '1')
    }) as never)
    const report = await reportOf(poll(consumer, { redis, remainingMs: 17_000 }))
    await raw.replicaof('NO', 'ONE')

    expect(report).toMatchObject({ acked: 0, unsettled: 1 })
    expect(await everything(raw)).toEqual(before)
  }, 30_000)

  const RIGHTS = [
    'incrby',
    'hincrby',
    'zadd',
    'zincrby',
    'pfadd',
    'sadd',
    'hset',
    'set',
    'pexpire',
    'srem',
    'type',
    'getrange',
    'strlen',
  ]
  it.each(RIGHTS)(
    'without the right to %s leave all keys byte-equal, and the run ends in an error',
    async (missing) => {
      const { server, raw, connect: connectTo } = scenario
      await raw.call('ACL', 'SETUSER', 'u', 'reset', 'on', '>p', '~*', '+@all', `-${missing}`)
      const redis = connectTo(server.url.replace('redis://', 'redis://u:p@'))
      const before = await everything(raw)

      const report = await reportOf(poll(asking(fine), { redis }))

      expect(report).toMatchObject({ acked: 0, unsettled: 1, failed: 0 })
      expect(await everything(raw)).toEqual(before)
    },
  )
})

it('a dead letter of refused effects says why, and observers are notified', async () => {
  const scenario = await startScenario()
  await prepare(scenario)
  await scenario.publish('o-1')

  const notified: unknown[] = []
  const observe = { effectsRefused: (refused: object) => void notified.push(refused) }

  await poll(
    asking((e) => e.increment('{orders}:word'), { maxDeliveries: 1 }),
    { redis: scenario.redis, observe },
  )

  const [{ head }] = (await scenario.deadLetters()) as unknown as [{ head: Record<string, string> }]
  expect(head).toMatchObject({
    reason: 'max-deliveries',
    errorName: 'RedisReplyError',
    errorMessage: 'Cannot carry out effects: ERR INCRBY needs an integer of 64 bits where it adds: {orders}:word',
  })
  expect(notified).toMatchObject([{ group: 'billing', eventType: 'OrderPaid', error: expect.any(Error) }])
})

it('a batch whose effects are its own is settled together, or not at all', async () => {
  const { raw, redis, publish } = await startScenario()
  const [first = ''] = await publish('o-1', 'o-2', 'o-3')
  const consumer = onBatch(OrderPaid, async (events, context) => {
    effects(context).increment('{orders}:n', events.length)
    if (events.length === 3) await raw.xack('orders', 'billing', first)
  })

  const reports = [await poll(consumer, { redis }), await claimOnce(consumer, { redis })]

  expect(reports.map(counts)).toMatchObject([
    { read: 3, retried: 2, superseded: 1 },
    { claimed: 2, acked: 2 },
  ])
  expect(await raw.get('{orders}:n')).toBe('2')
})

it('effects under a lease that has ended do not take place', async () => {
  const { raw, redis, publish } = await startScenario()
  await publish('o-1')
  const consumer = billing((async (_event: unknown, context: never) => {
    effects(context).increment('{orders}:n')
    await raw.del('{orders}:billing:slot:poller-0')
  }) as never)

  expect(await reportOf(poll(consumer, { redis }))).toMatchObject({ acked: 0, unsettled: 1 })
  expect(await raw.exists('{orders}:n')).toBe(0)
})

it('what a handler throws wins over its effects', async () => {
  const { raw, redis, publish } = await startScenario()
  await publish('o-1')
  const consumer = asking((e) => {
    e.increment('{orders}:n')
    throw new NonRetryableError('hopeless')
  })

  expect(counts(await poll(consumer, { redis }))).toMatchObject({ deadLettered: 1 })
  expect(await raw.exists('{orders}:n')).toBe(0)
})

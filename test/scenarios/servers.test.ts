import { claim, createPoller, defineConsumer, onBatch, poll } from 'millrace'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startRestServer } from '../support/rest-server.ts'
import { billing, counts, DLQ, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'

async function overRest(options: { maxReplyBytes?: number } = {}) {
  const scenario = await startScenario()
  const rest = await startRestServer({ redisUrl: scenario.server.url, token: 'token', ...options })
  onTestFinished(() => rest.close())
  return { ...scenario, rest: connectUpstash({ url: rest.url, token: rest.token }) }
}

describe('a server that is too old', () => {
  it('is told in one sentence at the first poll', async () => {
    const { redis } = await startScenario({ server: { args: ['--rename-command', 'GETEX', ''] } })

    await expect(
      poll(
        billing(() => {}),
        { redis },
      ),
    ).rejects.toThrow(/needs Redis 6\.2\.2 or newer, or Valkey/)
  })
})

describe('a server that takes few arguments a command', () => {
  it('gets the acknowledgements of 10,000 events in chunks, in one write', async () => {
    const { redis, raw, publish } = await startScenario()
    for (let n = 0; n < 10; n++) await publish(...names('o', 1_000))
    await raw.config('RESETSTAT')
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      batchSize: 10_000,
      routes: [onBatch(OrderPaid, () => {}, { maxEvents: 10_000 })],
    })

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 10_000, acked: 10_000 })
    const calls = /cmdstat_xack:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1]
    expect(Number(calls)).toBeGreaterThanOrEqual(3)
  })
})

describe('a consumer that meets a REST connection', () => {
  const over = (settings: object) => billing(() => {}, settings)
  const waiting = defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [onBatch(OrderPaid, () => {}, { maxEvents: 1_001, maxBatchingWindowMs: 1 })],
  })

  it.each([
    ['batchSize', over({ batchSize: 1_001 })],
    ['maxPending', over({ maxPending: 1_001 })],
    ['maxEvents of "OrderPaid"', waiting],
  ])('is refused with a %s above its limit, when the poller is made', async (name, consumer) => {
    const { rest, redis } = await overRest()

    expect(() => createPoller(consumer, { redis: rest })).toThrow(RangeError)
    expect(() => createPoller(consumer, { redis: rest })).toThrow(`${name}`)
    expect(() => createPoller(consumer, { redis })).not.toThrow()
  })

  it('reads no more than the limit while that many are pending, where nobody set maxPending', async () => {
    const { rest, raw } = await overRest()
    await raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
    await raw.eval(`for n = 1, 1101 do redis.call('XADD', 'orders', '*', 'a', 'b') end`, 0)
    await raw.xreadgroup('GROUP', 'billing', 'other', 'COUNT', 1_001, 'STREAMS', 'orders', '>')

    expect(
      (
        await poll(
          billing(() => {}),
          { redis: rest },
        )
      ).read,
    ).toBe(0)
  })

  it('reads and claims fewer entries at a time where an answer is too large, until all are handled, each once', async () => {
    const { rest, publish, age } = await overRest({ maxReplyBytes: 2_000 })
    const { calls, handler } = noting()
    const consumer = billing(handler, { batchSize: 40 })
    for (let n = 0; n < 5; n++) {
      await publish(...names(`o${n}-`, 40))
      await poll(consumer, { redis: rest })
      await age(60_000)
      await claim(consumer, { redis: rest })
    }

    expect([calls.length, new Set(calls).size]).toEqual([200, 200])
    expect((await poll(consumer, { redis: rest })).read).toBe(0)
  })
})

describe('a dead letter of many fields', () => {
  it('is written packed where the server takes fewer arguments, and nothing of it is lost', async () => {
    const { redis, raw } = await startScenario()
    const fields = Array.from({ length: 3_500 }, (_, n) => [`f${n}`, `${n}`]).flat()
    await raw.xadd('orders', '*', ...fields)

    expect(
      counts(
        await poll(
          billing(() => {}),
          { redis },
        ),
      ),
    ).toMatchObject({ deadLettered: 1 })
    expect((await raw.xrange(DLQ, '-', '+'))[0]?.[1].length).toBeGreaterThan(7_000)
  })
})

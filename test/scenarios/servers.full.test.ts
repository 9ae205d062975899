import { createPoller, createPublisher, defineConsumer, NonRetryableError, onBatch, poll } from 'millrace'
import { dropDeadLetters, redriveDeadLetters } from 'millrace/operate'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, it, onTestFinished } from 'vitest'
import { consumerKeys } from '../../src/core/keys.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startNarrowServer } from '../support/narrow-server.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, counts, DLQ, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'

async function overRest(options: { maxReplyBytes?: number } = {}) {
  const scenario = await startScenario()
  const rest = await startRestServer({ redisUrl: scenario.server.url, token: 'token', ...options })
  onTestFinished(() => rest.close())
  return { ...scenario, rest: connectUpstash({ url: rest.url, token: rest.token }) }
}

describe('a server that is too old', () => {
  it('is refused in one sentence at the first poll', async () => {
    const { redis } = await startScenario({ server: { args: ['--rename-command', 'GETEX', ''] } })

    await expect(
      poll(
        billing(() => {}),
        { redis },
      ),
    ).rejects.toThrow(/needs Redis 6\.2\.2 or newer, or Valkey/)
  })
})

describe('a server that takes few arguments per command', () => {
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

describe('a server that refuses more than 3,999 arguments per request', () => {
  async function narrow() {
    const scenario = await startScenario()
    const server = await startNarrowServer(scenario.server)
    onTestFinished(() => server.close())
    return { ...scenario, narrow: server, redis: scenario.connect(server.url) }
  }

  it('is published to, polled, claimed, redriven and dropped from by ten thousand', async () => {
    const { redis, narrow: server, raw, age } = await narrow()
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publishMany(names('o', 10_000).map((orderId) => [OrderPaid, { orderId }] as const))
    const failing = (attempt: number) => ({
      stream: 'orders',
      group: 'billing',
      batchSize: 10_000,
      maxDeliveries: 2,
      routes: [
        onBatch(
          OrderPaid,
          (events) => ({
            // of ten, five are acknowledged, four come again, one is a dead letter
            batchItemFailures: events.flatMap(({ entryId, payload: { orderId } }) => {
              const last = Number(orderId.at(-1))
              if (attempt === 1 && last === 9) return [{ itemIdentifier: entryId, error: new NonRetryableError('no') }]
              return attempt === 1 && last > 4 ? [{ itemIdentifier: entryId }] : []
            }),
          }),
          { maxEvents: 10_000 },
        ),
      ],
    })
    const first = defineConsumer(failing(1))
    const counted = counts(await poll(first, { redis }))
    expect(counted).toMatchObject({ read: 10_000, acked: 5_000, retried: 4_000, deadLettered: 1_000 })
    await age(60_000)
    const second = defineConsumer(failing(2))
    for (let left = 4_000; left > 0; ) {
      const { acked, claimed } = await claimOnce(second, { redis })
      expect(acked).toBe(claimed)
      left -= acked
    }
    expect(await redriveDeadLetters(second, { redis, all: true, limit: 500 })).toMatchObject({ redriven: 500 })
    expect(await dropDeadLetters(second, { redis, all: true })).toMatchObject({ dropped: 500 })
    expect(((await raw.xpending('orders', 'billing')) as [number])[0]).toBe(500)
    expect([server.refused, server.most > 3_000]).toEqual([0, true])
  }, 120_000)

  it('fetches what never reached a poller beside 9,000 pending entries, and hands back only that', async () => {
    const { redis, raw, narrow: server, publish, pending } = await narrow()
    for (let n = 0; n < 10; n++) await publish(...names(`${n}-`, 1_000))
    const { stream, group, keys } = { stream: 'orders', group: 'billing', keys: consumerKeys('orders', 'billing') }
    const settings = { startAt: '0', maxDeadLetters: 10, minIdleMs: 60_000, maxPollers: 4 }
    const port = redis.group({ stream, group, keys, settings })
    const slot = await port.takeSlot('poller', 4, 60_000)
    if (!slot) throw new Error('no slot')
    // before 7.2 the server's clock goes on within a script: what was read at once might seem older than the lease
    await expect.poll(() => raw.pttl(keys.slot(slot.consumerName))).toBeLessThan(59_500)
    const { entries } = await port.settleAndRead(slot, [], { count: 10_000 })
    const ids = entries.map(({ id }) => id)
    const lost = new Set(ids.filter((_id, n) => n % 10 === 3))
    const known = ids.filter((id) => !lost.has(id))

    expect((await port.settle(slot, [], { known, turn: 1 })).unanswered).toBeUndefined()
    const owners = (await pending()).map(([, owner, count]) => `${owner} ${count}`)
    expect([owners.length, owners.filter((owner) => owner === 'parked 0').length]).toEqual([10_000, 1_000])
    await port.giveSlot(slot, { known, turn: 2, isInDoubt: false, takesFlag: false, hasAcked: false })
    expect((await pending()).filter(([, owner]) => owner === 'parked').length).toBe(1_000)
    expect(server.refused).toBe(0)
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

  it('reads and claims fewer entries after a too large answer, until each is handled once', async () => {
    const { rest, publish, age } = await overRest({ maxReplyBytes: 2_000 })
    const { calls, handler } = noting()
    const consumer = billing(handler, { batchSize: 40 })
    for (let n = 0; n < 5; n++) {
      await publish(...names(`o${n}-`, 40))
      await poll(consumer, { redis: rest })
      await age(60_000)
      await claimOnce(consumer, { redis: rest })
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

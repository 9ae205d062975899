import type { Redis } from 'ioredis'
import { createPublisher, PublishFailedError, poll } from 'millrace'
import { createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { billing, names, OrderPaid, startScenario } from '../support/scenario.ts'

const HOUR = 3_600_000

/** How often a server ran a command. */
async function callsOf(raw: Redis, command: string): Promise<number> {
  const stats = await raw.info('commandstats')
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}

describe('retentionMs', () => {
  it('goes by the server’s clock: a publisher two hours ahead trims no younger entry', async () => {
    const { redis, raw, publish } = await startScenario()
    await raw.xadd('orders', `${Date.now() - 2 * HOUR}-0`, 'a', 'old')
    await publish(...names('o', 3))
    const clock = createVirtualClock({ startMs: Date.now() + 2 * HOUR })
    const late = createPublisher({ stream: 'orders', redis, retentionMs: HOUR, exactTrimming: true, clock })

    await late.publish(OrderPaid, { orderId: 'o-3' })

    expect(await raw.xlen('orders')).toBe(4)
  })

  it('asks the server once per connection', async () => {
    const { redis, raw } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis, retentionMs: HOUR })
    await publisher.publish(OrderPaid, { orderId: 'o-0' })
    await publisher.publishMany(names('o', 10).map((orderId) => [OrderPaid, { orderId }] as const))

    expect(await callsOf(raw, 'time')).toBe(1)
  })

  it('trims nothing where the server does not report its time, and the event is published', async () => {
    const { server, raw, connect } = await startScenario()
    await raw.call('ACL', 'SETUSER', 'p', 'on', '>p', '~*', '+xadd')
    await raw.xadd('orders', '1-0', 'a', 'old')
    const redis = connect(server.url.replace('redis://', 'redis://p:p@'))

    await createPublisher({ stream: 'orders', redis, retentionMs: 1 }).publish(OrderPaid, { orderId: 'o-0' })

    expect(await raw.xlen('orders')).toBe(2)
  })
})

describe('publishMany()', () => {
  it('writes 30,000 events in order, a bounded request after the other', async () => {
    const { redis, raw } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    const published = await publisher.publishMany(
      names('o', 30_000).map((orderId) => [OrderPaid, { orderId }] as const),
    )

    expect(published.map(({ entryId }) => entryId)).toEqual((await raw.xrange('orders', '-', '+')).map(([id]) => id))
    expect(await raw.xlen('orders')).toBe(30_000)
  })

  it('names every event that was written when the server takes no more', async () => {
    const { redis, raw } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    await raw.config('SET', 'maxmemory', '4mb')
    const many = names('o', 50_000).map((orderId) => [OrderPaid, { orderId }] as const)

    const error = await publisher.publishMany(many).catch((thrown: unknown) => thrown)

    await raw.config('SET', 'maxmemory', '0')
    const written = (await raw.xrange('orders', '-', '+')).map(([id]) => id)
    expect(error).toBeInstanceOf(PublishFailedError)
    const { entryIds } = error as PublishFailedError
    expect([entryIds.length, entryIds.filter((id) => id !== undefined)]).toEqual([50_000, written])
    expect(written.length).toBeGreaterThan(1_000)
  })

  it('names every event that is known to be written when the server is lost meanwhile', async () => {
    const { server, redis, raw } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    const many = names('o', 30_000).map((orderId) => [OrderPaid, { orderId }] as const)
    const publishing = publisher.publishMany(many).catch((thrown: unknown) => thrown)
    await expect.poll(() => raw.xlen('orders'), { timeout: 20_000, interval: 5 }).toBeGreaterThan(1_000)
    server.kill('SIGKILL')

    const error = await publishing
    expect(error).toBeInstanceOf(PublishFailedError)
    const { entryIds } = error as PublishFailedError
    const known = entryIds.indexOf(undefined)
    expect(known).toBeGreaterThanOrEqual(1_000)
    expect(entryIds.slice(known).filter((id) => id !== undefined)).toEqual([])
  })
})

describe('an id that is ahead of the clock', () => {
  it('has no age: the report leaves it out', async () => {
    const { redis, raw } = await startScenario()
    await raw.xadd('orders', '99999999999999-0', 'eventType', 'OrderPaid', 'payload', '{"orderId":"o"}')

    const report = await poll(
      billing(() => {}),
      { redis },
    )

    expect([report.acked, report.iteratorAgeMs]).toEqual([1, undefined])
  })
})

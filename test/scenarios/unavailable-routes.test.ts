import { createPublisher, defineConsumer, defineEvent, on, poll, UnavailableError } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { difference, startScenario } from '../support/scenario.ts'

const payload = z.object({ n: z.number() })
const Throttled = defineEvent('Throttled', { payload })
const Plain = defineEvent('Plain', { payload })

describe('an unavailable route', () => {
  it('costs a claimer at most `concurrency` entries fetched for nothing, and other routes go on', async () => {
    const { redis, age, raw } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    const events = Array.from({ length: 300 }, (_, n) => [n % 3 === 0 ? Plain : Throttled, { n }] as const)
    await publisher.publishMany(events)
    const calls = { throttled: 0, plain: 0 }
    let isDown = true
    const routes = [
      on(Throttled, () => {
        calls.throttled++
        throw new UnavailableError('no capacity')
      }),
      on(Plain, () => {
        if (isDown) throw new Error('down')
        calls.plain++
      }),
    ]
    const consumer = defineConsumer({ stream: 'orders', group: 'billing', concurrency: 5, batchSize: 300, routes })
    await poll(consumer, { redis, mode: 'once' })
    isDown = false
    calls.throttled = 0
    await age(60_000)

    const report = await claimOnce(consumer, { redis })

    expect(calls).toEqual({ throttled: expect.toSatisfy((count: number) => count <= 5), plain: 100 })
    // what its type keeps from being started is not even taken
    expect(report).toMatchObject({ acked: 100, drained: true })
    expect(report.throttled).toBeLessThan(200)
    expect(report.released).toBe(report.throttled)
    expect(difference(report)).toBe(0)
    expect(((await raw.xpending('orders', 'billing')) as [number])[0]).toBe(200)
  })
})

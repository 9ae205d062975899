import { createPublisher, defineConsumer, defineEvent, on, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { startScenario } from '../support/scenario.ts'

const Large = defineEvent('Large', { payload: z.object({ text: z.string() }) })

describe('maxBytes', () => {
  it('makes reads smaller where entries are large, the first one of a run apart', async () => {
    const { redis } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    const text = 'x'.repeat(100_000)
    await publisher.publishMany(Array.from({ length: 21 }, () => [Large, { text }] as const))
    const reads: number[] = []
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      batchSize: 10,
      maxBytes: 350_000,
      routes: [on(Large, () => {})],
    })

    const report = await poll(consumer, {
      redis,
      observe: { entriesRead: ({ entryIds }) => void reads.push(entryIds.length) },
    })

    expect([reads, report.acked, report.drained]).toEqual([[10, 3, 3, 3, 2], 21, true])
  })

  it('always lets one entry be read', async () => {
    const { redis } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publishMany(Array.from({ length: 3 }, () => [Large, { text: 'x'.repeat(1_000) }] as const))
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      batchSize: 1,
      maxBytes: 1,
      routes: [on(Large, () => {})],
    })

    expect(await poll(consumer, { redis })).toMatchObject({ acked: 3, drained: true })
  })
})

describe('maxBytes of a claimer', () => {
  it('bounds what is started and not settled yet', async () => {
    const { redis, age } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })
    const text = 'x'.repeat(100_000)
    await publisher.publishMany(Array.from({ length: 120 }, () => [Large, { text }] as const))
    let inHand = 0
    let most = 0
    let fails = true
    const route = on(Large, () => {
      if (fails) throw new Error('down')
      most = Math.max(most, ++inHand)
    })
    const options = { stream: 'orders', group: 'billing', batchSize: 10, concurrency: 2, maxBytes: 500_000 }
    const consumer = defineConsumer({ ...options, backoff: { firstMs: 0 }, routes: [route] })
    await poll(consumer, { redis })
    fails = false
    await age(60_000)

    const report = await claimOnce(consumer, {
      redis,
      observe: {
        acked({ entries }) {
          inHand -= entries.length
        },
      },
    })

    expect(report).toMatchObject({ claimed: 120, acked: 120, drained: true })
    // five fit, and one XCLAIM starts ten
    expect(most).toBeLessThanOrEqual(15)
  })
})

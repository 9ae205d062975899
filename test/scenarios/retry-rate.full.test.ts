import type { Report } from 'millrace'
import { poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { billing, counts, names, startScenario } from '../support/scenario.ts'

const ENTRIES = 10_000
const ROUNDS = 3

/** Entries a second. */
async function rateOf(work: Promise<Report>): Promise<{ readonly report: Report; readonly rate: number }> {
  const start = performance.now()
  const report = await work
  return { report, rate: (ENTRIES / (performance.now() - start)) * 1_000 }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

describe('promise 4: retries are no slower for the fear of a crash', () => {
  it('10,000 entries that failed once are retried at half their polling rate or more', async () => {
    const { redis, raw, publish } = await startScenario()
    const failOnce = billing(
      async (_event, { deliveryCount }) => {
        if (deliveryCount === 1) throw new Error('not yet')
      },
      { backoff: { firstMs: 0 } },
    )
    const ratios: number[] = []
    const notes: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      await raw.flushall()
      await publish(...names('o', ENTRIES))
      const polled = await rateOf(poll(failOnce, { redis }))
      const retried = await rateOf(claimOnce(failOnce, { redis }))

      expect([counts(polled.report), counts(retried.report)]).toMatchObject([
        { read: ENTRIES, retried: ENTRIES },
        { claimed: ENTRIES, acked: ENTRIES, drained: true },
      ])
      ratios.push(retried.rate / polled.rate)
      notes.push([polled, retried].map(({ rate }) => Math.round(rate)).join(', '))
    }

    expect(median(ratios), `polled and retried entries a second:\n${notes.join('\n')}`).toBeGreaterThan(0.5)
  })
})

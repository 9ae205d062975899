import { setImmediate as turn } from 'node:timers/promises'
import type { DeadLetterNotice } from 'millrace'
import { createPublisher, NonRetryableError, poll } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { billing, names, OrderPaid, startScenario } from '../support/scenario.ts'

/** A run that writes so many dead letters; its clock goes on by itself. */
async function burying(letters: number, onDeadLetter: (notice: unknown, context: { signal: AbortSignal }) => unknown) {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const publisher = createPublisher({ stream: 'orders', redis, clock })
  await publisher.publishMany(names('o', letters).map((orderId) => [OrderPaid, { orderId }] as const))
  const consumer = billing(() => Promise.reject(new NonRetryableError('no')), { onDeadLetter, batchSize: 1_000 })
  const startedAt = clock.monotonic()
  let isOver = false
  const polling = poll(consumer, { redis, clock, remainingMs: 900_000 }).finally(() => {
    isOver = true
  })
  while (!isOver) {
    await turn()
    await clock.advance(100)
  }
  return { report: await polling, ms: clock.monotonic() - startedAt }
}

describe('notices of dead letters are bounded', () => {
  let warnings: readonly unknown[][]
  beforeEach(() => {
    warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {}).mock.calls
  })
  afterEach(() => void vi.restoreAllMocks())

  it('where a slow function gets 12,000: side by side, in time, the rest as one number', async () => {
    let [running, most, told, aborted] = [0, 0, 0, 0]
    const { report, ms } = await burying(12_000, (_notice, { signal }) => {
      told++
      most = Math.max(most, ++running)
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          running--
          aborted++
          reject(signal.reason as Error)
        })
      })
    })
    expect(report.deadLettered).toBe(12_000)
    expect(most).toBe(10)
    expect(told).toBeLessThanOrEqual(1_000)
    expect([running, aborted]).toEqual([0, told])
    expect(ms).toBeLessThan(30_000)
    expect(warnings.map(([text]) => String(text))).toEqual([
      expect.stringMatching(/^onDeadLetter failed for entry \S+: Error$/),
      'onDeadLetter failed for, or was not called for, 11999 more dead letters of group "billing" on stream "orders"',
    ])
  })

  it('where a fast function gets 12,000: the first 1,000, and the number of the rest', async () => {
    const told: unknown[] = []
    const { report } = await burying(12_000, (notice) => void told.push(notice))
    expect([report.deadLettered, told.length]).toEqual([12_000, 1_000])
    expect(warnings.map(([text]) => String(text))).toEqual([expect.stringMatching(/not called for, 11000 more/)])
  })

  it('where a function fails for all of 50: one by itself, the others as a number', async () => {
    await burying(50, () => {
      throw new Error('no')
    })
    expect(warnings.map(([text]) => String(text))).toEqual([
      expect.stringMatching(/^onDeadLetter failed for entry/),
      expect.stringMatching(/, 49 more dead letters/),
    ])
  })

  it('cuts a type and an id of a megabyte, which the dead letter has whole', async () => {
    const { redis, raw, deadLetters } = await startScenario()
    const long = 'x'.repeat(300_000)
    await raw.xadd('orders', '*', 'eventType', long, 'eventId', long, 'traceparent', long, 'payload', '1')
    const told: DeadLetterNotice[] = []
    await poll(
      billing(() => {}, { onDeadLetter: (notice) => void told.push(notice) }),
      { redis },
    )

    expect(told).toMatchObject([{ reason: 'unrouted', eventType: `${long.slice(0, 1_000)}…` }])
    expect(JSON.stringify(told).length).toBeLessThan(10_000)
    expect(await deadLetters()).toMatchObject([{ head: { eventType: long, eventId: long } }])
  })
})

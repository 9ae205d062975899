import { describe, expect, test } from 'vitest'
import type { ConsumerReport } from '../src/report.ts'
import { createOpenReport, sumReports } from '../src/report.ts'

/** Counts that differ from member to member, so that a sum of the wrong ones shows. */
function aReport(group: string, unit: number, more: Partial<ConsumerReport> = {}): ConsumerReport {
  return {
    stream: 'orders',
    group,
    read: unit,
    claimed: 2 * unit,
    acked: 3 * unit,
    ackMissed: 4 * unit,
    duplicates: 20 * unit,
    unguarded: 21 * unit,
    rateLimited: 0,
    concurrencyLimited: 0,
    circuitOpen: 0,
    retried: 5 * unit,
    deadLettered: 6 * unit,
    released: 7 * unit,
    ignored: 19 * unit,
    parked: 20 * unit,
    superseded: 8 * unit,
    unsettled: 9 * unit,
    lost: 10 * unit,
    overran: 11 * unit,
    deadLettersTrimmed: 12 * unit,
    invoked: 15 * unit,
    failed: 16 * unit,
    throttled: 18 * unit,
    promoted: 21 * unit,
    scaledOut: 17 * unit,
    batches: 13 * unit,
    roundTrips: 14 * unit,
    drained: true,
    noFreeSlot: false,
    pendingLimitReached: false,
    parkedLimitReached: false,
    paused: false,
    groupRecreated: false,
    continued: false,
    durationMs: 0,
    ...more,
  }
}

const sumsOf = (report: object) => ({
  ...report,
  action: undefined,
  stream: undefined,
  group: undefined,
  consumers: undefined,
})

test('createOpenReport() starts at nothing', () => {
  expect(createOpenReport('orders', 'billing')).toEqual({
    ...aReport('billing', 0),
    drained: false,
  })
})

describe('sumReports()', () => {
  test('adds up every count, and keeps the reports', () => {
    const reports = [aReport('billing', 1), aReport('search', 100), aReport('audit', 10_000)]
    const sum = sumReports('poll', reports)

    expect(sumsOf(sum)).toEqual(sumsOf(aReport('', 10_101)))
    expect(sum.consumers).toEqual(reports)
    expect('stream' in sum || 'group' in sum).toBe(false)
  })

  test('takes as long as the longest', () => {
    const reports = [5, 9, 7].map((durationMs) => aReport('billing', 0, { durationMs }))

    expect(sumReports('poll', reports).durationMs).toBe(9)
  })

  test.each([
    [[true, true], true],
    [[true, false], false],
    [[false, false], false],
    [[], true],
  ])('is drained if all are: %j is %j', (each, all) => {
    expect(
      sumReports(
        'poll',
        each.map((drained) => aReport('billing', 0, { drained })),
      ).drained,
    ).toBe(all)
  })

  test.each([
    'noFreeSlot',
    'pendingLimitReached',
    'parkedLimitReached',
    'paused',
    'groupRecreated',
    'continued',
  ] as const)('says %s if any does', (flag) => {
    const said = [[false, false], [true, false], [false, true], []].map(
      (each) =>
        sumReports(
          'poll',
          each.map((value) => aReport('billing', 0, { [flag]: value })),
        )[flag],
    )

    expect(said).toEqual([false, true, true, false])
  })

  test('leaves the reports as they are', () => {
    const report = Object.freeze(aReport('billing', 3))

    expect(() => sumReports('poll', [report, report])).not.toThrow()
  })
})

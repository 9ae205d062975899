import { describe, expect, test } from 'vitest'
import { schedulePeriodMs } from '../../src/core/schedule-period.ts'

describe('schedulePeriodMs()', () => {
  test.each([
    ['rate(1 minute)', 60_000],
    ['rate(5 minutes)', 300_000],
    ['rate(1 hour)', 3_600_000],
    ['rate(2 days)', 172_800_000],
    ['cron(0/5 * * * ? *)', undefined],
  ])('answers for %s: %s ms', (schedule, ms) => {
    expect(schedulePeriodMs(schedule)).toBe(ms)
  })
})

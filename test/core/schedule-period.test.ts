import { describe, expect, test } from 'vitest'
import { periodOf } from '../../src/core/schedule-period.ts'

describe('periodOf()', () => {
  test.each([
    ['rate(1 minute)', 60_000],
    ['rate(5 minutes)', 300_000],
    ['rate(1 hour)', 3_600_000],
    ['rate(2 days)', 172_800_000],
    ['cron(0/5 * * * ? *)', undefined],
  ])('answers for %s: %s ms', (schedule, ms) => {
    expect(periodOf(schedule)).toBe(ms)
  })
})

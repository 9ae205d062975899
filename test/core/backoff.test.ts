import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { backoffDelayMs, capDelayMs, MAX_DELAY_MS } from '../../src/core/backoff.ts'

const usual = { firstMs: 1_000, factor: 2, maxMs: 60_000 }

const backoff = fc.record({
  firstMs: fc.oneof(fc.nat(120_000), fc.double({ min: 0, noNaN: true })),
  factor: fc.oneof(
    fc.constantFrom(1, 1.5, 2, 10, 1e300, Number.POSITIVE_INFINITY),
    fc.double({ min: 1, max: 1e300, noNaN: true }),
  ),
  maxMs: fc.oneof(fc.nat(MAX_DELAY_MS), fc.constant(Number.MAX_SAFE_INTEGER), fc.constant(Number.POSITIVE_INFINITY)),
})
const deliveryCount = fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }))
const random = fc.double({ min: 0, max: 1, noNaN: true })

describe('backoffDelayMs()', () => {
  test('waits firstMs, then factor times longer each, up to maxMs', () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 2 ** 53].map((count) => backoffDelayMs(usual, count, 0))

    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
  })

  test('lengthens by up to a fifth, within maxMs', () => {
    const waits = [0, 0.25, 0.5, 1].map((r) => [
      backoffDelayMs(usual, 1, r),
      backoffDelayMs(usual, 6, r),
      backoffDelayMs(usual, 7, r),
    ])

    expect(waits).toEqual([
      [1_000, 32_000, 60_000],
      [1_050, 33_600, 60_000],
      [1_100, 35_200, 60_000],
      [1_200, 38_400, 60_000],
    ])
  })

  test('gives a whole number, never above maxMs nor 24 hours, for any back-off and count', () => {
    fc.assert(
      fc.property(backoff, deliveryCount, random, (rules, count, r) => {
        const wait = backoffDelayMs(rules, count, r)
        expect(Number.isInteger(wait)).toBe(true)
        expect(wait).toBeGreaterThanOrEqual(0)
        expect(wait).toBeLessThanOrEqual(Math.min(rules.maxMs, MAX_DELAY_MS))
      }),
    )
  })

  test('never shortens from one delivery to the next without jitter', () => {
    fc.assert(
      fc.property(backoff, deliveryCount, (rules, count) => {
        expect(backoffDelayMs(rules, count + 1, 0)).toBeGreaterThanOrEqual(backoffDelayMs(rules, count, 0))
      }),
    )
  })

  test('is never shortened by jitter, nor lengthened by more than a fifth', () => {
    fc.assert(
      fc.property(backoff, deliveryCount, random, (rules, count, r) => {
        const plain = backoffDelayMs(rules, count, 0)
        const wait = backoffDelayMs(rules, count, r)
        expect(wait).toBeGreaterThanOrEqual(plain)
        expect(wait).toBeLessThanOrEqual(Math.ceil(plain * 1.2))
      }),
    )
  })

  test('takes a count below 1 for the first', () => {
    expect(backoffDelayMs(usual, 0, 0)).toBe(1_000)
  })
})

describe('capDelayMs()', () => {
  test.each([
    [-1, 0],
    [0, 0],
    [0.1, 1],
    [1_500, 1_500],
    [MAX_DELAY_MS, 86_400_000],
    [MAX_DELAY_MS + 1, 86_400_000],
    [Number.POSITIVE_INFINITY, 86_400_000],
  ])('makes %d ms into %d ms', (delayMs, capped) => {
    expect(capDelayMs(delayMs)).toBe(capped)
  })
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LogHistogram, QUANTILE_ERROR } from '../../../src/operate/analyze/log-histogram.ts'

const whole = fc.oneof(fc.integer({ min: 0, max: 1_000 }), fc.maxSafeNat())

test('LogHistogram has quantiles within its error, and the highest number exactly', () => {
  fc.assert(
    fc.property(
      fc.array(whole, { minLength: 1, maxLength: 200 }),
      fc.constantFrom(0.01, 0.5, 0.9, 0.99),
      (numbers, share) => {
        const histogram = new LogHistogram()
        for (const number of numbers) histogram.add(number)
        const truth = numbers.toSorted((a, b) => a - b)[Math.ceil(share * numbers.length) - 1] as number

        // half a unit, since what is answered is a whole number
        expect(Math.abs(histogram.quantile(share) - truth)).toBeLessThanOrEqual(QUANTILE_ERROR * truth + 0.5)
        expect(histogram.max).toBe(Math.max(...numbers))
        expect(histogram.total).toBe(numbers.length)
      },
    ),
  )
})

test('LogHistogram takes numbers below 0 for 0, and counts weights', () => {
  const histogram = new LogHistogram()
  histogram.add(-5, 0.5)
  histogram.add(100, 1.5)

  expect([histogram.quantile(0.25), histogram.quantile(0.5), histogram.mean, histogram.total]).toEqual([0, 100, 75, 2])
})

test('LogHistogram without numbers answers 0', () => {
  const histogram = new LogHistogram()

  expect([histogram.quantile(0.5), histogram.mean, histogram.max]).toEqual([0, 0, 0])
})

import { expect, test } from 'vitest'
import { formatCount, formatDuration, formatDurationRoughly, formatNumber } from '../../src/core/words.ts'

test.each([
  [0, '<1s'],
  [999, '<1s'],
  [1_000, '1s'],
  [59_999, '59s'],
  [60_000, '1m'],
  [192_000, '3m 12s'],
  [3_600_000, '1h'],
  [3_605_000, '1h'],
  [7_500_000, '2h 5m'],
  [183_600_000, '2d 3h'],
  [8_640_000_000, '100d'],
])('duration(%i) is %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
})

test.each([
  [0, '0 ms'],
  [999, '999 ms'],
  [1_499, '1 s'],
  [192_000, '3 min'],
  [7_500_000, '2 h'],
  [183_600_000, '2 d'],
])('span(%i) is %s', (ms, text) => {
  expect(formatDurationRoughly(ms)).toBe(text)
})

test.each([
  [0, '0'],
  [1.234, '1.23'],
  [12.5, '13'],
  [1_234_567, '1,234,567'],
])('number(%d) is %s', (value, text) => {
  expect(formatNumber(value)).toBe(text)
})

test.each([
  [1, '1 entry'],
  [2, '2 entries'],
  [1_204, '1,204 entries'],
])('count(%i) is %s', (value, text) => {
  expect(formatCount(value, 'entry', 'entries')).toBe(text)
})

import { expect, test } from 'vitest'
import { isoTime } from '../../src/core/iso-time.ts'

test.each([
  ['1970-01-01T00:00:01.500Z', 1_500],
  ['+275760-09-13T00:00:00.000Z', 2 ** 64],
  ['+275760-09-13T00:00:00.000Z', Infinity],
  ['-271821-04-20T00:00:00.000Z', -Infinity],
  ['1970-01-01T00:00:00.000Z', Number.NaN],
])('isoTime() gives %s for %d', (text, ms) => {
  expect(isoTime(ms)).toBe(text)
})

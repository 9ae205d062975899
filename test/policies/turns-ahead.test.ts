import { expect, test } from 'vitest'
import { TurnsAhead } from '../../src/policies/flow/turns-ahead.ts'

test('turns last longer while some of them lapse, and as long as before once none does', () => {
  const ahead = new TurnsAhead(10)

  for (let n = 0; n < 60; n++) {
    if (n % 3 === 0) ahead.lapsed(n * 100)
    else ahead.kept()
  }
  const whileSomeLapse = ahead.lateFactor
  for (let n = 0; n < 150; n++) ahead.kept()

  expect([whileSomeLapse > 5, ahead.lateFactor]).toEqual([true, 1])
})

test('turns that lapse by one stall count as one', () => {
  const [ahead, other] = [new TurnsAhead(10), new TurnsAhead(10)]

  for (let n = 0; n < 40; n++) ahead.lapsed(1_000 + n)
  other.lapsed(1_000)

  expect(ahead.lateFactor).toBe(other.lateFactor)
})

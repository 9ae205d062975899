import { expect, test } from 'vitest'
import { BreakerConditions } from '../../src/policies/flow/breaker-conditions.ts'

/** Conditions of a breaker that is probed at 1,000 ms, and a clock. */
function probed(back: () => boolean | { most: number; after: undefined }) {
  const time = { now: 0, probeAt: 1_000 }
  const breakers = {
    get probeAt() {
      return time.probeAt
    },
  }
  return { time, conditions: new BreakerConditions({ comesBack: back }, breakers, () => time.now) }
}

test('past the time of a probe it is asked at once, and less and less often', () => {
  const { time, conditions } = probed(() => false)
  conditions.see(['circuitBreaker Paid'])
  const asked: number[] = []
  for (let n = 0; n < 7; n++) {
    time.now = conditions.dueAt()
    asked.push(time.now)
    // the server's time is known a little otherwise with each answer
    time.probeAt += 1
    conditions.see(['circuitBreaker Paid'])
  }

  expect(asked).toEqual([1_000, 1_250, 1_750, 2_750, 4_750, 8_750, 12_750])
})

test('the next probe is due at its time, what a closed breaker held at once', () => {
  let back: boolean | { most: number; after: undefined } = { most: 1, after: undefined }
  const { time, conditions } = probed(() => back)
  time.now = 1_000
  conditions.see(['circuitBreaker Paid'])
  conditions.see(['circuitBreaker Paid'])
  time.probeAt = 5_000
  const next = conditions.dueAt()
  back = true

  expect([next, conditions.dueAt()]).toEqual([5_000, Number.NEGATIVE_INFINITY])
})

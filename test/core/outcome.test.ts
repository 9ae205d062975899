import { describe, expect, test } from 'vitest'
import type { FailureVerdict } from '../../src/core/outcome.ts'
import { ACK_OUTCOME, judgeFailure } from '../../src/core/outcome.ts'
import { HandlerTimeoutError, MalformedEntryError, NonRetryableError, RetryAfterError } from '../../src/errors.ts'

const rules = { backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 }, maxDeliveries: 5 }
const judge = (error: unknown, deliveryCount = 1) => judgeFailure(error, deliveryCount, rules, 0)

const retry = (delayMs: number): FailureVerdict => ({ kind: 'retry', delayMs })
const nonRetryable: FailureVerdict = { kind: 'dead-letter', reason: 'non-retryable' }
const usedUp: FailureVerdict = { kind: 'dead-letter', reason: 'max-deliveries' }

/** What a handler bundled with a copy of its own throws: the same code, another class. */
class ForeignError extends Error {
  readonly code: string
  constructor(code: string, facts: object = {}) {
    super('from another copy')
    this.code = code
    Object.assign(this, facts)
  }
}

describe('judgeFailure()', () => {
  const failures: [title: string, error: unknown][] = [
    ['an error', new Error('no')],
    ['a timeout', new HandlerTimeoutError(10_000)],
    ['a malformed entry, thrown by a handler', new MalformedEntryError('no')],
    ['a code of another package', Object.assign(new Error('no'), { code: 'ECONNRESET' })],
    ['undefined', undefined],
    ['null', null],
    ['a string', 'ERR_NON_RETRYABLE'],
    ['a number', 0],
    ['a bigint', 1n],
    ['a symbol', Symbol('no')],
    ['false', false],
    ['a function', () => 'ERR_NON_RETRYABLE'],
    ['an array', ['ERR_NON_RETRYABLE']],
    ['a frozen object', Object.freeze({ code: 'no' })],
    ['an object without a prototype', Object.create(null)],
  ]
  test.each(failures)('retries %s by the back-off until the last delivery', (_title, error) => {
    expect([1, 2, 3, 4, 5, 6].map((count) => judge(error, count))).toEqual([
      retry(1_000),
      retry(2_000),
      retry(4_000),
      retry(8_000),
      usedUp,
      usedUp,
    ])
  })

  test('lengthens the back-off by its jitter', () => {
    expect(judgeFailure(new Error('no'), 1, rules, 1)).toEqual(retry(1_200))
  })

  test.each([
    ['NonRetryableError', new NonRetryableError('no')],
    ["another copy's NonRetryableError", new ForeignError('ERR_NON_RETRYABLE')],
    ['a frozen object with its code', Object.freeze({ code: 'ERR_NON_RETRYABLE' })],
  ])('dead-letters %s at once, and says so at the last delivery too', (_title, error) => {
    expect([1, 4, 5, 6].map((count) => judge(error, count))).toEqual(Array(4).fill(nonRetryable))
  })

  test.each([
    ['RetryAfterError', new RetryAfterError(7_000)],
    ["another copy's RetryAfterError", new ForeignError('ERR_RETRY_AFTER', { retryAfterMs: 7_000 })],
  ])('keeps the wait of %s, which uses up a delivery', (_title, error) => {
    expect([1, 4, 5].map((count) => judge(error, count))).toEqual([retry(7_000), retry(7_000), usedUp])
  })

  test.each([
    [0, 0],
    [0.5, 1],
    [90_000, 90_000],
    [1e12, 86_400_000],
    [Number.POSITIVE_INFINITY, 86_400_000],
  ])('makes a wait of %d ms into %d ms, without jitter', (retryAfterMs, delayMs) => {
    expect(judgeFailure(new RetryAfterError(retryAfterMs), 1, rules, 1)).toEqual(retry(delayMs))
  })

  test.each([
    ['none', {}],
    ['a string', { retryAfterMs: '7000' }],
    ['null', { retryAfterMs: null }],
  ])('falls back on the back-off where the wait is %s', (_title, facts) => {
    expect(judge(new ForeignError('ERR_RETRY_AFTER', facts))).toEqual(retry(1_000))
  })

  test('takes a subclass for what it extends', () => {
    class CardDeclined extends NonRetryableError {}
    class RateLimited extends RetryAfterError {}

    expect([judge(new CardDeclined('no')), judge(new RateLimited(30_000))]).toEqual([nonRetryable, retry(30_000)])
  })
})

test('ACK is an ack', () => {
  expect(ACK_OUTCOME).toEqual({ kind: 'ack' })
})

import { describe, expect, test } from 'vitest'
import * as aggregateErrors from '../src/core/aggregate-errors.ts'
import { EventsTrimmedError, UnreadableEventError, VersionConflictError } from '../src/core/aggregate-errors.ts'
import { sumJanitorReports } from '../src/core/janitor-report.ts'
import * as payloadErrors from '../src/core/payload-errors.ts'
import { PayloadGoneError, PayloadStoreError } from '../src/core/payload-errors.ts'
import type { ErrorCode } from '../src/errors.ts'
import * as errors from '../src/errors.ts'
import {
  BatchAnswerInvalidError,
  BatchItemFailedError,
  ExpiredEntryError,
  FunctionFailedError,
  HandlerTimeoutError,
  InvalidPayloadError,
  MalformedEntryError,
  MillraceError,
  NonRetryableError,
  NoRouteError,
  OversizeEntryError,
  PublishFailedError,
  RedisConnectionError,
  RedisReplyError,
  RetryAfterError,
  UnavailableError,
  UnsupportedVersionError,
} from '../src/errors.ts'
import * as janitorErrors from '../src/janitor/janitor-failed-error.ts'
import { JanitorFailedError } from '../src/janitor/janitor-failed-error.ts'
import * as publishErrors from '../src/publish/backlog-full-error.ts'
import { BacklogFullError } from '../src/publish/backlog-full-error.ts'
import { createOpenReport, sumReports } from '../src/report.ts'
import * as invocationErrors from '../src/run/invocation-errors.ts'
import { InvocationFailedError, InvocationTooShortError } from '../src/run/invocation-errors.ts'

const isErrorClass = (exported: unknown) =>
  (exported as { readonly prototype?: unknown }).prototype instanceof MillraceError

const report = sumReports('poll', [createOpenReport('orders', 'billing')])
const janitorReport = sumJanitorReports([], 0)
const refused = new RedisReplyError('WRONGTYPE no stream')
const delayedUntil = [undefined, new Date(5), undefined, undefined]
const issues = [
  { path: 'items.0.sku', message: 'expected string' },
  { path: '', message: 'expected object' },
]
const failures = [
  { stream: 'orders', group: 'billing', error: refused },
  { stream: 'orders', group: 'search', error: new RedisConnectionError('Connection is closed') },
  { stream: 'orders', group: 'billing', error: refused },
]

/** Every error of the package: made as it is made, and what it then says. */
const EVERY_ERROR = {
  ERR_BATCH_ANSWER_INVALID: {
    error: new BatchAnswerInvalidError('an array'),
    name: 'BatchAnswerInvalidError',
    message: 'an array',
    facts: {},
  },
  ERR_BATCH_ITEM_FAILED: {
    error: new BatchItemFailedError('named in batchItemFailures'),
    name: 'BatchItemFailedError',
    message: 'named in batchItemFailures',
    facts: {},
  },
  ERR_ENTRY_MALFORMED: {
    error: new MalformedEntryError('Field payload is missing'),
    name: 'MalformedEntryError',
    message: 'Field payload is missing',
    facts: {},
  },
  ERR_ENTRY_OVERSIZE: {
    error: new OversizeEntryError(11, 10),
    name: 'OversizeEntryError',
    message: 'Entry must be at most maxEntryBytes, 10 bytes of names and values, got 11',
    facts: { bytes: 11, maxEntryBytes: 10 },
  },
  ERR_EVENTS_TRIMMED: {
    error: new EventsTrimmedError({ stream: 'accounts', aggregateType: 'account', aggregateId: 'a' }, 3),
    name: 'EventsTrimmedError',
    message: 'Cannot read "account" "a" of stream "accounts": the event of version 3 is gone from the stream',
    facts: { stream: 'accounts', aggregateType: 'account', aggregateId: 'a', aggregateVersion: 3 },
  },
  ERR_BACKLOG_FULL: {
    error: new BacklogFullError('orders', 'billing', 12, 10),
    name: 'BacklogFullError',
    message:
      'Cannot publish: the backlog of group "billing" of stream "orders" must be below maxBacklog, 10 entries, got 12',
    facts: { stream: 'orders', group: 'billing', backlog: 12, maxBacklog: 10 },
  },
  ERR_EVENT_UNREADABLE: {
    error: new UnreadableEventError({ stream: 'accounts', aggregateId: 'a' }, 3, '1-0', refused),
    name: 'UnreadableEventError',
    message:
      'Cannot read aggregate "a" of stream "accounts": the event of version 3, entry 1-0, is unreadable: WRONGTYPE no stream',
    facts: { stream: 'accounts', aggregateType: undefined, aggregateId: 'a', entryId: '1-0', aggregateVersion: 3 },
    cause: refused,
  },
  ERR_FUNCTION_FAILED: {
    error: new FunctionFailedError('notify', 'RangeError', 'too far'),
    name: 'FunctionFailedError',
    message: 'Function "notify" failed: RangeError: too far',
    facts: { functionName: 'notify', errorType: 'RangeError' },
  },
  ERR_HANDLER_TIMEOUT: {
    error: new HandlerTimeoutError(10_000),
    name: 'HandlerTimeoutError',
    message: 'Handler did not settle within handlerTimeoutMs, 10000 ms',
    facts: { handlerTimeoutMs: 10_000 },
  },
  ERR_INVOCATION_FAILED: {
    error: new InvocationFailedError('claim', failures, report),
    name: 'InvocationFailedError',
    message:
      'Cannot finish claim: group "billing" on stream "orders": WRONGTYPE no stream; ' +
      'group "search" on stream "orders": Connection is closed',
    facts: { failures, report },
    cause: refused,
  },
  ERR_INVOCATION_TOO_SHORT: {
    error: new InvocationTooShortError(
      'billing',
      { remainingMs: 2_999.9, handlerTimeoutMs: 10_000, reserveMs: 1_000 },
      report,
    ),
    name: 'InvocationTooShortError',
    message:
      'Cannot run group "billing": the invocation\'s time must be at least handlerTimeoutMs (10000) + reserveMs (1000), got 2999 ms; ' +
      "raise the function's timeout or lower handlerTimeoutMs",
    facts: { group: 'billing', remainingMs: 2_999.9, handlerTimeoutMs: 10_000, reserveMs: 1_000, report },
  },
  ERR_JANITOR_FAILED: {
    error: new JanitorFailedError([{ stream: 'orders', error: refused }], janitorReport),
    name: 'JanitorFailedError',
    message: 'Cannot finish trim: stream "orders": WRONGTYPE no stream',
    facts: { failures: [{ stream: 'orders', error: refused }], report: janitorReport },
    cause: refused,
  },
  ERR_NON_RETRYABLE: {
    error: new NonRetryableError('card declined', { cause: refused }),
    name: 'NonRetryableError',
    message: 'card declined',
    facts: {},
    cause: refused,
  },
  ERR_ENTRY_EXPIRED: {
    error: new ExpiredEntryError(60_001.5, 60_000),
    name: 'ExpiredEntryError',
    message: 'Entry must be at most maxAgeMs, 60000 ms, old, got 60001 ms',
    facts: { ageMs: 60_001.5, maxAgeMs: 60_000 },
  },
  ERR_NO_ROUTE: {
    error: new NoRouteError('Order"Paid'),
    name: 'NoRouteError',
    message: 'No route for event type "Order\\"Paid"',
    facts: { eventType: 'Order"Paid' },
  },
  ERR_PAYLOAD_GONE: {
    error: new PayloadGoneError('OrderPaid', 'abc', 'the store has none'),
    name: 'PayloadGoneError',
    message: 'Cannot fetch the payload of "OrderPaid", abc: the store has none',
    facts: { eventType: 'OrderPaid', key: 'abc' },
  },
  ERR_PAYLOAD_STORE: {
    error: new PayloadStoreError('keep', 'OrderPaid', refused),
    name: 'PayloadStoreError',
    message: 'Cannot keep the payload of "OrderPaid": its store failed',
    facts: { eventType: 'OrderPaid' },
    cause: refused,
  },
  ERR_PAYLOAD_INVALID: {
    error: new InvalidPayloadError('OrderPaid', issues),
    name: 'InvalidPayloadError',
    message: 'Payload of "OrderPaid" must fit its schema, which refuses items.0.sku, the payload itself',
    facts: { eventType: 'OrderPaid' },
  },
  ERR_PUBLISH_FAILED: {
    error: new PublishFailedError('orders', ['1-0', undefined, '2-0', undefined], refused, delayedUntil),
    name: 'PublishFailedError',
    message: 'Cannot publish 1 of 4 events to stream "orders": WRONGTYPE no stream',
    facts: { stream: 'orders', entryIds: ['1-0', undefined, '2-0', undefined], delayedUntil },
    cause: refused,
  },
  ERR_REDIS_CONNECTION: {
    error: new RedisConnectionError('Connection is closed', { cause: refused }),
    name: 'RedisConnectionError',
    message: 'Connection is closed',
    facts: {},
    cause: refused,
  },
  ERR_REDIS_REPLY: {
    error: refused,
    name: 'RedisReplyError',
    message: 'WRONGTYPE no stream',
    facts: {},
  },
  ERR_RETRY_AFTER: {
    error: new RetryAfterError(30_000),
    name: 'RetryAfterError',
    message: 'Retry after 30000 ms',
    facts: { retryAfterMs: 30_000 },
  },
  ERR_UNAVAILABLE: {
    error: new UnavailableError('throttled', { cause: refused }),
    name: 'UnavailableError',
    message: 'throttled',
    facts: { isLasting: false },
    cause: refused,
  },
  ERR_VERSION_CONFLICT: {
    error: new VersionConflictError({ stream: 'accounts' }, 3, 4),
    name: 'VersionConflictError',
    message: 'Cannot publish to stream "accounts": expectedVersion must be its version, 4, got 3',
    facts: {
      stream: 'accounts',
      aggregateType: undefined,
      aggregateId: undefined,
      expectedVersion: 3,
      actualVersion: 4,
    },
  },
  ERR_VERSION_UNSUPPORTED: {
    error: new UnsupportedVersionError('OrderPaid', 3, 2),
    name: 'UnsupportedVersionError',
    message: 'Version 3 of "OrderPaid" is not supported: the definition is at version 2',
    facts: { eventType: 'OrderPaid', version: 3 },
  },
} satisfies Record<ErrorCode, { error: MillraceError; name: string; message: string; facts: object; cause?: Error }>

const rows = Object.entries(EVERY_ERROR) as [
  ErrorCode,
  { error: MillraceError; name: string; message: string; facts: object; cause?: Error },
][]

describe('every error', () => {
  test.each(rows)(
    'with the code %s carries name, message and facts',
    (code, { error, name, message, facts, cause }) => {
      expect({ ...Object.fromEntries(Object.entries(error)), message: error.message, cause: error.cause }).toEqual({
        ...facts,
        code,
        name,
        message,
        cause,
      })
    },
  )

  test.each(rows)('with the code %s is a MillraceError and says its name first', (_code, { error, name, message }) => {
    expect(error).toBeInstanceOf(MillraceError)
    expect(error).toBeInstanceOf(Error)
    expect(error.constructor.name).toBe(name)
    expect(`${error}`).toBe(`${name}: ${message}`)
  })

  test.each(rows)('with the code %s has a message without a full stop', (_code, { error }) => {
    expect(error.message).not.toMatch(/\.$/)
  })

  test('has a code of its own, and every class of the module is among them', () => {
    const all = {
      ...errors,
      ...invocationErrors,
      ...payloadErrors,
      ...janitorErrors,
      ...publishErrors,
      ...aggregateErrors,
    }
    const classes = Object.values(all).filter(isErrorClass)
    const made = rows.map(([, { error }]) => error.constructor)

    expect(new Set(made)).toEqual(new Set(classes))
    expect(new Set(made).size).toBe(rows.length)
  })
})

describe('RetryAfterError', () => {
  test('keeps the message and the cause it is given', () => {
    const { message, cause, retryAfterMs } = new RetryAfterError(0, 'busy', { cause: refused })

    expect({ message, cause, retryAfterMs }).toEqual({ message: 'busy', cause: refused, retryAfterMs: 0 })
  })

  test.each([-1, Number.NaN, Number.NEGATIVE_INFINITY])('refuses a wait of %d ms', (retryAfterMs) => {
    expect(() => new RetryAfterError(retryAfterMs)).toThrow(
      new RangeError(`Cannot retry: retryAfterMs must be >= 0, got ${retryAfterMs}`),
    )
  })
})

test('UnsupportedVersionError says which upcast is missing', () => {
  expect(new UnsupportedVersionError('OrderPaid', 1, 3).message).toBe(
    'Version 1 of "OrderPaid" is not supported: there is no upcast from 1',
  )
})

describe('RedisReplyError', () => {
  test("leaves out the command's arguments, which may be a payload", () => {
    const text = "ERR unknown command 'xadd', with args beginning with: 'orders' '*' 'payload' 'a\nsecret'"

    expect(new RedisReplyError(text).message).toBe("ERR unknown command 'xadd'")
  })

  test('is no longer than 500 characters', () => {
    expect(new RedisReplyError(`ERR ${'x'.repeat(1_000)}`).message).toBe(`ERR ${'x'.repeat(496)}`)
  })

  test.each([
    ['NOGROUP No such key', true],
    ['-NOGROUP No such key', true],
    ["ERR Error running script: @user_script:3: NOGROUP No such key 'orders'", true],
    ['ERR user_script:1: -NOGROUP', true],
    ['NOGROUP', true],
    ['NOGROUPS', false],
    ['MYNOGROUP', false],
    ['nogroup', false],
    ['ERR something else', false],
  ])('is(NOGROUP) finds the code as a word: in %j, %j', (text, isIt) => {
    expect(new RedisReplyError(text).is('NOGROUP')).toBe(isIt)
  })
})

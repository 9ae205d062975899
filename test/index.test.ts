import { expect, test } from 'vitest'
import * as errors from '../src/errors.ts'
import * as millrace from '../src/index.ts'

test('the package exports these names', () => {
  expect(Object.keys(millrace).sort()).toMatchInlineSnapshot(`
    [
      "BacklogFullError",
      "BatchAnswerInvalidError",
      "BatchItemFailedError",
      "EventsTrimmedError",
      "ExpiredEntryError",
      "FunctionFailedError",
      "HandlerTimeoutError",
      "InvalidPayloadError",
      "InvocationFailedError",
      "InvocationTooShortError",
      "MalformedEntryError",
      "MillraceError",
      "NoRouteError",
      "NonRetryableError",
      "OversizeEntryError",
      "PayloadGoneError",
      "PayloadStoreError",
      "PublishFailedError",
      "RedisConnectionError",
      "RedisReplyError",
      "RetryAfterError",
      "UnavailableError",
      "UnreadableEventError",
      "UnsupportedVersionError",
      "VersionConflictError",
      "circuitBreaker",
      "claim",
      "claimCheck",
      "concurrencyLimit",
      "createClaimer",
      "createPoller",
      "createPublisher",
      "defineConsumer",
      "defineEvent",
      "definePolicy",
      "effects",
      "envelopeCodec",
      "filterPatterns",
      "flatCodec",
      "idempotent",
      "listening",
      "on",
      "onBatch",
      "orderedBy",
      "poll",
      "prioritized",
      "promoteDelays",
      "rateLimit",
      "readEvents",
    ]
  `)
})

test('the package exports every error class', () => {
  const classes = Object.entries(errors).filter(([name]) => /[a-z]Error$/.test(name))

  expect(millrace).toMatchObject(Object.fromEntries(classes))
})

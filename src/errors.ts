import { quoted } from './core/quoted.ts'
import type { Report } from './report.ts'

/** Every code that an error of this package carries. Codes are stable; messages are not. */
export type ErrorCode =
  | 'ERR_BATCH_ANSWER_INVALID'
  | 'ERR_BATCH_ITEM_FAILED'
  | 'ERR_ENTRY_MALFORMED'
  | 'ERR_ENTRY_OVERSIZE'
  | 'ERR_FUNCTION_FAILED'
  | 'ERR_HANDLER_TIMEOUT'
  | 'ERR_INVOCATION_FAILED'
  | 'ERR_INVOCATION_TOO_SHORT'
  | 'ERR_NON_RETRYABLE'
  | 'ERR_NO_ROUTE'
  | 'ERR_PAYLOAD_INVALID'
  | 'ERR_PUBLISH_FAILED'
  | 'ERR_REDIS_CONNECTION'
  | 'ERR_REDIS_REPLY'
  | 'ERR_RETRY_AFTER'
  | 'ERR_UNAVAILABLE'
  | 'ERR_VERSION_UNSUPPORTED'

/** What every error of this package is: an `Error` with a stable `code`. */
export abstract class MillraceError extends Error {
  abstract readonly code: ErrorCode
  override readonly name: string = 'MillraceError'
}

/** Thrown by a handler: do not deliver this entry again, dead-letter it now. */
export class NonRetryableError extends MillraceError {
  override readonly name = 'NonRetryableError'
  readonly code = 'ERR_NON_RETRYABLE'
}

/** Thrown by a handler: deliver this entry again after that long, instead of after the back-off. Uses up a delivery. */
export class RetryAfterError extends MillraceError {
  override readonly name = 'RetryAfterError'
  readonly code = 'ERR_RETRY_AFTER'
  /** Milliseconds until the next delivery; capped at 24 hours. */
  readonly retryAfterMs: number

  /** @throws {TypeError | RangeError} `retryAfterMs` is not a number, or negative. */
  constructor(retryAfterMs: number, message = `Retry after ${retryAfterMs} ms`, options?: ErrorOptions) {
    super(message, options)
    if (typeof retryAfterMs !== 'number')
      throw new TypeError(`Cannot retry: retryAfterMs must be a number, got ${typeof retryAfterMs}`)
    if (!(retryAfterMs >= 0)) throw new RangeError(`Cannot retry: retryAfterMs must be >= 0, got ${retryAfterMs}`)
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Thrown by a handler: what it needs took no work for now, and nothing was begun. The entry is handed back and costs no delivery; a poller
 * reads no further in this run, so that a backlog waits in the stream. `lambdaFunction` throws it when Lambda throttles.
 */
export class UnavailableError extends MillraceError {
  override readonly name = 'UnavailableError'
  readonly code = 'ERR_UNAVAILABLE'
  /** It will not pass by itself, as a permission that is missing: the invocation fails once all is settled, so that somebody hears of it. */
  readonly isLasting: boolean

  constructor(
    message: string,
    { isLasting = false, ...options }: ErrorOptions & { readonly isLasting?: boolean } = {},
  ) {
    super(message, options)
    this.isLasting = isLasting
  }
}

/** A batch handler named this entry in `batchItemFailures`, without an error of its own. */
export class BatchItemFailedError extends MillraceError {
  override readonly name = 'BatchItemFailedError'
  readonly code = 'ERR_BATCH_ITEM_FAILED'
}

/** What a batch handler answered is neither nothing nor `{ batchItemFailures }` with ids of its batch: all of the batch failed. */
export class BatchAnswerInvalidError extends MillraceError {
  override readonly name = 'BatchAnswerInvalidError'
  readonly code = 'ERR_BATCH_ANSWER_INVALID'
}

/** A remote function failed: its code threw, its time was up, or its process died. What it failed with is in the message. */
export class FunctionFailedError extends MillraceError {
  override readonly name = 'FunctionFailedError'
  readonly code = 'ERR_FUNCTION_FAILED'
  readonly functionName: string
  /** The name of what was thrown there, as Lambda tells it. */
  readonly errorType: string | undefined

  constructor(functionName: string, errorType: string | undefined, message: string) {
    super(`Function ${quoted(functionName)} failed: ${errorType ? `${errorType}: ` : ''}${message}`)
    this.functionName = functionName
    this.errorType = errorType
  }
}

/** A handler did not settle within `handlerTimeoutMs`; its `signal` was aborted and its entry is retried. */
export class HandlerTimeoutError extends MillraceError {
  override readonly name = 'HandlerTimeoutError'
  readonly code = 'ERR_HANDLER_TIMEOUT'
  readonly handlerTimeoutMs: number

  constructor(handlerTimeoutMs: number) {
    super(`Handler did not settle within handlerTimeoutMs, ${handlerTimeoutMs} ms`)
    this.handlerTimeoutMs = handlerTimeoutMs
  }
}

/** An entry's fields do not say an event. Throw it from a codec of your own. */
export class MalformedEntryError extends MillraceError {
  override readonly name = 'MalformedEntryError'
  readonly code = 'ERR_ENTRY_MALFORMED'
}

/** An entry is larger than `maxEntryBytes`: the publisher refuses to send it, the consumer to decode it. */
export class OversizeEntryError extends MillraceError {
  override readonly name = 'OversizeEntryError'
  readonly code = 'ERR_ENTRY_OVERSIZE'
  readonly bytes: number
  readonly maxEntryBytes: number

  constructor(bytes: number, maxEntryBytes: number) {
    super(`Entry must be at most maxEntryBytes, ${maxEntryBytes} bytes of names and values, got ${bytes}`)
    this.bytes = bytes
    this.maxEntryBytes = maxEntryBytes
  }
}

/** One thing a schema found wrong. Some schemas quote the value in their message: log the path, not the message. */
export interface PayloadIssue {
  readonly path: string
  readonly message: string
}

/** A payload was refused by its event's schema. The message says where; `issues` has the schema's own words. */
export class InvalidPayloadError extends MillraceError {
  override readonly name = 'InvalidPayloadError'
  readonly code = 'ERR_PAYLOAD_INVALID'
  readonly eventType: string
  declare readonly issues: readonly PayloadIssue[]

  constructor(eventType: string, issues: readonly PayloadIssue[]) {
    const where = [...new Set(issues.map(({ path }) => (path === '' ? 'the payload itself' : path)))].join(', ')
    super(`Payload of ${quoted(eventType)} must fit its schema, which refuses ${where}`)
    this.eventType = eventType
    // not enumerable, so that a logger which prints an error's members prints no values
    Object.defineProperty(this, 'issues', { value: issues })
  }
}

/** No route of the consumer handles this event type. */
export class NoRouteError extends MillraceError {
  override readonly name = 'NoRouteError'
  readonly code = 'ERR_NO_ROUTE'
  readonly eventType: string

  constructor(eventType: string) {
    super(`No route for event type ${quoted(eventType)}`)
    this.eventType = eventType
  }
}

/** An event's version is newer than its definition's, or there is no upcast from it. */
export class UnsupportedVersionError extends MillraceError {
  override readonly name = 'UnsupportedVersionError'
  readonly code = 'ERR_VERSION_UNSUPPORTED'
  readonly eventType: string
  readonly version: number

  constructor(eventType: string, version: number, supported: number) {
    const why = version > supported ? `the definition is at version ${supported}` : `there is no upcast from ${version}`
    super(`Version ${version} of ${quoted(eventType)} is not supported: ${why}`)
    this.eventType = eventType
    this.version = version
  }
}

/** The server answered a command with an error. The message is the server's text. */
export class RedisReplyError extends MillraceError {
  override readonly name = 'RedisReplyError'
  readonly code = 'ERR_REDIS_REPLY'

  constructor(message: string, options?: ErrorOptions) {
    super(message.replace(/, with args beginning with:.*$/s, '').slice(0, 500), options)
  }

  /** Whether the server's text holds that code as a word: scripts wrap it differently from version to version. */
  is(replyCode: string): boolean {
    return new RegExp(`(^|[^A-Z])${replyCode}([^A-Z]|$)`).test(this.message)
  }
}

/** No reply came: the server could not be reached, hung up, or did not answer in time. */
export class RedisConnectionError extends MillraceError {
  override readonly name = 'RedisConnectionError'
  readonly code = 'ERR_REDIS_CONNECTION'
}

/** Some of the events could not be written. `entryIds` has the ids of those that were, in the order they were given. */
export class PublishFailedError extends MillraceError {
  override readonly name = 'PublishFailedError'
  readonly code = 'ERR_PUBLISH_FAILED'
  readonly stream: string
  /** One an event, in order; `undefined` where the event was refused, or where no reply says. */
  readonly entryIds: readonly (string | undefined)[]

  constructor(stream: string, entryIds: readonly (string | undefined)[], cause: Error) {
    const missing = entryIds.filter((id) => id === undefined).length
    super(`Cannot publish ${missing} of ${entryIds.length} events to stream ${quoted(stream)}: ${cause.message}`, {
      cause,
    })
    this.stream = stream
    this.entryIds = entryIds
  }
}

/** One consumer's trouble within an invocation. */
export interface ConsumerFailure {
  readonly stream: string
  readonly group: string
  readonly error: Error
}

/** The invocation met a failure of the infrastructure. What was done before it is in `report`. */
export class InvocationFailedError extends MillraceError {
  override readonly name = 'InvocationFailedError'
  readonly code = 'ERR_INVOCATION_FAILED'
  readonly report: Report
  readonly failures: readonly ConsumerFailure[]

  constructor(action: 'poll' | 'claim', failures: readonly ConsumerFailure[], report: Report) {
    const said = failures.map((f) => `group ${quoted(f.group)} on stream ${quoted(f.stream)}: ${f.error.message}`)
    super(`Cannot finish ${action}: ${[...new Set(said)].join('; ')}`, { cause: failures[0]?.error })
    this.failures = failures
    this.report = report
  }
}

/** The whole time of the invocation is too short to run one handler: raise the function's timeout or lower `handlerTimeoutMs`. */
export class InvocationTooShortError extends MillraceError {
  override readonly name = 'InvocationTooShortError'
  readonly code = 'ERR_INVOCATION_TOO_SHORT'
  readonly report: Report
  readonly group: string
  readonly remainingMs: number
  readonly handlerTimeoutMs: number
  readonly reserveMs: number

  constructor(
    group: string,
    limits: { remainingMs: number; handlerTimeoutMs: number; reserveMs: number },
    report: Report,
  ) {
    const { remainingMs, handlerTimeoutMs, reserveMs } = limits
    super(
      `Cannot run group ${quoted(group)}: the invocation's time must be at least handlerTimeoutMs (${handlerTimeoutMs}) ` +
        `+ reserveMs (${reserveMs}), got ${Math.floor(remainingMs)} ms; raise the function's timeout or lower handlerTimeoutMs`,
    )
    this.group = group
    this.remainingMs = remainingMs
    this.handlerTimeoutMs = handlerTimeoutMs
    this.reserveMs = reserveMs
    this.report = report
  }
}

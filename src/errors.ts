/** Every code that an error of this package carries. Codes are stable; messages are not. */
export type ErrorCode =
  | 'ERR_BACKLOG_FULL'
  | 'ERR_BATCH_ANSWER_INVALID'
  | 'ERR_BATCH_ITEM_FAILED'
  | 'ERR_ENTRY_EXPIRED'
  | 'ERR_ENTRY_MALFORMED'
  | 'ERR_ENTRY_OVERSIZE'
  | 'ERR_EVENTS_TRIMMED'
  | 'ERR_EVENT_UNREADABLE'
  | 'ERR_FUNCTION_FAILED'
  | 'ERR_HANDLER_TIMEOUT'
  | 'ERR_INVOCATION_FAILED'
  | 'ERR_INVOCATION_TOO_SHORT'
  | 'ERR_JANITOR_FAILED'
  | 'ERR_NON_RETRYABLE'
  | 'ERR_NO_ROUTE'
  | 'ERR_PAYLOAD_GONE'
  | 'ERR_PAYLOAD_INVALID'
  | 'ERR_PAYLOAD_STORE'
  | 'ERR_PUBLISH_FAILED'
  | 'ERR_REDIS_CONNECTION'
  | 'ERR_REDIS_REPLY'
  | 'ERR_RETRY_AFTER'
  | 'ERR_UNAVAILABLE'
  | 'ERR_VERSION_CONFLICT'
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
  /** The name of what was thrown there, as Lambda reports it. */
  readonly errorType: string | undefined

  constructor(functionName: string, errorType: string | undefined, message: string) {
    super(`Function ${quotedValue(functionName)} failed: ${errorType ? `${errorType}: ` : ''}${message}`)
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

  /** @param entry Which one it is, as the message begins. @param advice What the message ends with. */
  constructor(bytes: number, maxEntryBytes: number, entry = 'Entry', advice = '') {
    super(`${entry} must be at most maxEntryBytes, ${maxEntryBytes} bytes of names and values, got ${bytes}${advice}`)
    this.bytes = bytes
    this.maxEntryBytes = maxEntryBytes
  }
}

/** An entry is older than its `maxAgeMs`, by its id and the server's clock: no handler was called for it. */
export class ExpiredEntryError extends MillraceError {
  override readonly name = 'ExpiredEntryError'
  readonly code = 'ERR_ENTRY_EXPIRED'
  /** Milliseconds since it was published. */
  readonly ageMs: number
  readonly maxAgeMs: number

  constructor(ageMs: number, maxAgeMs: number) {
    super(`Entry must be at most maxAgeMs, ${maxAgeMs} ms, old, got ${Math.floor(ageMs)} ms`)
    this.ageMs = ageMs
    this.maxAgeMs = maxAgeMs
  }
}

/** One thing a schema found wrong. Both members may quote the payload, a path the keys of a record: log neither. */
export interface PayloadIssue {
  readonly path: string
  readonly message: string
}

/** What of an issue may be shown: nothing of it is the payload's. */
export interface ShownIssue {
  readonly path: string
  /** Left out where it may quote the payload. */
  readonly message?: string | undefined
}

/**
 * A payload was refused by its event's schema. The message says where, by the schema's own names, `*` in place of others; `issues` has the
 * schema's own words.
 */
export class InvalidPayloadError extends MillraceError {
  override readonly name = 'InvalidPayloadError'
  readonly code = 'ERR_PAYLOAD_INVALID'
  readonly eventType: string
  declare readonly issues: readonly PayloadIssue[]
  /** What of them may be shown; no more than the first ten. */
  declare readonly shown: readonly ShownIssue[]

  /** @param advice What the message ends with. */
  constructor(eventType: string, issues: readonly PayloadIssue[], shown: readonly ShownIssue[] = issues, advice = '') {
    const paths = [...new Set(shown.map(({ path }) => (path === '' ? 'the payload itself' : path)))]
    const left = issues.length - shown.length
    const more = left > 0 ? [issues.length < MAX_KEPT_ISSUES ? `${left} more` : 'many more'] : []
    const refused = [...paths, ...more].join(', ')
    super(`Payload of ${quotedValue(eventType)} must fit its schema, which refuses ${refused}${advice}`)
    this.eventType = eventType
    // not enumerable, so that a logger which prints an error's members prints no values
    Object.defineProperties(this, { issues: { value: issues }, shown: { value: shown } })
  }
}

/** No route of the consumer handles this event type. */
export class NoRouteError extends MillraceError {
  override readonly name = 'NoRouteError'
  readonly code = 'ERR_NO_ROUTE'
  readonly eventType: string

  constructor(eventType: string) {
    super(`No route for event type ${quotedValue(eventType)}`)
    this.eventType = eventType
  }
}

/** An event's version is newer than its definition's (`newer-version`), or there is no upcast from it (`unsupported-version`). */
export class UnsupportedVersionError extends MillraceError {
  override readonly name = 'UnsupportedVersionError'
  readonly code = 'ERR_VERSION_UNSUPPORTED'
  readonly eventType: string
  readonly version: number

  constructor(eventType: string, version: number, supported: number) {
    const why = version > supported ? `the definition is at version ${supported}` : `there is no upcast from ${version}`
    super(`Version ${version} of ${quotedValue(eventType)} is not supported: ${why}`)
    this.eventType = eventType
    this.version = version
  }
}

/** The server answered a command with an error. The message is the server's text. */
export class RedisReplyError extends MillraceError {
  override readonly name = 'RedisReplyError'
  readonly code = 'ERR_REDIS_REPLY'

  constructor(message: string, options?: ErrorOptions) {
    super(message.replace(/, (with args beginning with|command was):.*$/s, '').slice(0, 500), options)
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

/** Some of the events could not be written. `entryIds` and `delayedUntil` have those that were, in the order they were given. */
export class PublishFailedError extends MillraceError {
  override readonly name = 'PublishFailedError'
  readonly code = 'ERR_PUBLISH_FAILED'
  readonly stream: string
  /** One per event, in order; `undefined` where the event is delayed, was refused, or where no reply says. */
  readonly entryIds: readonly (string | undefined)[]
  /** One per event, in order: until when it is delayed; `undefined` where it is not, was refused, or where no reply says. */
  readonly delayedUntil: readonly (Date | undefined)[]

  constructor(
    stream: string,
    entryIds: readonly (string | undefined)[],
    cause: Error,
    delayedUntil: readonly (Date | undefined)[] = entryIds.map(() => undefined),
  ) {
    const missing = entryIds.filter((id, n) => id === undefined && delayedUntil[n] === undefined).length
    super(`Cannot publish ${missing} of ${entryIds.length} events to stream ${quotedValue(stream)}: ${cause.message}`, {
      cause,
    })
    this.stream = stream
    this.entryIds = entryIds
    this.delayedUntil = delayedUntil
  }
}

/** Characters of a text that a message shows. */
const MOST_SHOWN = 200

/** A value as messages show it: a text in double quotes, a long one cut, and nothing of an object, which may be a client with its password. Whatever it holds, it stays on its line. */
export function quotedValue(value: unknown): string {
  if (typeof value === 'bigint' || (typeof value === 'object' && value !== null)) return typeof value
  if (typeof value !== 'string' || value.length <= MOST_SHOWN) return JSON.stringify(value)
  return `${JSON.stringify(value.slice(0, MOST_SHOWN))}… (${value.length} characters)`
}

/** Issues and segments of a path that are kept. */
export const MAX_KEPT_ISSUES = 100

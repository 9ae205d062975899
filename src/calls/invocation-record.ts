import { isoTime } from '../core/iso-time.ts'
import type { DeadLetterReason } from '../core/outcome.ts'
import type { DeadLetterNotice } from '../define/observe.ts'

/** AWS's word where it has one; the others say what AWS has no word for. */
const CONDITIONS: Readonly<Record<DeadLetterReason, string>> = {
  'max-deliveries': 'RetryAttemptsExhausted',
  crashed: 'RetryAttemptsExhausted',
  'non-retryable': 'NonRetryable',
  invalid: 'SchemaInvalid',
  malformed: 'EntryMalformed',
  oversize: 'EntryOversize',
  unrouted: 'UnknownEventType',
  expired: 'MaximumRecordAgeExceeded',
  'newer-version': 'NewerVersion',
  'unsupported-version': 'UnsupportedVersion',
}

/** Reasons of entries that a handler was called for. */
const HANDLED: readonly DeadLetterReason[] = ['max-deliveries', 'crashed', 'non-retryable']

/** What AWS sends to a function about a stream's record that it gave up, with Redis's names in place of Kinesis's. No payload. */
export interface InvocationRecord {
  readonly version: '1.0'
  /** ISO 8601: when it was given up. */
  readonly timestamp: string
  readonly requestContext: { readonly condition: string; readonly approximateInvokeCount: number }
  /** Left out if no handler was called. */
  readonly responseContext?: { readonly statusCode: 200; readonly functionError: 'Unhandled' }
  readonly RedisStreamBatchInfo: {
    readonly stream: string
    readonly consumerGroup: string
    readonly startId: string
    readonly endId: string
    readonly approximateArrivalOfFirstRecord: string
    readonly approximateArrivalOfLastRecord: string
    readonly batchSize: 1
  }
  readonly deadLetter: { readonly stream: string; readonly reason: DeadLetterReason }
  readonly event: { readonly eventId?: string; readonly type?: string; readonly traceparent?: string }
  readonly error?: { readonly name: string; readonly message: string }
}

/**
 * @param now Milliseconds since 1970.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
 */
export function toInvocationRecord(notice: DeadLetterNotice, now: number): InvocationRecord {
  const { stream, group, entryId, reason, deadLetters, error, eventId, eventType, traceparent } = notice
  const arrival = isoTime(Number.parseInt(entryId, 10))
  return {
    version: '1.0',
    timestamp: isoTime(now),
    requestContext: { condition: CONDITIONS[reason], approximateInvokeCount: notice.deliveryCount },
    ...(HANDLED.includes(reason) && { responseContext: { statusCode: 200, functionError: 'Unhandled' } }),
    RedisStreamBatchInfo: {
      stream,
      consumerGroup: group,
      startId: entryId,
      endId: entryId,
      approximateArrivalOfFirstRecord: arrival,
      approximateArrivalOfLastRecord: arrival,
      batchSize: 1,
    },
    deadLetter: { stream: deadLetters, reason },
    event: {
      ...(eventId !== undefined && { eventId }),
      ...(eventType !== undefined && { type: eventType }),
      ...(traceparent !== undefined && { traceparent }),
    },
    ...(error && { error: { name: error.name, message: error.message } }),
  }
}

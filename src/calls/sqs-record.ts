import { hash } from 'node:crypto'
import type { BatchContext, BatchEvent } from '../define/batch-handler.ts'
import { payloadJson } from './payload-json.ts'

/** As what a batch is given to a remote function. */
export type RecordEnvelope = 'redis' | 'sqs'

/** `sqs` is for tools that take nothing else, such as Powertools' `SqsRecordSchema`. */
const EVENT_SOURCES: Readonly<Record<RecordEnvelope, string>> = { redis: 'redis:streams', sqs: 'aws:sqs' }

export const RECORD_ENVELOPES = Object.keys(EVENT_SOURCES)

/** What else an event says of itself, beside its payload. */
const ATTRIBUTES = [
  'type',
  'version',
  'eventId',
  'aggregateType',
  'aggregateId',
  'aggregateVersion',
  'tenantId',
  'producer',
  'occurredAt',
  'traceparent',
  'idempotencyKey',
] as const satisfies readonly (keyof BatchEvent)[]

/** An event in the shape of SQS's, so that code written for SQS reads it. */
export interface SqsRecord {
  /** The entry's id: what `batchItemFailures` names. */
  readonly messageId: string
  readonly receiptHandle: string
  /** The payload as JSON: the published text where the schema changed nothing. */
  readonly body: string
  /** All are strings, also numbers. */
  readonly attributes: Readonly<Record<string, string>>
  readonly messageAttributes: Readonly<Record<string, { readonly stringValue: string; readonly dataType: 'String' }>>
  readonly md5OfBody: string
  readonly eventSource: string
  readonly eventSourceARN: string
  readonly awsRegion: string
}

/**
 * @param now Milliseconds since 1970.
 * @throws {TypeError} The payload cannot be written as JSON.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 */
export function toSqsRecord(
  event: BatchEvent,
  context: BatchContext,
  envelope: RecordEnvelope,
  now: number,
): SqsRecord {
  const { entryId, deliveryCount, aggregateId } = event
  const { stream, group } = context
  const body = payloadJson(event.payload, event.fields)
  const sentMs = entryId.slice(0, entryId.indexOf('-'))
  return {
    messageId: entryId,
    receiptHandle: `${stream}/${group}/${entryId}`,
    body,
    attributes: {
      ApproximateReceiveCount: `${deliveryCount}`,
      SentTimestamp: sentMs,
      // the server does not keep when the first delivery was: later ones say the earliest it can have been
      ApproximateFirstReceiveTimestamp: deliveryCount === 1 && now > Number(sentMs) ? `${now}` : sentMs,
      SenderId: 'redis-streams',
      ...(aggregateId && { MessageGroupId: aggregateId }),
    },
    messageAttributes: messageAttributesOf(event),
    md5OfBody: hash('md5', body),
    eventSource: EVENT_SOURCES[envelope],
    eventSourceARN: `redis:streams:${stream}:${group}`,
    awsRegion: process.env.AWS_REGION ?? context.invokedFunctionArn.split(':')[3] ?? '',
  }
}

function messageAttributesOf(event: BatchEvent): SqsRecord['messageAttributes'] {
  const said = ATTRIBUTES.filter((name) => event[name]) // SQS has no empty values, and tools refuse them
  const further = Object.entries(event.attributes ?? {}).filter(([, value]) => value)
  const own = said.map((name) => [name, `${event[name]}`] as const)
  // an attribute that is named as what an event says of itself gives way
  return Object.fromEntries(
    [...further, ...own].map(([name, stringValue]) => [name, { stringValue, dataType: 'String' }]),
  )
}

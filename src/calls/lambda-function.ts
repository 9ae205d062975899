import { assertInteger, assertKnownOptions, assertOneOf } from '../core/options.ts'
import type { BatchContext, BatchEvent, BatchHandler } from '../define/batch-handler.ts'
import { findBatch } from '../define/batch-in-hand.ts'
import { NonRetryableError, quotedValue } from '../errors.ts'
import { parseFunctionTarget } from './function-target.ts'
import type { BatchItemFailure } from './remote-handler-call.ts'
import { RemoteHandlerCall, unsendableEventError } from './remote-handler-call.ts'
import type { RequestRecord } from './request-chunks.ts'
import { packRequests } from './request-chunks.ts'
import type { RecordEnvelope } from './sqs-record.ts'
import { RECORD_ENVELOPES, toSqsRecord } from './sqs-record.ts'

/** How a function is called. */
export interface LambdaFunctionOptions {
  /** Version or alias. Default: what the name says, else the function as it was deployed last. */
  readonly qualifier?: string
  /** What `eventSource` of the records says: `redis:streams`, or `aws:sqs` for tools that take nothing else. Default `redis`. */
  readonly envelope?: RecordEnvelope
  /**
   * Milliseconds after which an answer is waited for no longer, 1 or more; at most the consumer's `handlerTimeoutMs`. Should be longer than
   * the function's own timeout, since what is given up here may run on there. Default: the time that the handler has.
   */
  readonly timeoutMs?: number
}

/** A batch handler that is another function. */
export interface LambdaBatchHandler extends BatchHandler {
  readonly timeoutMs: number | undefined
}

/**
 * Makes a batch handler of another function, which gets the events as SQS's `Records` and answers as one behind SQS does: nothing, or
 * `{ batchItemFailures }`. It is invoked synchronously, once per delivery; a batch of more than 6 MB is several requests, side by side; with `orderedBy` one after the other.
 *
 * - What Lambda did not take on (throttled, unreachable, 5xx) is handed back and costs no delivery. What it will never take on (a wrong name, a
 *   missing permission) is handed back as well, and the invocation fails.
 * - What Lambda refuses and nobody knows why (400, 415, 422 …) is halved until the event that causes it is alone, and has used up a delivery.
 * - A function that failed, died, or gave no answer in time has failed all that it was given.
 *
 * The role needs `lambda:InvokeFunction` on the function, with its qualifier if it has one.
 *
 * @param name A name or an ARN, whole or partial, with or without a qualifier.
 * @throws {TypeError | RangeError} A bad option.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
export function lambdaFunction(name: string, options: LambdaFunctionOptions = {}): LambdaBatchHandler {
  const action = 'make lambdaFunction'
  assertKnownOptions(action, options, ['qualifier', 'envelope', 'timeoutMs'])
  const { qualifier, envelope = 'redis', timeoutMs } = options
  const target = parseFunctionTarget(action, name, qualifier)
  assertOneOf(action, 'envelope', envelope, RECORD_ENVELOPES)
  if (timeoutMs !== undefined) assertInteger(action, 'timeoutMs', timeoutMs, 1)
  const handler: BatchHandler = async (events, context) => {
    const { items, failures } = writeItems(events, context, { name, envelope })
    const { requests, tooLarge } = packRequests(items)
    for (const { entryId } of tooLarge) failures.push({ itemIdentifier: entryId, error: unsendableEventError(name) })
    const isInOrder = findBatch(context)?.isInOrder === true
    const call = new RemoteHandlerCall(target, context, { events: items.length, timeoutMs, isInOrder })
    try {
      return { batchItemFailures: [...failures, ...(await call.failuresOfAll(requests))] }
    } finally {
      call.end()
    }
  }
  return Object.defineProperty(handler, 'timeoutMs', { value: timeoutMs, enumerable: true }) as LambdaBatchHandler
}

/** The events as they are sent; one whose payload is no JSON fails by itself. */
function writeItems(
  events: readonly BatchEvent[],
  context: BatchContext,
  { name, envelope }: { readonly name: string; readonly envelope: RecordEnvelope },
): { readonly items: readonly RequestRecord[]; readonly failures: BatchItemFailure[] } {
  const items: RequestRecord[] = []
  const failures: BatchItemFailure[] = []
  const now = Date.now()
  for (const event of events) {
    const { entryId } = event
    try {
      items.push({ entryId, json: JSON.stringify(toSqsRecord(event, context, envelope, now)) })
    } catch {
      // what JSON says of it may quote the payload
      const text = `Function ${quotedValue(name)} cannot be given this event: its payload cannot be written as JSON`
      failures.push({ itemIdentifier: entryId, error: new NonRetryableError(text) })
    }
  }
  return { items, failures }
}

import { consumerKeys } from '../core/keys.ts'
import { assertObject, assertText, withDefaults, wrongUseError } from '../core/options.ts'
import type { JoinedCommand } from '../core/outcome.ts'
import type { BatchContext, BatchEvent } from '../define/batch-handler.ts'
import type { HandlerContext } from '../define/handler.ts'
import { EffectsOfCall } from '../effects/effects-of-call.ts'
import { findTestEffects, keepTestEffects } from '../effects/test-effects.ts'

/**
 * A context for calling a handler by itself, as on the first delivery of an entry with all its time left. Members that follow from others do so from the given ones: with `stream`, `group` and
 * `entryId` the `idempotencyKey` is theirs. What the handler asks for with `effects(context)`, `effectsOf` shows.
 *
 * @param members What the test is about, such as `{ deliveryCount: 3 }`.
 * @throws {TypeError} No object.
 */
export function createHandlerContext(members: Partial<HandlerContext> = {}): HandlerContext {
  assertObject('create handler context', 'members', members)
  const { entryId = '1-0', deliveryCount = 1 } = members
  const shared = surroundings(members, deliveryCount)
  const idempotencyKey = `${shared.group}:${shared.stream}:${entryId}`
  const context: HandlerContext = withDefaults<HandlerContext>(
    { ...shared, entryId, deliveryCount, idempotencyKey, fields: [] },
    members,
  )
  keepTestEffects(context, EffectsOfCall.ofEntry(consumerKeys(context.stream, context.group), context))
  return context
}

/**
 * As `createHandlerContext`, for calling a batch handler by itself. What the handler asks for with `effects(context)` and `effects(context, event)`, `effectsOf` shows.
 *
 * @param events Those that the handler is called with.
 * @param members What the test is about, such as `{ maxDeliveries: 3 }`.
 * @throws {TypeError} No array; an event without an `entryId`, or two with the same one.
 */
export function createBatchContext(events: readonly BatchEvent[], members: Partial<BatchContext> = {}): BatchContext {
  const action = 'create batch context'
  if (!Array.isArray(events)) throw wrongUseError(action, 'events must be the array that the handler is called with')
  assertObject(action, 'members', members)
  for (const [n, event] of (events as readonly BatchEvent[]).entries()) {
    assertObject(action, `events[${n}]`, event)
    assertText(action, `events[${n}].entryId`, event.entryId)
  }
  if (new Set(events.map(({ entryId }) => entryId)).size < events.length)
    throw wrongUseError(action, 'each of events must have an entryId of its own')
  const counts = events.map(({ deliveryCount }) => deliveryCount ?? 1)
  const context: BatchContext = withDefaults<BatchContext>(surroundings(members, Math.max(...counts, 1)), members)
  keepTestEffects(context, EffectsOfCall.ofBatch({ keys: consumerKeys(context.stream, context.group), events }))
  return context
}

/**
 * What a handler asked for with `effects(context)`, or a batch handler with `effects(context, event)`, in order, as commands: their name, their key, and further arguments.
 *
 * @param context Of `createHandlerContext`, or of `createBatchContext`.
 * @param event One of a batch: what was asked for with it. Without it, what was asked for the whole batch.
 * @throws {TypeError} Another context; no event of the batch.
 */
export function effectsOf(context: HandlerContext | BatchContext, event?: BatchEvent): readonly JoinedCommand[] {
  const effects = findTestEffects(context)
  if (!effects)
    throw wrongUseError(
      'show effects',
      'context must be the very object that createHandlerContext or createBatchContext made',
    )
  return effects.list(event).commands
}

/** What does not depend on an entry, with what follows from the given members. */
function surroundings(members: Partial<BatchContext>, deliveryCount: number): BatchContext {
  const { functionName = 'handler', stream = 'stream', group = 'group' } = members
  const { signal = new AbortController().signal } = members
  return {
    functionName,
    functionVersion: '$LATEST',
    invokedFunctionArn: `arn:aws:lambda:eu-west-1:123456789012:function:${functionName}`,
    memoryLimitInMB: '128',
    awsRequestId: '00000000-0000-4000-8000-000000000000',
    logGroupName: `/aws/lambda/${functionName}`,
    logStreamName: 'handler',
    callbackWaitsForEmptyEventLoop: false,
    stream,
    group,
    consumerName: 'poller-0',
    maxDeliveries: Math.max(5, deliveryCount),
    signal,
    getRemainingTimeInMillis: () => (signal.aborted ? 0 : 10_000),
  }
}

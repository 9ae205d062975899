import { consumerKeys } from '../core/keys.ts'
import { wrongUseError } from '../core/options.ts'
import type { JoinedCommand } from '../core/outcome.ts'
import type { HandlerContext } from '../define/handler.ts'
import { EffectsOfCall } from '../effects/effects-of-call.ts'
import { findTestEffects, keepTestEffects } from '../effects/test-effects.ts'

/**
 * A context for calling a handler by itself, as on the first delivery of an entry with all its time left. What the handler asks for with `effects(context)`, `effectsOf` shows.
 *
 * @param members What the test is about, such as `{ deliveryCount: 3 }`.
 */
export function createHandlerContext(members: Partial<HandlerContext> = {}): HandlerContext {
  const context: HandlerContext = {
    functionName: 'handler',
    functionVersion: '$LATEST',
    invokedFunctionArn: 'arn:aws:lambda:eu-west-1:123456789012:function:handler',
    memoryLimitInMB: '128',
    awsRequestId: '00000000-0000-4000-8000-000000000000',
    logGroupName: '/aws/lambda/handler',
    logStreamName: 'handler',
    callbackWaitsForEmptyEventLoop: false,
    stream: 'stream',
    group: 'group',
    consumerName: 'poller-0',
    entryId: '1-0',
    deliveryCount: 1,
    maxDeliveries: 5,
    idempotencyKey: 'group:stream:1-0',
    signal: new AbortController().signal,
    fields: [],
    getRemainingTimeInMillis: () => 10_000,
    ...members,
  }
  keepTestEffects(context, EffectsOfCall.ofEntry(consumerKeys(context.stream, context.group), context))
  return context
}

/**
 * What a handler asked for with `effects(context)`, in order, as commands: their name, their key, and further arguments.
 *
 * @param context Of `createHandlerContext`.
 * @throws {TypeError} Another one.
 */
export function effectsOf(context: HandlerContext): readonly JoinedCommand[] {
  const effects = findTestEffects(context)
  if (!effects) throw wrongUseError('show effects', 'context must be the very object that createHandlerContext made')
  return effects.list(undefined).commands
}

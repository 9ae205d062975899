import { wrongUseError } from '../core/options.ts'
import type { BatchContext, BatchEvent } from '../define/batch-handler.ts'
import { findBatch } from '../define/batch-in-hand.ts'
import type { HandlerContext } from '../define/handler.ts'
import { EntryContext } from '../run/context.ts'
import type { Effects } from './effect-methods.ts'
import { EffectsOfCall } from './effects-of-call.ts'
import { findTestEffects } from './test-effects.ts'

/**
 * Collects what is to happen together with the acknowledgement of an entry, in one step on the server and behind the fence: all or none, and only if the handler succeeds and the
 * entry is still ours. Where it could not be carried out (a key of another type, an overflow) the entry has failed, and is retried.
 *
 * @param context The very object that the handler was called with.
 * @throws {TypeError} Another object, as a copy of it; or the handler has ended.
 */
export function effects(context: HandlerContext): Effects
/**
 * The same for a batch handler. Without an event it is for the batch: it happens only if all of its events succeed, together with all of their acknowledgements; else those that succeeded have
 * failed as well.
 *
 * @param event One of the batch: with its acknowledgement alone.
 * @throws {TypeError} As above; or no event of the batch; or the consumer has `orderedBy`.
 */
export function effects(context: BatchContext, event?: BatchEvent): Effects
export function effects(context: HandlerContext | BatchContext, event?: BatchEvent): Effects {
  const collected = typeof context === 'object' && context !== null ? find(context) : undefined
  if (collected === undefined)
    throw wrongUseError('collect effects', 'context must be the very object that the handler was called with, no copy')
  if (collected === null) throw wrongUseError('collect effects', 'the handler has ended')
  return collected.list(event)
}

function find(context: object): EffectsOfCall | null | undefined {
  const ofEntry = EntryContext.effects(context, (keys) => EffectsOfCall.ofEntry(keys, context as HandlerContext))
  if (ofEntry !== undefined) return ofEntry as EffectsOfCall | null
  const batch = findBatch(context)
  if (!batch) return findTestEffects(context)
  // what the server refuses of one event would come after what had happened for those behind it
  if (batch.isInOrder)
    throw wrongUseError(
      'collect effects',
      'with orderedBy the route must be one of on, whose events are called one by one',
    )
  if (batch.effects === undefined) batch.effects = EffectsOfCall.ofBatch(batch)
  return batch.effects as EffectsOfCall | null
}

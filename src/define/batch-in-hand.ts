import type { ConsumerKeys } from '../core/keys.ts'
import type { BatchContext, BatchEvent } from './batch-handler.ts'

/** A call of a batch handler, as `effects` finds it. */
export interface BatchInHand {
  readonly keys: ConsumerKeys
  readonly events: readonly BatchEvent[]
  /** They come in the order of their keys: none may be handled beside another, or have effects that the server refuses by themselves. */
  readonly isInOrder: boolean
  /** What `effects` collects for it; `null` once its call has ended. */
  effects: { end(): void } | null | undefined
}

const BATCHES = new WeakMap<object, BatchInHand>()

/** The call that was made with that very context, if it was one of a batch handler. */
export function findBatch(context: object): BatchInHand | undefined {
  return BATCHES.get(context)
}

/** @returns What ends the call, and answers what was collected for it. */
export function keepBatch(
  context: BatchContext,
  { keys, events, isInOrder }: Omit<BatchInHand, 'effects'>,
): () => object | undefined {
  // a copy: a handler may empty its own
  const batch: BatchInHand = { keys, events: [...events], isInOrder, effects: undefined }
  BATCHES.set(context, batch)
  return () => {
    const { effects } = batch
    batch.effects = null
    effects?.end()
    return effects ?? undefined
  }
}

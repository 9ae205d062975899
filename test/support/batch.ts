import type { BatchContext, BatchEvent, BatchHandler } from '../../src/define/batch-handler.ts'
import { createBatchContext } from '../../src/testing/handler-context.ts'

/** An event of a batch, at its first delivery; unless said otherwise, the nth entry of the stream. */
export function aBatchEvent(n: number, members: Partial<BatchEvent> = {}): BatchEvent {
  const entryId = `1700000000000-${n}`
  return {
    type: 'OrderShipped',
    version: 1,
    payload: { orderId: `o-${n}` },
    eventId: `e-${n}`,
    entryId,
    deliveryCount: 1,
    idempotencyKey: `billing:e-${n}`,
    fields: [],
    ...members,
  }
}

export function aBatch(count: number): BatchEvent[] {
  return Array.from({ length: count }, (_, n) => aBatchEvent(n + 1))
}

export function aBatchContext(members: Partial<BatchContext> = {}): BatchContext {
  return createBatchContext([], { stream: 'orders', group: 'billing', ...members })
}

/** The failures of an answer as [number of the event, error], in the order of their entries. */
export function failuresOf(answer: Awaited<ReturnType<BatchHandler>>): [n: number, error: unknown][] {
  const failures = answer?.batchItemFailures ?? []
  return failures
    .map(({ itemIdentifier, error }): [number, unknown] => [Number(itemIdentifier.split('-')[1]), error])
    .toSorted(([a], [b]) => a - b)
}

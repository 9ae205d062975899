import type { BatchContext, BatchEvent, HandlerContext } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, effects, on, onBatch, poll } from 'millrace'
import { connectMemory, createBatchContext, createHandlerContext, effectsOf } from 'millrace/testing'
import { describe, expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import { aBatch, aBatchEvent } from '../support/batch.ts'

const GIVEN = { stream: 'orders', group: 'billing', entryId: '5-0' }
const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })

/** A handler of a user's, as the docs have one. */
function countShipments(events: readonly BatchEvent[], context: BatchContext): void {
  effects(context).increment('{orders}:batches')
  for (const event of events) effects(context, event).addToSet('{orders}:shipped', event.entryId)
}

/** What a run hands to a handler, and to a batch handler. */
async function handedByRuns(): Promise<[HandlerContext, BatchContext]> {
  const redis = connectMemory()
  const publisher = createPublisher({ stream: 'orders', redis })
  await publisher.publish(Paid, { orderId: 'o-1' })
  const one = vi.fn((_event: unknown, _context: HandlerContext) => {})
  const batch = vi.fn((_events: unknown, _context: BatchContext) => {})
  await poll(defineConsumer({ stream: 'orders', group: 'one', routes: [on(Paid, one)] }), { redis })
  await poll(defineConsumer({ stream: 'orders', group: 'batch', routes: [onBatch(Paid, batch)] }), { redis })
  return [one.mock.calls[0]?.[1], batch.mock.calls[0]?.[1]] as [HandlerContext, BatchContext]
}

/** Members, also those that are made when they are first asked for. */
const membersOf = (context: object) =>
  new Set(['signal', 'fields', ...Object.keys(context)].filter((name) => name in context))

describe('createHandlerContext()', () => {
  it('has the idempotency key of the stream, group and entry that were given', () => {
    expect(createHandlerContext(GIVEN).idempotencyKey).toBe('billing:orders:5-0')
    expect(createHandlerContext({ entryId: '5-0' }).idempotencyKey).toBe('group:stream:5-0')
    expect(createHandlerContext({ ...GIVEN, idempotencyKey: 'billing:e-1' }).idempotencyKey).toBe('billing:e-1')
  })

  it('names what belongs to the function that was given', () => {
    expect(createHandlerContext({ functionName: 'bill' })).toMatchObject({
      invokedFunctionArn: 'arn:aws:lambda:eu-west-1:123456789012:function:bill',
      logGroupName: '/aws/lambda/bill',
    })
  })

  it('allows as many deliveries as the attempt has', () => {
    expect(createHandlerContext({ deliveryCount: 7 }).maxDeliveries).toBe(7)
    expect(createHandlerContext({ deliveryCount: 3 }).maxDeliveries).toBe(5)
    expect(createHandlerContext({ deliveryCount: 3, maxDeliveries: 3 }).maxDeliveries).toBe(3)
  })

  it('has no time left once the signal that was given is aborted', () => {
    expect(createHandlerContext({ signal: AbortSignal.abort() }).getRemainingTimeInMillis()).toBe(0)
    expect(createHandlerContext().getRemainingTimeInMillis()).toBe(10_000)
  })

  it('takes a member that is undefined for one that was left out', () => {
    const members = { entryId: undefined, fields: undefined } as never

    expect(createHandlerContext(members)).toMatchObject({ entryId: '1-0', fields: [] })
  })

  it('has the members that a run hands over, and no other', async () => {
    const [handed] = await handedByRuns()

    expect(membersOf(createHandlerContext())).toEqual(membersOf(handed))
  })
})

describe('createBatchContext()', () => {
  it('has a batch handler with effects called by itself', () => {
    const events = aBatch(2)
    const context = createBatchContext(events, { stream: 'orders', group: 'billing' })

    countShipments(events, context)

    expect(effectsOf(context)).toEqual([['INCRBY', '{orders}:batches', '1']])
    expect(events.map((event) => effectsOf(context, event))).toEqual(
      events.map(({ entryId }) => [['SADD', '{orders}:shipped', entryId]]),
    )
  })

  it('has the members that a run hands over, and no other', async () => {
    const [, handed] = await handedByRuns()

    expect(membersOf(createBatchContext([]))).toEqual(membersOf(handed))
  })

  it('follows what was given', () => {
    const context = createBatchContext([aBatchEvent(1, { deliveryCount: 7 })], { functionName: 'bill' })

    expect(context).toMatchObject({ maxDeliveries: 7, logGroupName: '/aws/lambda/bill' })
  })

  it('refuses an event that is not of its batch', () => {
    const context = createBatchContext(aBatch(1), { stream: 'orders' })

    expect(() => effects(context, aBatchEvent(2))).toThrow('event must be one of the batch')
    expect(() => effectsOf(context, aBatchEvent(2))).toThrow('event must be one of the batch')
  })

  it.each([
    ['events that are no array', { stream: 'orders' }, 'events must be the array'],
    ['an event that is none', [undefined], 'events[0] must be an object, got undefined'],
    ['an event without an entryId', [{}], 'events[0].entryId must be a string that is not empty'],
    ['an entryId twice', [aBatchEvent(1), aBatchEvent(1)], 'each of events must have an entryId of its own'],
  ])('refuses %s', (_what, events, rule) => {
    expect(() => createBatchContext(events as never)).toThrow(`Cannot create batch context: ${rule}`)
  })

  it('is named where the context of one event is used for a batch', () => {
    const context: BatchContext = createHandlerContext(GIVEN)

    expect(() => countShipments(aBatch(1), context)).toThrow('in tests createBatchContext makes the context of a batch')
  })
})

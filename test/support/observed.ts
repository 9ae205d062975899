import type { HandlerCall, ObservedDelivery, ObservedInvocation, ObservedRun } from 'millrace'

/** An invocation of a poller of group `billing` on stream `orders`, or of more groups. */
export function anInvocation(action: 'poll' | 'claim' = 'poll', ...groups: string[]): ObservedInvocation {
  const consumers = ['billing', ...groups].map((group) => ({ stream: 'orders', group }))
  return { action, consumers, context: { awsRequestId: 'request-1' } }
}

/** The part of one group in it. */
export function aRun(invocation = anInvocation(), group = 'billing'): ObservedRun {
  return { invocation, stream: 'orders', group }
}

/** A call of a handler with so many events, or with those. */
export function aCall(run: ObservedRun = aRun(), more: Partial<HandlerCall> = {}): HandlerCall {
  const deliveries = [aDelivery()]
  return { ...run, eventType: 'OrderPaid', consumerName: 'poller-0', isBatch: false, deliveries, ...more }
}

export function aDelivery(n = 1, more: Partial<ObservedDelivery> = {}): ObservedDelivery {
  return { entryId: `${n}-0`, eventId: `e-${n}`, deliveryCount: 1, ageMs: 10, ...more }
}

import type { Publication } from 'millrace'
import {
  OrderCancelled,
  OrderPaid,
  OrderPlaced,
  OrderRefunded,
  OrderShipped,
} from '../../functions/events/shop-orders.ts'
import type { Random } from '../random.ts'

/** An event as it was published. */
export interface Drawn {
  readonly type: string
  readonly eventId: string
  readonly payload: { readonly orderId: string; readonly customerId: string; readonly cents?: number }
  readonly publication: Publication
}

/** All that happens to an order: placed, paid or cancelled, shipped, some of it given back. */
export function drawOrder(n: number, random: Random): Drawn[] {
  const who = { orderId: `o-${n}`, customerId: `c-${random.integer(0, 40)}` }
  const cents = random.integer(100, 100_000)
  const items = [random.pick(['chair', 'table', 'lamp'])]
  const drawn = [drawnOf(OrderPlaced, { ...who, cents, items })]
  if (random.integer(0, 8) === 0) return [...drawn, drawnOf(OrderCancelled, { ...who, reason: 'changed my mind' })]
  drawn.push(drawnOf(OrderPaid, { ...who, cents }), drawnOf(OrderShipped, { ...who, carrier: 'dhl' }))
  if (random.integer(0, 6) === 0) drawn.push(drawnOf(OrderRefunded, { ...who, cents: Math.ceil(cents / 2) }))
  return drawn
}

function drawnOf(event: Publication[0], payload: Drawn['payload'] & Record<string, unknown>): Drawn {
  const eventId = `${event.type}:${payload.orderId}`
  return {
    type: event.type,
    eventId,
    payload,
    publication: [event, payload, { eventId, aggregateId: payload.orderId }],
  }
}

/** What each group takes. */
const TAKES: Readonly<Record<string, readonly string[]>> = {
  billing: ['OrderPaid', 'OrderRefunded'],
  search: ['OrderPlaced', 'OrderPaid', 'OrderShipped', 'OrderCancelled'],
  warehouse: ['OrderPlaced', 'OrderPaid', 'OrderRefunded'],
  bridge: ['OrderPaid', 'OrderShipped', 'OrderCancelled'],
}

/** The events of a list that a group takes. */
export const takenBy = (group: string, drawn: readonly Drawn[]) =>
  drawn.filter(({ type }) => TAKES[group]?.includes(type))

export const centsOf = (drawn: readonly Drawn[], type: string) =>
  drawn.reduce((sum, one) => sum + (one.type === type ? (one.payload.cents ?? 0) : 0), 0)

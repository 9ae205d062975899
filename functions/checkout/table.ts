import type { DeadLetterNotice, Effects, EventDefinition, HandlerContext } from 'millrace'
import { defineConsumer, effects, on } from 'millrace'
import type { Order } from '../events/checkout.ts'
import { OrderPlaced } from '../events/checkout.ts'
import { createAsk } from '../shared/ask.ts'
import { redis } from '../shared/redis.ts'
import { checkout } from './publisher.ts'

// The table of states: a hash an order with a field a service, and nobody but that service writes the field.

export type Service = 'order' | 'payment' | 'stock' | 'shipping' | 'stats'

/** What all handlers take: every event has the same payload. */
export interface CheckoutEvent {
  readonly type: string
  readonly payload: Order
}

type CheckoutDefinition = EventDefinition<string, (typeof OrderPlaced)['payload']>

export const rowOf = (orderId: string) => `{checkout}:row:${orderId}`

/** A sorted set: orders that have not ended, and when they opened. */
export const OPEN = '{checkout}:open'

/** A hash: how many of a kind of goods are left. */
export const STOCK = '{checkout}:stock'

/** A hash: orders and cents that ended in each way. */
export const STATS = '{checkout}:stats'

/** Reads what all services keep: it lies in one hash slot, so that any group's consumer does; this one polls nothing. */
export const ask = createAsk(
  redis,
  defineConsumer({ stream: 'checkout', group: 'order', routes: [on(OrderPlaced, async () => {})] }),
)

/** How long a row stays once its order was counted. An order that was placed longer ago is not opened: its row may be gone, and all of it would happen again. */
export const KEEP_MS = 30 * 86_400_000

/** What the service has written of an order last; `none` before that, and `unknown` of an order that the table does not have: nothing follows from that. */
export async function stateOf(service: Service, { orderId }: Order): Promise<string> {
  const [found] = await ask([['HMGET', rowOf(orderId), 'order', service]])
  const [opened, state] = found as (string | null)[]
  return opened ? (state ?? 'none') : 'unknown'
}

/** Each event happens once to an order: its type and the order name it. */
export const eventIdOf = ({ type }: CheckoutDefinition, { orderId }: Order) => `${type}:${orderId}`

/**
 * Moves an order from one state of a service to the next, and announces it: all in one step with the acknowledgement, and only if it still is in the
 * state that the decision was made in. Else the event comes again, and is decided anew.
 */
export function move(
  context: HandlerContext,
  service: Service,
  order: Order,
  [from, to]: readonly [from: string, to: string],
  announced?: CheckoutDefinition,
): Effects {
  const row = rowOf(order.orderId)
  const moved = effects(context)
    .expectField(row, service, from === 'none' ? null : from)
    .setFields(row, { [service]: to })
    .deleteFields(row, stuckOf(service))
  if (!announced) return moved
  return moved.publish(checkout, announced, order, {
    eventId: eventIdOf(announced, order),
    aggregateId: order.orderId,
  })
}

const stuckOf = (group: string) => `stuck:${group}`

/** Has the table say which step of a service became a dead letter. A hint: a notice may get lost, the dead letter and the state it stopped in do not. */
export async function markStuck({ group, eventType = '', eventId = '', reason }: DeadLetterNotice): Promise<void> {
  if (!eventId.startsWith(`${eventType}:`)) return
  const row = rowOf(eventId.slice(eventType.length + 1))
  const [isThere] = await ask([['EXISTS', row]])
  if (isThere) await ask([['HSET', row, stuckOf(group), `${eventType}, ${reason}`]])
}

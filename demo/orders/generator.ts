import type { DeadLetterReason, Publisher } from 'millrace'
import { OrderPaid, OrderShipped } from '../../functions/events/orders.ts'
import type { Random } from '../random.ts'
import { createRandom } from '../random.ts'

/** An order as a shop would know it; each becomes one entry. */
export interface Order {
  readonly kind: Kind
  readonly orderId: string
  readonly amount: string
  readonly currency: string
  readonly carrier: string
  readonly parcels: number
  /** Which of a kind's variants this is, from 0. */
  readonly variant: number
}

/** The two ways into the stream: the package's own publisher, and what other producers write. */
export interface Writers {
  readonly publisher: Publisher
  /** Appends names and values in turn, as they are. */
  readonly append: (fields: readonly (string | Buffer)[]) => Promise<unknown>
}

/** A kind of entry: how it is written, and what must become of it. */
export interface Kind {
  readonly label: string
  /** How many of a hundred entries, about. */
  readonly share: number
  readonly fate: 'acked' | DeadLetterReason
  write(order: Order, writers: Writers): Promise<unknown>
}

export const KINDS: readonly Kind[] = [
  {
    label: 'order paid',
    share: 42,
    fate: 'acked',
    write: (order, { publisher }) => publisher.publish(OrderPaid, paid(order), about(order)),
  },
  {
    label: 'order shipped',
    share: 26,
    fate: 'acked',
    write: (order, { publisher }) => publisher.publish(OrderShipped, shipped(order), about(order)),
  },
  {
    label: 'order paid, version 1, from an older producer',
    share: 8,
    fate: 'acked',
    write: ({ orderId, amount }, { append }) =>
      append(['eventId', `${orderId}-paid`, 'eventType', 'OrderPaid', 'payload', JSON.stringify({ orderId, amount })]),
  },
  {
    label: 'order paid, the mail server is busy twice',
    share: 8,
    fate: 'acked',
    write: (order, { publisher }) =>
      publisher.publish(OrderPaid, paid({ ...order, orderId: `busy-${order.orderId}` }), about(order)),
  },
  {
    label: 'order shipped, by an unknown carrier',
    share: 4,
    fate: 'non-retryable',
    write: (order, { publisher }) =>
      publisher.publish(OrderShipped, { ...shipped(order), carrier: oneOf(['pigeon', 'raven'], order) }, about(order)),
  },
  {
    label: 'a payload that does not fit the schema',
    share: 3,
    fate: 'invalid',
    write: (order, { append }) => append(oneOf(UNFIT, order)(order)),
  },
  {
    label: 'an event type nobody handles',
    share: 3,
    fate: 'unrouted',
    write: (order, { append }) =>
      append([
        'eventType',
        oneOf(['OrderCancelled', 'CartAbandoned'], order),
        'payload',
        JSON.stringify(order.orderId),
      ]),
  },
  {
    label: 'an entry that is no event',
    share: 4,
    fate: 'malformed',
    write: (order, { append }) => append(oneOf(MALFORMED, order)(order)),
  },
]

type Fields = (order: Order) => readonly (string | Buffer)[]

const UNFIT: readonly Fields[] = [
  (order) => ['eventType', 'OrderPaid', 'schemaVersion', '2', 'payload', JSON.stringify({ orderId: order.orderId })],
  (order) => ['eventType', 'OrderShipped', 'payload', JSON.stringify({ ...shipped(order), parcels: 'two' })],
]

const MALFORMED: readonly Fields[] = [
  (order) => ['orderId', order.orderId, 'amount', order.amount],
  (order) => ['eventType', 'OrderPaid', 'payload', `{"orderId":"${order.orderId}"`],
  (order) => ['eventType', 'OrderPaid', 'payload', Buffer.from([0x7b, 0xff, 0xfe]), 'orderId', order.orderId],
]

/** Each kind as often as its share says. */
const DECK = KINDS.flatMap((kind) => Array.from({ length: kind.share }, () => kind))

/** Ten ticks make a second. */
export const TICK_MS = 100

const BURST_TICKS = 50
const BURST_ORDERS = 60
const FIRST_ORDER = 1_000

/**
 * What is written tick by tick: a trickle, a burst every five seconds, and one of each kind at the start. The same seed and time give the
 * same orders.
 */
export function* orderTicks(seed: number, seconds: number): Generator<readonly Order[]> {
  const random = createRandom(seed)
  const ticks = Math.round((seconds * 1_000) / TICK_MS)
  let number = FIRST_ORDER
  for (let tick = 0; tick < ticks; tick++) {
    const count = random.integer(0, 8) + (tick % BURST_TICKS === BURST_TICKS / 2 ? BURST_ORDERS : 0)
    const kinds = Array.from({ length: count }, () => random.pick(DECK))
    yield [...(tick === 0 ? KINDS : []), ...kinds].map((kind) => drawOrder(kind, number++, random))
  }
}

function drawOrder(kind: Kind, number: number, random: Random): Order {
  return {
    kind,
    orderId: `order-${number}`,
    amount: `${random.integer(4, 400)}.${random.integer(10, 100)}`,
    currency: random.pick(['EUR', 'EUR', 'GBP', 'CHF']),
    carrier: random.pick(['dhl', 'dpd', 'ups']),
    parcels: random.integer(1, 4),
    variant: random.integer(0, 6),
  }
}

const paid = ({ orderId, amount, currency }: Order) => ({ orderId, amount, currency })
const shipped = ({ orderId, carrier, parcels }: Order) => ({ orderId, carrier, parcels })
const about = ({ orderId }: Order) => ({ aggregateType: 'order', aggregateId: orderId })
const oneOf = <T>(variants: readonly T[], { variant }: Order): T => variants[variant % variants.length] as T

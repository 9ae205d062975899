import type { ConsumerKeys } from '../../core/keys.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../core/keys.ts'
import { parsePauses } from '../../core/pauses.ts'
import type { Consumer } from '../../define/consumer.ts'
import { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../../group/consumer-names.ts'
import { laneKeys } from '../../group/ordering.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import type { ConsumerInfo } from '../../group/redis/commands/xinfo-consumers.ts'
import { parseXpending } from '../../group/redis/commands/xpending.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { AnswersByName } from '../ask.ts'
import { inOrderQuestion } from '../inspect/aside.ts'
import type { OrderInspection } from '../inspect/inspection.ts'
import { inspectOrder } from '../inspect/order.ts'
import { ask, laneName } from '../inspect/order-lanes.ts'
import { orderedConsumerOf } from '../inspect/ordered-consumer.ts'
import type { GroupFacts } from './facts.ts'

/** What is asked of a group that keeps order. */
export interface OrderFacts {
  /** `undefined`: it keeps none. */
  readonly order: OrderInspection | undefined
  /** How many of what is set aside wait behind another of their key; 0 where that is not shown. */
  readonly waiting: number
  /** Entries in the hands of those who keep no order, and work. */
  readonly heldWithoutOrder: readonly HeldWithoutOrder[]
  /** Milliseconds until the lease of the poller's slot ends; `undefined`: nobody has it. */
  readonly slotLeaseMs: number | undefined
}

/** Who holds entries that are in no lane. */
interface HeldWithoutOrder {
  readonly consumerName: string
  /** Of its hundred oldest. */
  readonly entries: number
}

/** The one slot of a consumer that keeps order. */
export const ORDERED_SLOT = 'poller-0'

const RIGHT = '+zlexcount +zrangebylex +hlen +hmget +hscan +zscore +xpending +xrange +pttl'
const NO_ORDER: AnswersByName<OrderFacts> = {
  order: { value: undefined },
  waiting: { value: 0 },
  heldWithoutOrder: { value: [] },
  slotLeaseMs: { value: undefined },
}
/** Names whose entries are inspected, and how many of each. */
const NAMES = 10
const LOOKS = 100

/** A group, and what is known of it already. */
interface AskedGroup {
  readonly group: string
  readonly keys: ConsumerKeys
  readonly consumer: Consumer | undefined
  readonly inquiry: { readonly answers: Partial<AnswersByName<GroupFacts>> }
}

/** Asks about the order of a group: nothing of a consumer without it. */
export async function askOrder(
  sender: CallSender,
  { group, keys, consumer, inquiry }: AskedGroup,
  at: number,
): Promise<AnswersByName<OrderFacts>> {
  const { breakers, paused, consumers } = inquiry.answers
  const ordered = consumer && orderedConsumerOf(consumer)
  try {
    if (consumer ? !ordered : !(await keepsOrder(sender, keys))) return NO_ORDER
    const pauses = parsePauses(paused && 'value' in paused ? paused.value : '')
    const known = breakers && 'value' in breakers ? breakers.value : []
    const { order, refusal } = await inspectOrder(
      sender,
      { group, keys, at, breakers: known, pauses, consumer: ordered },
      undefined,
    )
    if (refusal) return { ...NO_ORDER, order: { refusal, right: RIGHT }, waiting: { value: order.waiting } }
    const names = consumer && consumers && 'value' in consumers ? consumers.value : []
    const [lease = -2] = await ask(sender, [['pttl', keys.slot(ORDERED_SLOT)]])
    return {
      order: { value: order },
      waiting: { value: order.waiting },
      heldWithoutOrder: { value: consumer ? await heldWithoutOrder(sender, group, keys, consumer, names) : [] },
      slotLeaseMs: { value: Number(lease) >= 0 ? Number(lease) : undefined },
    }
  } catch (error) {
    if (!(error instanceof RedisReplyError)) throw error
    // an index of another type, and a group that is not there, are findings of their own
    if (error.is('WRONGTYPE') || error.is('NOGROUP')) return NO_ORDER
    return consumer ? { ...NO_ORDER, order: { refusal: error, right: RIGHT } } : NO_ORDER
  }
}

async function keepsOrder(sender: CallSender, keys: ConsumerKeys): Promise<boolean> {
  const [count] = await ask(sender, [inOrderQuestion(keys).call])
  return Number(count) > 0
}

/** A run with order has in hand what its slot read, and first members of lanes. */
async function heldWithoutOrder(
  sender: CallSender,
  group: string,
  keys: ConsumerKeys,
  { settings: { minIdleMs } }: Consumer,
  consumers: readonly ConsumerInfo[],
): Promise<readonly HeldWithoutOrder[]> {
  const kept: readonly string[] = [PARKED_CONSUMER, AGING_CONSUMER, ORDERED_SLOT]
  const names = consumers.filter(({ name, pending }) => pending > 0 && !kept.includes(name)).slice(0, NAMES)
  const replies = await ask(
    sender,
    names.flatMap(({ name }) => [
      ['xpending', keys.stream, group, '-', '+', LOOKS, name] as const,
      ['pttl', keys.slot(name)] as const,
    ]),
  )
  const slots = slotConsumerNames('claimer', CLAIMER_SLOT_COUNT)
  const held = names.flatMap(({ name }, n) => {
    const rows = parseXpending(replies[2 * n] ?? null)
    // as the next poller takes it
    const living = slots.includes(name)
      ? rows.filter(() => Number(replies[2 * n + 1]) >= 0)
      : rows.filter(({ idleMs }) => idleMs < minIdleMs)
    return living.length > 0 ? [{ name, ids: living.map(({ id }) => id) }] : []
  })
  const { laneOf } = laneKeys(keys)
  const lanes = await ask(
    sender,
    held.map(({ ids }) => ['hmget', laneOf, ...ids]),
  )
  return held.flatMap(({ name, ids }, n) => {
    const known = replyItems(lanes[n]).map(laneName)
    const entries = ids.filter((_id, at) => replyAsText(known[at]) === '').length
    return entries > 0 ? [{ consumerName: name, entries }] : []
  })
}

import type { EventDefinition } from 'millrace'
import { defineEvent } from 'millrace'
import * as z from 'zod/mini'
import type { STREAMS } from '../events/activity.ts'
import {
  CartChanged,
  LoggedOut,
  MetricSampled,
  OrderCancelled,
  OrderPlaced,
  PageViewed,
  Purchased,
} from '../events/activity.ts'
import type { Random } from '../shared/random.ts'
import { createRandom } from '../shared/random.ts'

/** A type that no consumer of ours knows, as there are in any stream that others write to. */
const Searched = defineEvent('search', { payload: z.object({ user_id: z.string(), action: z.literal('search') }) })

export interface SimulationOptions {
  /** The same seed, run and users give the same events. */
  readonly seed: number
  /** Names what is new in this run: sessions, orders and events. */
  readonly run: string
  readonly users: number
}

/** An event that is about to be published. */
export interface Simulated {
  readonly to: keyof typeof STREAMS
  readonly event: EventDefinition
  readonly payload: Readonly<Record<string, unknown>>
  readonly eventId: string
}

type Drawn = Omit<Simulated, 'eventId'>

interface Session {
  readonly who: { readonly user_id: string; readonly session_id: string }
  readonly cart: string[]
}

const MAX_SESSIONS = 50
const PAGES = ['/', '/new', '/sale', '/cart', '/help']
const HOSTS = ['web-1', 'web-2', 'web-3', 'db-1']
/** Of each metric a value of every day, and one that is an alarm. */
const METRICS = { cpu: ['0.41', '0.97'], memory: ['0.63', '0.99'], disk: ['0.5', '0.91'], queue_depth: ['12', '4096'] }

/**
 * Generates what a shop's users do, without end: sessions side by side that view pages, fill carts, buy and log out; orders, some of which are cancelled, a few of
 * these before they are placed; samples of hosts. About one event in fifty comes again a little later, as from a producer that got no reply.
 */
export function* simulateActivity({ seed, run, users }: SimulationOptions): Generator<Simulated> {
  const random = createRandom(seed)
  const sessions: Session[] = []
  const later: { readonly at: number; readonly what: Simulated }[] = []
  let number = 0
  const named = (drawn: Drawn): Simulated => ({ ...drawn, eventId: `${run}-${number++}` })
  const postpone = (what: Simulated) => later.push({ at: number + random.integer(2, 30), what })
  for (;;) {
    for (const drawn of step(sessions, random, { run, users, number })) {
      const what = named(drawn)
      const isPostponed = drawn.event === OrderCancelled || (drawn.event === OrderPlaced && random.integer(0, 20) === 0)
      if (isPostponed) postpone(what)
      else yield what
      if (random.integer(0, 50) === 0) postpone(what)
    }
    for (const { what } of takeDue(later, number)) yield what
  }
}

function takeDue<Item extends { readonly at: number }>(items: Item[], now: number): Item[] {
  const due = items.filter(({ at }) => at <= now)
  for (const item of due) items.splice(items.indexOf(item), 1)
  return due
}

function step(sessions: Session[], random: Random, all: { run: string; users: number; number: number }): Drawn[] {
  const kind = random.integer(0, 100)
  if (kind < 10) return [sample(random)]
  if (kind < 13) return [search(random.integer(0, all.users))]
  if (sessions.length === 0 || (sessions.length < MAX_SESSIONS && kind < 30)) {
    const who = { user_id: `user-${random.integer(0, all.users)}`, session_id: `session-${all.run}-${all.number}` }
    sessions.push({ who, cart: [] })
    return [view(who, random)]
  }
  return act(sessions, random, `order-${all.run}-${all.number}`)
}

/** What one of the sessions does next. */
function act(sessions: Session[], random: Random, orderId: string): Drawn[] {
  const session = random.pick(sessions)
  const { who, cart } = session
  const kind = random.integer(0, 100)
  if (kind < 8) {
    sessions.splice(sessions.indexOf(session), 1)
    return [{ to: 'actions', event: LoggedOut, payload: { ...who, action: 'logout' } }]
  }
  if (kind < 28) {
    const sku = `sku-${random.integer(0, 100)}`
    cart.push(sku)
    return [{ to: 'actions', event: CartChanged, payload: { ...who, action: 'add', sku } }]
  }
  if (kind < 33 && cart.length > 0)
    return [{ to: 'actions', event: CartChanged, payload: { ...who, action: 'remove', sku: cart.pop() } }]
  if (kind < 45 && cart.length > 0) return buy(who, cart.splice(0), random, orderId)
  return [view(who, random)]
}

function buy(who: Session['who'], items: readonly string[], random: Random, order_id: string): Drawn[] {
  const amount = `${random.integer(4, 400)}.${random.integer(10, 100)}`
  const placed = { order_id, user_id: who.user_id, amount, items }
  const cancelled = { order_id, reason: random.pick(['out of stock', 'changed my mind']) }
  return [
    { to: 'actions', event: Purchased, payload: { ...who, action: 'buy', amount, items } },
    { to: 'orders', event: OrderPlaced, payload: placed },
    ...(random.integer(0, 5) === 0 ? [{ to: 'orders', event: OrderCancelled, payload: cancelled } as const] : []),
  ]
}

function view(who: Session['who'], random: Random): Drawn {
  return { to: 'actions', event: PageViewed, payload: { ...who, action: 'view', page: random.pick(PAGES) } }
}

function search(user: number): Drawn {
  return { to: 'actions', event: Searched, payload: { user_id: `user-${user}`, action: 'search' } }
}

function sample(random: Random): Drawn {
  const name = random.pick(Object.keys(METRICS) as (keyof typeof METRICS)[])
  const value = METRICS[name][random.integer(0, 20) === 0 ? 1 : 0]
  return { to: 'metrics', event: MetricSampled, payload: { host: random.pick(HOSTS), name, value } }
}

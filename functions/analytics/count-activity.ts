import { hash } from 'node:crypto'
import type { Event, EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { CartChanged, LoggedOut, PageViewed, Purchased } from '../events/activity.ts'
import { centsOf } from '../shared/money.ts'
import { DAY_MS, HOUR_MS } from '../shared/time.ts'
import type { Measure, Ranking, Step } from './windows.ts'
import { keys, placeOf, STEPS, sumField } from './windows.ts'

/** Sums live for as long as the detector compares with them; all else for as long as `read` looks back, and the hour that this lies in. */
const SUMS_LIFE_MS = 8 * DAY_MS
const LIFE_MS = DAY_MS + 2 * HOUR_MS
/** Names of an hour's ranking, and open sessions that are known. */
const MAX_NAMES = 2_000
const MAX_SESSIONS = 100_000
const MAX_NAME_LENGTH = 100

/** What an event adds to the windows of its time; `step` is the furthest one of the funnel. */
interface Contribution {
  readonly sums: Readonly<Partial<Record<Measure, number | bigint>>>
  readonly step: Step
  readonly ranked?: readonly [Ranking, readonly string[]]
}

type OfUser = Event & { readonly payload: { readonly user_id: string; readonly session_id: string } }

export function countView(event: EventOf<typeof PageViewed>, context: HandlerContext): void {
  count(event, context, { sums: { views: 1 }, step: 'viewed', ranked: ['pages', [event.payload.page]] })
}

export function countCart(event: EventOf<typeof CartChanged>, context: HandlerContext): void {
  count(event, context, { sums: { [event.payload.action === 'add' ? 'carts' : 'removals']: 1 }, step: 'carted' })
}

export function countPurchase(event: EventOf<typeof Purchased>, context: HandlerContext): void {
  const { amount, items } = event.payload
  count(event, context, { sums: { purchases: 1, cents: centsOf(amount) }, step: 'bought', ranked: ['skus', items] })
}

export function countLogout(event: EventOf<typeof LoggedOut>, context: HandlerContext): void {
  count(event, context, { sums: { logouts: 1 }, step: 'viewed' })
}

/** All that an event changes happens in one step with its acknowledgement, and every key has an end. */
function count(event: OfUser, context: HandlerContext, { sums, step, ranked }: Contribution): void {
  const { at, refused } = placeOf(event, context.entryId)
  addSums(refused ? { [refused]: 1 } : sums, at, context)
  if (refused) return
  const session = nameOf(event.payload.session_id)
  const all = effects(context)
  all.addToHyperLogLog(keys.active(at), nameOf(event.payload.user_id)).expire(keys.active(at), LIFE_MS)
  for (const passed of STEPS.slice(0, STEPS.indexOf(step) + 1))
    all.addToSet(keys.step(passed, at), session).expire(keys.step(passed, at), LIFE_MS)
  for (const known of sums.logouts ? [keys.seen, keys.ended] : [keys.seen])
    all.addToSortedSet(known, session, at, { if: 'greater' }).keepHighest(known, MAX_SESSIONS).expire(known, LIFE_MS)
  if (!ranked || ranked[1].length === 0) return
  const ranking = keys.ranking(ranked[0], at)
  for (const [name, times] of Map.groupBy(ranked[1], nameOf)) all.incrementScore(ranking, name, times.length)
  all.keepHighest(ranking, MAX_NAMES).expire(ranking, LIFE_MS)
}

function addSums(sums: Contribution['sums'], at: number, context: HandlerContext): void {
  for (const [measure, by] of Object.entries(sums))
    effects(context).incrementField(keys.sums(at), sumField(measure as Measure, at), by)
  effects(context).expire(keys.sums(at), SUMS_LIFE_MS)
}

/** A name from outside, as a key may hold it: whole characters that can be shown, and few. A long one keeps its beginning, and a hash tells it apart. */
export function nameOf(text: string): string {
  const name = text.toWellFormed().replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD')
  if (name.length <= MAX_NAME_LENGTH) return name
  return `${name.slice(0, MAX_NAME_LENGTH - 17).toWellFormed()}~${hash('sha256', text).slice(0, 16)}`
}

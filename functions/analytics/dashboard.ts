import type { Ask, Command, Reply } from '../shared/ask.ts'
import { pairsOf } from '../shared/ask.ts'
import { moneyText } from '../shared/money.ts'
import { DAY_MS, HOUR_MS, isoOf, MINUTE_MS, startsOf } from '../shared/time.ts'
import type { Alert } from './detector.ts'
import type { Minutes, Ranking } from './windows.ts'
import { COUNTS, keys, minutesOf, SLICE_MS, STEPS, sumOf, sumsQuestion } from './windows.ts'

/** A session of which nothing was heard for so long is over. */
const SESSION_GAP_MS = 30 * MINUTE_MS
/** Of a HyperLogLog's count, with Redis' 16,384 registers. */
const STANDARD_ERROR = 0.0081

/** What to show: whole minutes, in milliseconds since 1970, the last one not included; names of a ranking; minutes of a sliding sum. */
export interface DashboardQuery {
  readonly from: number
  readonly to: number
  readonly top: number
  readonly sliding: number
}

/**
 * Reads everything at once, by commands that change nothing.
 *
 * What is distinct cannot be added up, so that `hours` are whole hours, and `top` is of these. `active` is of windows of five minutes, an estimate with that standard error. `minutes` has those
 * in which something was counted; `sliding` sums up that minute and those before. `openSessions` were heard of since half an hour before `to`, and did not log out.
 */
export async function readDashboard(ask: Ask, { from, to, top, sliding }: DashboardQuery) {
  const first = from - (sliding - 1) * MINUTE_MS
  const hours = startsOf(from, to, HOUR_MS)
  const summed = startsOf(first, to, HOUR_MS)
  const usersIn = (at: number, end: number): Command => ['PFCOUNT', ...startsOf(at, end, SLICE_MS).map(keys.active)]
  const rank = (of: Ranking): Command => [
    'ZUNION',
    hours.length,
    ...hours.map((h) => keys.ranking(of, h)),
    'WITHSCORES',
  ]
  // sent in one turn, in one write each: a round trip
  const [sums, [users], active, steps, [seen, ended], rankings, anomalies] = await Promise.all([
    ask(summed.map(sumsQuestion)),
    ask([usersIn(from, to)]),
    ask(hours.map((at) => usersIn(at, at + HOUR_MS))),
    ask(hours.flatMap((at) => STEPS.map((step): Command => ['SCARD', keys.step(step, at)]))),
    ask([keys.seen, keys.ended].map((known): Command => ['ZCOUNT', known, to - SESSION_GAP_MS, '+inf'])),
    ask([rank('pages'), rank('skus')]),
    ask(startsOf(from, to, DAY_MS).map((at) => ['HVALS', keys.anomalies(at)])),
  ])
  const minutes = minutesOf(summed, sums)
  const [pages, skus] = rankings.map((reply) => highest(reply, top))
  return {
    from: isoOf(from),
    to: isoOf(to),
    totals: sumsOf(minutes, from, to),
    active: { users: Number(users), standardError: STANDARD_ERROR },
    openSessions: Number(seen) - Number(ended),
    hours: hours.map((at, n) => {
      const [viewed = 0, carted = 0, bought = 0] = steps.slice(n * STEPS.length).map(Number)
      const funnel = { viewed, carted, bought }
      const conversion = viewed > 0 ? bought / viewed : null
      const sums = sumsOf(minutes, at, at + HOUR_MS)
      return { at: isoOf(at), ...sums, active: Number(active[n]), sessions: viewed, funnel, conversion }
    }),
    minutes: startsOf(from, to, MINUTE_MS)
      .filter((at) => minutes.has(at))
      .map((at) => ({
        at: isoOf(at),
        ...sumsOf(minutes, at, at + MINUTE_MS),
        sliding: sumsOf(minutes, at + MINUTE_MS - sliding * MINUTE_MS, at + MINUTE_MS),
      })),
    top: { pages, skus },
    anomalies: anomalies
      .flatMap((values) => (values as readonly string[]).map((json) => JSON.parse(json) as Alert))
      .filter(({ at, windowMs }) => Date.parse(at) < to && Date.parse(at) + windowMs > from)
      .toSorted((a, b) => (a.at < b.at ? -1 : 1)),
  }
}

/** Counts, and money as `12.50`. */
function sumsOf(minutes: Minutes, fromMs: number, toMs: number) {
  const counts = COUNTS.map((measure) => [measure, Number(sumOf(minutes, measure, fromMs, toMs))] as const)
  const revenue = moneyText(sumOf(minutes, 'cents', fromMs, toMs))
  return { ...(Object.fromEntries(counts) as Record<(typeof COUNTS)[number], number>), revenue }
}

/** The names with the highest counts; of one count by name. */
const highest = (reply: Reply, top: number) =>
  pairsOf(reply)
    .map(([name, count]) => ({ name, count: Number(count) }))
    .toSorted((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
    .slice(0, top)

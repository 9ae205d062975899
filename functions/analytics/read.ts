import { createAsk } from '../shared/ask.ts'
import { redis } from '../shared/redis.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, timeOf } from '../shared/time.ts'
import { dashboard } from './consumer.ts'
import type { DashboardQuery } from './dashboard.ts'
import { readDashboard } from './dashboard.ts'

/** What a function URL or an HTTP API gives of a request, as far as it matters here. */
interface ReadEvent {
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>> | null
}

const ask = createAsk(redis, dashboard)

/** Answers dashboard data as JSON: `?from=2026-11-29T16:00Z&to=2026-11-29T17:00Z&top=10&sliding=5`. All can be left out: the last hour. */
export async function handler({ queryStringParameters }: ReadEvent) {
  const query = readQuery(queryStringParameters ?? {}, Date.now())
  return typeof query === 'string' ? answer(400, { error: query }) : answer(200, await readDashboard(ask, query))
}

function answer(statusCode: number, body: unknown) {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return { statusCode, headers, body: JSON.stringify(body) }
}

/** @returns What is wrong, if something is. `from` and `to` widen to whole minutes. */
export function readQuery(given: Readonly<Record<string, string | undefined>>, now: number): DashboardQuery | string {
  const { from, to, top = '10', sliding = '5', ...unknown } = given
  const until = to === undefined ? now : timeOf(to)
  const query = {
    from: Math.floor((from === undefined ? until - HOUR_MS : timeOf(from)) / MINUTE_MS) * MINUTE_MS,
    to: Math.ceil(until / MINUTE_MS) * MINUTE_MS,
    top: wholeOf(top),
    sliding: wholeOf(sliding),
  }
  if (Object.keys(unknown).length > 0) return 'There are from, to, top and sliding, and nothing else'
  if (!(query.from < query.to)) return 'from and to must be times as 2026-11-29T16:00Z, from before to'
  // sessions and users of what is older are gone, and would be shown as none
  if (query.from < now - DAY_MS - MINUTE_MS || query.to > now + HOUR_MS) return 'from and to must lie within 24 hours'
  if (!(query.top >= 1 && query.top <= 100)) return 'top must be a whole number from 1 to 100'
  if (!(query.sliding >= 1 && query.sliding <= 60)) return 'sliding must be minutes from 1 to 60'
  return query
}

const wholeOf = (text: string) => (/^\d{1,3}$/.test(text) ? Number(text) : Number.NaN)

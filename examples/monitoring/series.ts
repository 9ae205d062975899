import { client } from './redis.ts'
import { FORGET_SERIES_MS } from './rollups.ts'

/** Series that may exist; those beyond are refused. */
const MAX_SERIES = Number(process.env.MAX_SERIES ?? 1_000)
if (!(Number.isSafeInteger(MAX_SERIES) && MAX_SERIES > 0)) throw new Error('MAX_SERIES must be a whole number >= 1')

/** A sorted set: series → ms since 1970 at which it was asked for last. */
const SERIES = '{samples}:series'
/** One step on the server, so that any number of pollers admit no more than there is room for. */
const ADMIT = `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3] - ARGV[4])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1`

/** For how long an answer goes without asking again. Short, since the alert sees only what is listed: after the server's loss of its data a series is back in a minute. */
const REMEMBER_MS = { admitted: 60_000, refused: 10_000 }
const known = new Map<string, { readonly isAdmitted: boolean; readonly until: number }>()

/** No two sources and metrics have one name: neither has a space in it. */
export const seriesOf = (source: string, metric: string) => `${source} ${metric}`

/** Whether there is room for a series; the first ones that come have it until they have had no sample for 90 days. */
export async function admitSeries(series: string): Promise<boolean> {
  const now = Date.now()
  const before = known.get(series)
  if (before && before.until > now) return before.isAdmitted
  const isAdmitted = (await client.eval(ADMIT, 1, SERIES, series, MAX_SERIES, now, FORGET_SERIES_MS)) === 1
  if (known.size >= 2 * MAX_SERIES) known.clear()
  known.set(series, { isAdmitted, until: now + REMEMBER_MS[isAdmitted ? 'admitted' : 'refused'] })
  return isAdmitted
}

/** All of them, by name. */
export const listSeries = () => client.zrange(SERIES, '0', '-1')

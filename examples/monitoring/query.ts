import * as z from 'zod/mini'
import { name } from './events.ts'
import { client } from './redis.ts'
import { LEVELS, readBuckets, startOf, summarize } from './rollups.ts'
import { seriesOf } from './series.ts'

/** Points of one answer. */
const MAX_POINTS = 1_000

const MS_RULE = 'must be milliseconds since 1970, 13 digits'
const ms = z.pipe(z.string(MS_RULE).check(z.regex(/^\d{13}$/, MS_RULE)), z.transform(Number))
const levels = Object.keys(LEVELS) as (keyof typeof LEVELS)[]
const parameters = z.strictObject(
  { source: name, metric: name, level: z.enum(levels, `must be one of ${levels.join(', ')}`), from: ms, to: ms },
  'must be source, metric, level, from and to, and nothing else',
)

/** What a function URL, or an HTTP API, hands over of a request. */
interface HttpRequest {
  readonly queryStringParameters?: Readonly<Record<string, string>> | null
}

/** Answers `?source=web-1&metric=latency&level=1m&from=…&to=…` with a point for each bucket that has samples, and all of them in one as `total`. */
export async function handler({ queryStringParameters }: HttpRequest) {
  const parsed = parameters.safeParse(queryStringParameters ?? {})
  if (!parsed.success)
    return answer(400, {
      errors: parsed.error.issues.map(({ path, message }) => `${String(path[0] ?? 'parameters')}: ${message}`),
    })
  const { source, metric, level, from, to } = parsed.data
  const points = (to - startOf(level, from)) / LEVELS[level].bucketMs
  if (from >= to || points > MAX_POINTS)
    return answer(400, { errors: [`to: must be after from, by at most ${MAX_POINTS} points of ${level}`] })
  const buckets = await readBuckets(client, seriesOf(source, metric), level, from, to)
  const summaries = buckets.map((bucket) => ({ at: bucket.at, ...summarize([bucket]) }))
  return answer(200, { source, metric, level, points: summaries, total: summarize(buckets) ?? null })
}

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

import * as z from 'zod/mini'
import { name } from './events.ts'
import { client } from './redis.ts'
import { LEVELS, readBuckets, startOf, summarize } from './rollups.ts'
import { seriesOf } from './series.ts'

/** Points of one answer. */
const MAX_POINTS = 1_000

const ms = z.pipe(z.string().check(z.regex(/^\d{13}$/, 'must be milliseconds since 1970')), z.transform(Number))
const parameters = z.strictObject({
  source: name,
  metric: name,
  level: z.enum(Object.keys(LEVELS) as (keyof typeof LEVELS)[]),
  from: ms,
  to: ms,
})

/** What a function URL, or an HTTP API, hands over of a request. */
interface HttpRequest {
  readonly queryStringParameters?: Readonly<Record<string, string>>
}

/** Answers `?source=web-1&metric=latency&level=1m&from=…&to=…` with a point for each bucket that has samples, and all of them in one as `total`. */
export async function handler({ queryStringParameters: query = {} }: HttpRequest) {
  const parsed = parameters.safeParse(query)
  if (!parsed.success)
    return answer(400, { errors: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) })
  const { source, metric, level, from, to } = parsed.data
  const points = (to - startOf(level, from)) / LEVELS[level].bucketMs
  if (from >= to || points > MAX_POINTS)
    return answer(400, { errors: [`to: must be after its beginning, by ${MAX_POINTS} points of ${level} at most`] })
  const buckets = await readBuckets(client, seriesOf(source, metric), level, from, to)
  const summaries = buckets.map((bucket) => ({ at: bucket.at, ...summarize([bucket]) }))
  return answer(200, { source, metric, level, points: summaries, total: summarize(buckets) ?? null })
}

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

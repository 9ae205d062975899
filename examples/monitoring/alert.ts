import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import { name } from './events.ts'
import { REFUSED } from './record-sample.ts'
import { client } from './redis.ts'
import { readBuckets, startOf, summarize } from './rollups.ts'
import { listSeries, SERIES } from './series.ts'

const { ALERT_METRIC = 'latency', ALERT_P99_ABOVE = '500', ALERT_TOPIC_ARN } = process.env

/** The rule: p99 of a series over five minutes is above so much, three minutes in a row. */
const RULE = { metric: ALERT_METRIC, above: Number(ALERT_P99_ABOVE), windowMinutes: 5, inARow: 3 }
if (!/^-?\d+(\.\d+)?$/.test(ALERT_P99_ABOVE))
  throw new Error(`ALERT_P99_ABOVE must be a number, got "${ALERT_P99_ABOVE}"`)
if (!name.safeParse(ALERT_METRIC).success)
  throw new Error(`ALERT_METRIC must be a metric's name, got "${ALERT_METRIC}"`)

const MINUTE_MS = 60_000
/** For a minute's samples to arrive: pollers come once a minute. */
const ARRIVE_MS = 90_000
/** Series that are read side by side. */
const AT_ONCE = 50
/** A hash: series that fire → ms since 1970 at which that began. Its loss costs a second notice of what fires. */
const FIRING = '{samples}:firing'

const metrics = new Metrics({ namespace: 'Monitoring' })

/**
 * Wakes every minute: notifies once when a series begins to fire, once when it is over and reports how many samples were refused.
 *
 * @throws {Error} Something could not be read or notified of. All the rest was done before.
 */
export async function handler() {
  const failures: string[] = []
  const firing = await unlessForeign(client.hgetall(FIRING), FIRING, {}, failures)
  const end = startOf('1m', Date.now() - ARRIVE_MS)
  const all = await unlessForeign(listSeries(), SERIES, [], failures)
  const series = [...new Set([...all.filter(isOfRule), ...Object.keys(firing)])]
  const judgeOne = (one: string) =>
    judge(one, end, firing[one]).catch((error: Error) => {
      failures.push(`${one}: ${error.message}`)
      return undefined
    })
  const answers: (string | undefined)[] = []
  for (let n = 0; n < series.length; n += AT_ONCE)
    answers.push(...(await Promise.all(series.slice(n, n + AT_ONCE).map(judgeOne))))
  reportTotals(all.length, await unlessForeign(client.hgetall(REFUSED), REFUSED, {}, failures))
  if (failures.length > 0)
    throw new Error(`All was judged but ${failures.length}, these first: ${failures.slice(0, 5).join('; ')}`)
  const notices = answers.filter((notice) => notice !== undefined)
  return { judged: series.length, notified: notices.length, notices }
}

const isOfRule = (series: string) => series.endsWith(` ${RULE.metric}`)

/** What a key holds. One that somebody gave another type must not silence the rule for every series: without what fires, notices come every minute. */
async function unlessForeign<T>(answer: Promise<T>, key: string, otherwise: T, failures: string[]): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (!(error as Error).message.startsWith('WRONGTYPE')) throw error
    failures.push(`key "${key}" holds another type; delete it`)
    return otherwise
  }
}

/** @returns What somebody was notified of. */
async function judge(series: string, end: number, since: string | undefined): Promise<string | undefined> {
  // one of a metric that the rule was for before it was changed
  const p99s = isOfRule(series) ? await readWindows(series, end) : []
  const isAbove = (p99: number | undefined) => p99 !== undefined && p99 > RULE.above
  const begins = since === undefined && p99s.every(isAbove)
  if (!begins && (since === undefined || p99s.some(isAbove))) return undefined
  const what = begins ? 'FIRING' : `RESOLVED, since ${timeText(since)}`
  const notice = `${series}: ${what}, p99 over ${RULE.windowMinutes} minutes is ${p99s[0] ?? 'unknown'}, the limit ${RULE.above}`
  // the notice comes first: who dies in between notifies twice, and never not at all
  await notify(notice)
  await (begins ? client.hset(FIRING, series, end) : client.hdel(FIRING, series))
  return notice
}

/** A time as ISO 8601 has it; as it is if somebody else put it there. */
function timeText(ms: string | undefined): string {
  const time = new Date(Number(ms))
  return Number.isNaN(time.getTime()) ? `"${ms}"` : time.toISOString()
}

/** p99 of the windows that end in each of the last minutes, the latest first; what says nothing is `undefined`. Nothing is remembered between runs, so a run that did not come costs nothing. */
async function readWindows(series: string, end: number): Promise<(number | undefined)[]> {
  const buckets = await readBuckets(client, series, '1m', end - (RULE.windowMinutes + RULE.inARow - 1) * MINUTE_MS, end)
  return Array.from({ length: RULE.inARow }, (_, n) => {
    const to = end - n * MINUTE_MS
    return summarize(buckets.filter(({ at }) => at < to && at >= to - RULE.windowMinutes * MINUTE_MS))?.p99
  })
}

async function notify(Message: string): Promise<void> {
  if (!ALERT_TOPIC_ARN) return console.log(Message)
  const { PublishCommand, SNSClient } = await import('@aws-sdk/client-sns')
  const command = new PublishCommand({ TopicArn: ALERT_TOPIC_ARN, Message })
  await new SNSClient().send(command, { abortSignal: AbortSignal.timeout(5_000) })
}

/** Totals since the beginning: in CloudWatch, DIFF() of a metric says how many it was lately. */
function reportTotals(series: number, refused: Readonly<Record<string, string>>): void {
  metrics.addMetric('Series', MetricUnit.Count, series)
  metrics.addMetric('SamplesRefusedSeries', MetricUnit.Count, Number(refused.series ?? 0))
  metrics.addMetric('SamplesRefusedLate', MetricUnit.Count, Number(refused.late ?? 0))
  metrics.publishStoredMetrics()
}

import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import { name } from './events.ts'
import { REFUSED } from './record-sample.ts'
import { client } from './redis.ts'
import { readBuckets, startOf, summarize } from './rollups.ts'
import { listSeries } from './series.ts'

const { ALERT_METRIC = 'latency', ALERT_P99_ABOVE = '500', ALERT_TOPIC_ARN } = process.env

/** The rule: p99 of a series over five minutes is above so much, three minutes in a row. */
const RULE = { metric: ALERT_METRIC, above: Number(ALERT_P99_ABOVE), windowMinutes: 5, inARow: 3 }
if (!/^-?\d+(\.\d+)?$/.test(ALERT_P99_ABOVE) || !name.safeParse(ALERT_METRIC).success)
  throw new Error('ALERT_P99_ABOVE must be a number, and ALERT_METRIC the name of a metric')

const MINUTE_MS = 60_000
/** For a minute's samples to arrive: pollers come once a minute. */
const ARRIVE_MS = 90_000
/** A hash: series that fire → when that began. Its loss costs a second notice of what fires. */
const FIRING = '{samples}:firing'

const metrics = new Metrics({ namespace: 'Monitoring' })

/**
 * Wakes every minute: notifies once when a series begins to fire, once when it is over and reports how many samples were refused.
 *
 * @throws {Error} A series could not be judged, or its notice not be sent. All others were.
 */
export async function handler() {
  const [all, firing, refused] = await Promise.all([listSeries(), client.hgetall(FIRING), client.hgetall(REFUSED)])
  reportTotals(all.length, refused)
  const end = startOf('1m', Date.now() - ARRIVE_MS)
  const series = [...new Set([...all.filter(isOfRule), ...Object.keys(firing)])]
  const notices: string[] = []
  const failures: string[] = []
  for (const one of series) {
    const notice = await judge(one, end, firing[one]).catch(
      (error: Error) => void failures.push(`${one}: ${error.message}`),
    )
    if (notice !== undefined) notices.push(notice)
  }
  if (failures.length > 0) throw new Error(`All was judged but ${failures.length}: ${failures.slice(0, 5).join('; ')}`)
  return { judged: series.length, notified: notices.length, notices }
}

const isOfRule = (series: string) => series.endsWith(` ${RULE.metric}`)

/** @returns What somebody was notified of. */
async function judge(series: string, end: number, since: string | undefined): Promise<string | undefined> {
  // one of a metric that the rule was for before it was changed
  const p99s = isOfRule(series) ? await readWindows(series, end) : []
  const isAbove = (p99: number | undefined) => p99 !== undefined && p99 > RULE.above
  const begins = since === undefined && p99s.every(isAbove)
  if (!begins && (since === undefined || p99s.some(isAbove))) return undefined
  const what = begins ? 'FIRING' : `RESOLVED, since ${since}`
  const notice = `${series}: ${what}, p99 over ${RULE.windowMinutes} minutes is ${p99s[0] ?? 'unknown'}, the limit ${RULE.above}`
  // the notice comes first: who dies in between notifies twice, and never not at all
  await notify(notice)
  await (begins ? client.hset(FIRING, series, new Date(end).toISOString()) : client.hdel(FIRING, series))
  return notice
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

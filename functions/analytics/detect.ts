import { Metrics } from '@aws-lambda-powertools/metrics'
import { createAsk } from '../shared/ask.ts'
import { redis } from '../shared/redis.ts'
import { sendAlert } from '../shared/send-alert.ts'
import { HOUR_MS, MINUTE_MS, startOf } from '../shared/time.ts'
import { dashboard } from './consumer.ts'
import { detect, subjectOf } from './detector.ts'
import { keys, minutesOf, sumOf, sumsQuestion } from './windows.ts'

const ask = createAsk(redis, dashboard)
const metrics = new Metrics({ namespace: 'Millrace', serviceName: 'analytics' })

/** Wakes every minute: sends an alert once per episode of unusual figures, and writes the metrics of the last minute of which all is counted. */
export async function handler(): Promise<void> {
  const { sent, countedUntil } = await detect(ask, (alert) => sendAlert(subjectOf(alert), alert), Date.now())
  metrics.addMetric('AlertCount', 'Count', sent.length)
  if (countedUntil !== undefined) {
    const at = startOf(countedUntil, MINUTE_MS) - MINUTE_MS
    const [sums = null, active] = await ask([sumsQuestion(at), ['PFCOUNT', keys.active(at)]])
    const minutes = minutesOf([startOf(at, HOUR_MS)], [sums])
    metrics.addMetric('LateEventCount', 'Count', Number(sumOf(minutes, 'late', at, at + MINUTE_MS)))
    metrics.addMetric('AheadEventCount', 'Count', Number(sumOf(minutes, 'ahead', at, at + MINUTE_MS)))
    metrics.addMetric('ActiveUserCount', 'Count', Number(active))
  }
  metrics.publishStoredMetrics()
}

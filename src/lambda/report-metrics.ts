import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import { InvocationFailedError } from '../errors.ts'
import type { ConsumerReport, Report } from '../report.ts'
import { writingReports } from './reported.ts'
import type { Middleware } from './scheduled.ts'

/**
 * A Middy middleware that writes the report of every invocation as CloudWatch metrics: a line of embedded metric format for each consumer,
 * with the dimensions `service`, `EventSource` (the stream) and `ConsumerGroup`. Failing invocations are reported, too; what is not known is
 * left out. Trouble with metrics is a warning and fails no invocation.
 *
 * @param metrics Its namespace and service are used; alarms and dashboard look in namespace `Millrace` alone. What is stored in it stays
 * untouched. Its other default dimensions are written as metadata, since alarms find a metric by all its dimensions. Default: namespace
 * `Millrace`, and the service that Powertools' settings name.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function reportMetrics(metrics: Metrics = new Metrics({ namespace: 'Millrace' })): Middleware {
  return writingReports('report metrics', (report, { error }) => {
    if (report) writeMetrics(metrics, report, error)
  })
}

/**
 * Each consumer has a `Metrics` of its own, used once: what one of them stores (metrics, dimensions, metadata) would meet what the user's
 * code stores meanwhile, or the next consumer. Powertools shows its settings only in what it writes; a single metric has them and nothing
 * of what is stored.
 */
function writeMetrics(metrics: Metrics, { action, consumers }: Report, error: unknown): void {
  const { _aws, service, ...others } = metrics.singleMetric().serializeMetrics()
  const namespace = _aws.CloudWatchMetrics[0]?.Namespace ?? ''
  for (const report of consumers) {
    const defaultDimensions = { service: `${service}`, EventSource: report.stream, ConsumerGroup: report.group }
    const own = new Metrics({ namespace, defaultDimensions })
    for (const [name, value] of Object.entries(others)) own.addMetadata(name, `${value}`)
    for (const [name, value] of Object.entries(valuesOf(action, report, hasFailed(report, error)))) {
      const unit = name.endsWith('Age') ? MetricUnit.Milliseconds : MetricUnit.Count
      if (value !== undefined) own.addMetric(name, unit, value)
    }
    own.publishStoredMetrics()
  }
}

/** An error other than a failed invocation's means that no consumer has run. */
function hasFailed({ stream, group }: ConsumerReport, error: unknown): boolean {
  if (!(error instanceof InvocationFailedError)) return Boolean(error)
  return error.failures.some((failure) => failure.stream === stream && failure.group === group)
}

/** Every metric, under AWS's name where AWS has one. What has no value is left out: a 0 in its place would be wrong. */
function valuesOf(
  action: Report['action'],
  report: ConsumerReport,
  isFailed: boolean,
): Record<string, number | undefined> {
  const { backlog } = report
  // a poll that failed before a read was answered has not polled: a 0 of its own would silence the alarm on missing polls
  const hasPolled = !isFailed || report.read > 0 || report.drained || report.held
  return {
    PolledEventCount: action === 'poll' && hasPolled ? report.read : undefined,
    ClaimedEventCount: action === 'claim' ? report.claimed : undefined,
    InvokedEventCount: report.invoked,
    FailedInvokeEventCount: report.failed,
    DeletedEventCount: report.acked - report.ackMissed,
    RetriedEventCount: report.retried,
    ReleasedEventCount: report.released,
    SupersededEventCount: report.superseded,
    UnsettledEventCount: report.unsettled,
    OnFailureDestinationDeliveredEventCount: report.deadLettered,
    LostEventCount: report.lost,
    OverranEventCount: report.overran,
    ScaledOutCount: action === 'poll' ? report.scaledOut : undefined,
    PollingErrorCount: isFailed ? 1 : undefined,
    IteratorAge: report.iteratorAgeMs,
    PendingEntries: backlog?.pending,
    OldestPendingAge: backlog?.oldestPendingMs,
    Lag: backlog?.lag,
    StreamLength: backlog?.streamLength,
    DeadLetterLength: backlog?.deadLetters,
  }
}

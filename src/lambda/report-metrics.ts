import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import type { MetricUnit as Unit } from '@aws-lambda-powertools/metrics/types'
import { InvocationFailedError } from '../errors.ts'
import type { Backlog } from '../group/group.ts'
import type { ConsumerReport, Report } from '../report.ts'
import { reportOf } from './reported.ts'
import type { Middleware, MiddlewareRequest } from './scheduled.ts'

const { Count, Milliseconds } = MetricUnit

/** One consumer's part of an invocation. */
interface Part {
  readonly action: Report['action']
  readonly report: ConsumerReport
  readonly hasFailed: boolean
}

/** Every metric but those that take more than a look, by the member of the report. AWS's names where AWS has one. */
const MEMBERS = {
  InvokedEventCount: 'invoked',
  FailedInvokeEventCount: 'failed',
  RetriedEventCount: 'retried',
  ReleasedEventCount: 'released',
  SupersededEventCount: 'superseded',
  UnsettledEventCount: 'unsettled',
  OnFailureDestinationDeliveredEventCount: 'deadLettered',
  LostEventCount: 'lost',
  OverranEventCount: 'overran',
  IteratorAge: 'iteratorAgeMs',
  PendingEntries: 'pending',
  OldestPendingAge: 'oldestPendingMs',
  Lag: 'lag',
  StreamLength: 'streamLength',
  DeadLetterLength: 'deadLetters',
} as const satisfies Record<string, keyof ConsumerReport | keyof Backlog>

/**
 * A Middy middleware that writes the report of every invocation as CloudWatch metrics: a line of embedded metric format for each consumer,
 * with the dimensions `service`, `EventSource` (the stream) and `ConsumerGroup`. Failing invocations are reported, too; what is not known is
 * left out. Trouble with metrics is a warning and fails no invocation.
 *
 * @param metrics Its namespace and service are used; what is stored in it stays untouched. Its other default dimensions are written as
 * metadata, since alarms find a metric by all its dimensions. Default: namespace `Millrace`, and the service that Powertools' settings name.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function reportMetrics(metrics: Metrics = new Metrics({ namespace: 'Millrace' })): Middleware {
  const write = (request: MiddlewareRequest) => {
    try {
      const report = reportOf(request)
      if (report) writeMetrics(settingsOf(metrics), partsOf(report, request.error))
    } catch (error) {
      console.warn(`Cannot report metrics: ${(error as Error).message}`)
    }
  }
  return { after: write, onError: write }
}

/** An error other than a failed invocation's means that no consumer has run. */
function partsOf({ action, consumers }: Report, error: unknown): Part[] {
  const failures = error instanceof InvocationFailedError ? error.failures : error ? consumers : []
  return consumers.map((report) => ({
    action,
    report,
    hasFailed: failures.some(({ stream, group }) => stream === report.stream && group === report.group),
  }))
}

/** A poll that failed before a read was answered has not polled: a 0 of its own would silence the alarm on missing polls. */
function hasPolled({ report, hasFailed }: Part): boolean {
  return !hasFailed || report.read > 0 || report.drained || report.held
}

interface Settings {
  readonly namespace: string | undefined
  readonly service: string
  readonly metadata: Readonly<Record<string, string>>
}

/** Powertools shows its settings only in what it writes; its single metric has them and nothing of what is stored. */
function settingsOf(metrics: Metrics): Settings {
  const { _aws, service, ...metadata } = metrics.singleMetric().serializeMetrics()
  return {
    namespace: _aws.CloudWatchMetrics[0]?.Namespace,
    service: service as string,
    metadata: metadata as Record<string, string>,
  }
}

/**
 * Each consumer has a `Metrics` of its own, used once: what one of them stores (metrics, dimensions, metadata) would meet what the user's
 * code stores meanwhile, or the next consumer.
 */
function writeMetrics({ namespace, service, metadata }: Settings, parts: readonly Part[]): void {
  for (const part of parts) {
    const { stream, group } = part.report
    const defaultDimensions = { service, EventSource: stream, ConsumerGroup: group }
    const metrics = new Metrics({ ...(namespace && { namespace }), defaultDimensions })
    for (const [key, value] of Object.entries(metadata)) metrics.addMetadata(key, value)
    for (const [name, value, unit] of valuesOf(part)) if (value !== undefined) metrics.addMetric(name, unit, value)
    metrics.publishStoredMetrics()
  }
}

/** What has no value is left out: a 0 in its place would be wrong. */
function valuesOf(part: Part): [name: string, value: number | undefined, unit: Unit][] {
  const { action, report, hasFailed } = part
  const counted: [name: string, value: number | undefined][] = [
    action === 'claim'
      ? ['ClaimedEventCount', report.claimed]
      : ['PolledEventCount', hasPolled(part) ? report.read : undefined],
    ['DeletedEventCount', report.acked - report.ackMissed],
    ['PollingErrorCount', hasFailed ? 1 : undefined],
  ]
  const values = { ...report, ...report.backlog }
  const members = Object.entries(MEMBERS).map(([name, member]): [string, number | undefined] => [name, values[member]])
  return [...counted, ...members].map(([name, value]) => [name, value, name.endsWith('Age') ? Milliseconds : Count])
}

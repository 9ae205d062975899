import { Metrics } from '@aws-lambda-powertools/metrics'
import { assertKnownOptions, assertOneOf, wrongUseError } from '../../core/options.ts'
import type { Observed, ObservedRun, Observer } from '../../define/observe.ts'
import type { ConsumerReport, Report } from '../../report.ts'
import { InvocationFailedError } from '../../run/invocation-errors.ts'
import { ErrorNames } from './error-names.ts'
import { HandledDeliveries } from './handled-deliveries.ts'
import { writeJanitorMetrics } from './janitor-metrics.ts'
import type { MetricValues } from './metric-line.ts'
import { MetricLine } from './metric-line.ts'
import { MetricLines } from './metric-lines.ts'

/** A version that metrics may be told apart by. */
type VersionDimension = 'EventVersion' | 'FunctionVersion'

/** What `reportMetrics` writes beyond the rest. */
export interface ReportMetricsOptions {
  /**
   * `EventVersion`: `InvokedEventCount`, `FailedInvokeEventCount` and `DeletedEventCount` of each event type once more by the version that was published, as while publishers move to another one. `FunctionVersion`: each
   * consumer's line once more by the version of the function, as with an alias that shifts traffic. Each is a further metric that CloudWatch charges for. Default: none.
   */
  readonly versions?: readonly VersionDimension[]
}

/**
 * An observer that writes CloudWatch metrics, as lines of embedded metric format. Of every invocation, also a failing one: a line for each
 * consumer, its report, with the dimensions `service`, `EventSource` (the stream, or the name of the set whose streams it adds up) and `ConsumerGroup`; one for each of its event types that
 * was handled, with `EventType` added; one for each reason of its dead letters, with `Reason` added; one for each name of what its handlers failed with, with `ErrorName` added (20 names in a process, the others
 * are `Other`). Of a publisher's request: a line for
 * each event type, with `service` and `EventSource`, and with `EventType` added. Of a janitor's run: a line for each stream, with `service` and `EventSource`. What is not known is left out.
 *
 * @param metrics Its namespace and service are used; alarms and dashboard look in namespace `Millrace` alone. What is stored in it stays
 * untouched. Its other default dimensions are written as metadata, since alarms find a metric by all its dimensions. Default: namespace
 * `Millrace`, and the service that Powertools' settings name.
 * @param options Versions as dimensions.
 * @throws {TypeError} A bad option.
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function reportMetrics(
  metrics: Metrics = new Metrics({ namespace: 'Millrace' }),
  options: ReportMetricsOptions = {},
): Observer {
  const versions = resolveVersions(options)
  const lines = new MetricLines()
  const names = new ErrorNames()
  const handled = new HandledDeliveries()
  return {
    entriesClaimed: ({ entries, ...run }) => {
      lines.add(run, '', {
        ClaimedAge: entries.flatMap(({ ageMs }) => ageMs ?? []),
        ClaimedIdle: entries.map(({ idleMs }) => idleMs),
      })
    },
    handlerEnded(ended) {
      const { call, outcomes } = ended
      lines.add(call, call.eventType, valuesOfCall(ended))
      handled.note(ended)
      for (const { kind, error } of outcomes) if (isFailure(kind)) addFailure(lines, call, names.of(error))
      if (versions.has('EventVersion')) addVersionsOfCall(lines, ended)
    },
    effectsRefused(refused) {
      const redelivered = refused.deliveryCount > 1 ? 1 : undefined
      lines.add(refused, refused.eventType, {
        FailedInvokeEventCount: 1,
        RedeliveredFailedInvokeEventCount: redelivered,
      })
      addFailure(lines, refused, names.of(refused.error))
    },
    acked: (acked) => addAcked(lines, handled, acked, versions),
    deadLettered: (letter) => addLetter(lines, letter, 'OnFailureDestinationDeliveredEventCount'),
    deadLetterRefused: (letter) => addLetter(lines, letter, 'OnFailureDestinationDeliveryErrorCount'),
    invocationEnded({ invocation, report, error }) {
      const values = new Map<MetricLine, Values[]>()
      for (const consumer of report.consumers) {
        const line = lines.of(invocation).of(consumer.stream, consumer.group)
        const own = valuesOf(report.action, consumer, hasFailed(consumer, error))
        const { functionVersion: version } = invocation.context
        const isVersioned = versions.has('FunctionVersion') && version
        const versioned =
          isVersioned && lines.of(invocation).of(consumer.stream, consumer.group, 'FunctionVersion', version)
        for (const one of versioned ? [line, versioned] : [line]) values.set(one, [...(values.get(one) ?? []), own])
      }
      for (const [line, all] of values) line.set(sumOf(all))
      for (const line of lines.take(invocation)) line.write(metrics)
    },
    janitorEnded: (ended) => writeJanitorMetrics(metrics, ended),
    published: (published) => writePublished(metrics, published),
  }
}

function resolveVersions(options: ReportMetricsOptions): ReadonlySet<VersionDimension> {
  const action = 'report metrics'
  assertKnownOptions(action, options, ['versions'])
  const { versions = [] } = options
  if (!Array.isArray(versions)) throw wrongUseError(action, `versions must be an array, got ${typeof versions}`)
  for (const version of versions) assertOneOf(action, 'each of versions', version, ['EventVersion', 'FunctionVersion'])
  return new Set(versions)
}

function isFailure(kind: Observed['handlerEnded']['outcomes'][number]['kind']): boolean {
  return kind === 'retry' || kind === 'dead-letter'
}

function valuesOfCall({ call, durationMs, outcomes }: Observed['handlerEnded']): MetricValues {
  const failed = outcomes.filter(({ kind }) => isFailure(kind)).length
  const again = call.deliveries.filter(({ deliveryCount }) => deliveryCount > 1).length
  const failedAgain = outcomes.filter(({ kind }, n) => isFailure(kind) && (call.deliveries[n]?.deliveryCount ?? 1) > 1)
  return {
    InvokedEventCount: outcomes.length,
    FailedInvokeEventCount: failed,
    RedeliveredInvokedEventCount: again || undefined,
    RedeliveredFailedInvokeEventCount: failedAgain.length || undefined,
    InvokeErrorCount: call.isBatch && failed === outcomes.length ? 1 : undefined,
    Duration: [durationMs],
    DeliveryCount: call.deliveries.map(({ deliveryCount }) => deliveryCount),
    // those of them that the server answers are taken off again
    CommitErrorCount: outcomes.filter(({ kind }) => kind === 'ack').length,
  }
}

function addAcked(
  lines: MetricLines,
  handled: HandledDeliveries,
  { entries, ...run }: Observed['acked'],
  versions: ReadonlySet<VersionDimension>,
): void {
  const now = performance.now()
  for (const [eventType, acked] of Map.groupBy(entries, (entry) => entry.eventType)) {
    const before = acked.flatMap(({ entryId }) => handled.take(run, entryId) ?? [])
    lines.add(run, eventType, {
      DeletedEventCount: acked.length,
      RedeliveredDeletedEventCount: before.filter(({ deliveryCount }) => deliveryCount > 1).length || undefined,
      AckLatency: before.map(({ at }) => now - at),
      PublishToAckAge: acked.flatMap(({ ageMs }) => ageMs ?? []),
      // what no handler was called for had nothing to commit
      CommitErrorCount: -acked.filter(({ isDuplicate }) => !isDuplicate).length,
    })
    if (!versions.has('EventVersion')) continue
    for (const { version } of before) addVersion(lines, run, eventType, version, { DeletedEventCount: 1 })
  }
}

function addFailure(lines: MetricLines, { invocation, stream, group }: ObservedRun, name: string): void {
  lines.of(invocation).of(stream, group, 'ErrorName', name).add({ FailedInvokeEventCount: 1 })
}

function addVersionsOfCall(lines: MetricLines, { call, outcomes }: Observed['handlerEnded']): void {
  for (const [n, { version }] of call.deliveries.entries()) {
    const failed = outcomes[n] && isFailure(outcomes[n].kind) ? 1 : 0
    addVersion(lines, call, call.eventType, version, { InvokedEventCount: 1, FailedInvokeEventCount: failed })
  }
}

function addVersion(
  lines: MetricLines,
  { invocation, stream, group }: ObservedRun,
  EventType: string,
  version = 1,
  values: MetricValues,
): void {
  const more = { EventType, EventVersion: `${version}` }
  lines.of(invocation).of(stream, group, 'EventVersion', `${version} ${EventType}`, more).add(values)
}

function addLetter(lines: MetricLines, { invocation, notice }: Observed['deadLettered'], name: string): void {
  const { stream, group, reason, eventType } = notice
  lines
    .of(invocation)
    .of(stream, group, 'Reason', reason)
    .add({ [name]: 1 })
  // a type without a route may be anything
  lines.add({ invocation, stream, group }, (reason !== 'unrouted' && eventType) || '', { [name]: 1 })
}

function writePublished(
  metrics: Metrics,
  { call, durationMs, bytes, entryIds, delayedUntil, duplicates }: Observed['published'],
): void {
  const { stream, events } = call
  for (const [EventType, places] of Map.groupBy(events.keys(), (n) => events[n]?.type as string)) {
    const written = places.filter((n) => entryIds[n] ?? delayedUntil[n]).length
    const repeated = places.filter((n) => duplicates?.has(n)).length
    const line = new MetricLine({ EventSource: stream })
    line.add({
      PublishedEventCount: written - repeated,
      ...(repeated > 0 && { PublishDuplicateCount: repeated }),
      PublishErrorCount: places.length - written,
      PublishLatency: durationMs,
      PayloadBytes: places.flatMap((n) => bytes[n] ?? []),
    })
    line.write(metrics, { EventType })
  }
}

/** An error other than a failed invocation's means that no consumer has run. */
function hasFailed({ stream, group }: ConsumerReport, error: unknown): boolean {
  if (!(error instanceof InvocationFailedError)) return Boolean(error)
  return error.failures.some((failure) => failure.stream === stream && failure.group === group)
}

type Values = Record<string, number | undefined>

/** Of a set the numbers of its streams are added up, but for these. */
const WORST = new Set([
  'IteratorAge',
  'OldestPendingAge',
  'DeadLetterUsagePercentage',
  'PollingErrorCount',
  'Paused',
  // its circuit breakers are the set's
  'OpenCircuits',
])
const LEAST = 'TimeSinceLastSuccess'

function sumOf(all: readonly Values[]): Values {
  const [first = {}, ...others] = all
  const sum = { ...first }
  const isLagKnown = all.every(({ Lag }) => Lag !== undefined)
  for (const values of others) {
    for (const [name, value] of Object.entries(values)) {
      const before = sum[name]
      if (value === undefined || before === undefined) sum[name] = value ?? before
      else if (WORST.has(name)) sum[name] = Math.max(before, value)
      else sum[name] = name === LEAST ? Math.min(before, value) : before + value
    }
  }
  // what one of them does not know is no 0
  return isLagKnown ? sum : { ...sum, Lag: undefined }
}

/** What a consumer's report says, under AWS's name where AWS has one. */
function valuesOf(action: Report['action'], report: ConsumerReport, isFailed: boolean): Values {
  const { backlog } = report
  // a poll that failed before a read was answered has not polled: a 0 of its own would silence the alarm on missing polls
  const hasPolled =
    !isFailed || report.read > 0 || report.drained || report.pendingLimitReached || report.parkedLimitReached
  return {
    PolledEventCount: action === 'poll' && hasPolled ? report.read : undefined,
    ClaimedEventCount: action === 'claim' ? report.claimed : undefined,
    InvokedEventCount: report.invoked,
    FailedInvokeEventCount: report.failed,
    ThrottledEventCount: report.throttled || undefined,
    DeletedEventCount: report.acked - report.ackMissed,
    DuplicateEventCount: report.duplicates || undefined,
    UnguardedEventCount: report.unguarded || undefined,
    RateLimitedEventCount: report.rateLimited || undefined,
    ConcurrencyLimitedEventCount: report.concurrencyLimited || undefined,
    CircuitOpenEventCount: report.circuitOpen || undefined,
    OpenCircuits: report.openCircuits?.length,
    // AWS's own name for what a filter leaves out
    FilteredOutEventCount: report.ignored || undefined,
    RetriedEventCount: report.retried,
    ParkedEventCount: report.parked || undefined,
    WaitingEventCount: report.waiting || undefined,
    ReleasedEventCount: report.released,
    SupersededEventCount: report.superseded,
    UnsettledEventCount: report.unsettled,
    OnFailureDestinationDeliveredEventCount: report.deadLettered,
    TrimmedDeadLetterCount: report.deadLettersTrimmed || undefined,
    LostEventCount: report.lost,
    OverranEventCount: report.overran,
    Paused: report.paused || report.pausedTypes ? 1 : undefined,
    ScaledOutCount: action === 'poll' ? report.scaledOut : undefined,
    PollingErrorCount: isFailed ? 1 : undefined,
    IteratorAge: report.iteratorAgeMs,
    PendingEntries: backlog?.pending,
    ParkedEntries: backlog?.parked,
    WaitingEntries: backlog?.waiting,
    OldestPendingAge: backlog?.oldestPendingMs,
    TimeSinceLastSuccess: backlog?.sinceLastSuccessMs,
    Lag: backlog?.lag,
    StreamLength: backlog?.streamLength,
    DeadLetterLength: backlog?.deadLetters,
    DeadLetterUsagePercentage: backlog?.deadLettersPercent,
  }
}

import type { Metrics } from '@aws-lambda-powertools/metrics'
import type { JanitorStreamReport } from '../../core/janitor-report.ts'
import type { Observed } from '../../define/observe.ts'
import { MetricLine } from './metric-line.ts'

/** Writes a line for each stream of a janitor's run, or for those of a set together, with `service` and `EventSource`. */
export function writeJanitorMetrics(metrics: Metrics, { report, error }: Observed['janitorEnded']): void {
  const failed = new Set(failedStreams(error))
  for (const [EventSource, streams] of Map.groupBy(report.streams, ({ stream, set }) => set ?? stream)) {
    const line = new MetricLine({ EventSource })
    line.set(sumOf(streams.map((stream) => valuesOf(stream, failed.has(stream.stream)))))
    line.write(metrics)
  }
}

type Values = Record<string, number | undefined>

/** Of a set the numbers of its streams are added up, but for these. */
const WORST = new Set(['UnregisteredGroups', 'BlockedDuration', 'JanitorErrorCount'])

function sumOf(all: readonly Values[]): Values {
  const names = new Set(all.flatMap((values) => Object.keys(values)))
  return Object.fromEntries([...names].map((name) => [name, sumOfOne(name, all)]))
}

function sumOfOne(name: string, all: readonly Values[]): number | undefined {
  const values = all.map((one) => one[name])
  const known = values.filter((value) => value !== undefined)
  if (WORST.has(name)) return known.length > 0 ? Math.max(...known) : undefined
  // what one of them does not know is no 0
  return known.length < values.length ? undefined : known.reduce((sum, value) => sum + value, 0)
}

function valuesOf(report: JanitorStreamReport, isFailed: boolean): Values {
  // a run that was refused, that another one kept out, or whose time was over before, has not seen the stream
  const isSeen = report.reached && !isFailed && !report.busy
  return {
    ArchivedEntryCount: report.archived,
    TrimmedEntryCount: report.trimmed,
    TrimmedAheadCount: report.trimmedAhead,
    StreamLength: isSeen ? report.kept : undefined,
    UnregisteredGroups: isSeen ? report.unregistered.length : undefined,
    BlockedDuration: isSeen ? Math.max(0, ...report.blockers.map(({ sinceMs }) => sinceMs)) : undefined,
    JanitorErrorCount: isFailed ? 1 : undefined,
  }
}

function failedStreams(error: unknown): readonly string[] {
  const { failures } = (error ?? {}) as { readonly failures?: readonly { readonly stream: string }[] }
  return failures?.map(({ stream }) => stream) ?? []
}

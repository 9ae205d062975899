import type { Metrics } from '@aws-lambda-powertools/metrics'
import type { JanitorStreamReport } from '../../core/janitor-report.ts'
import type { Observed } from '../../define/observe.ts'
import { MetricLine } from './metric-line.ts'

/** Writes a line for each stream of a janitor's run, with `service` and `EventSource`. */
export function writeJanitorMetrics(metrics: Metrics, { report, error }: Observed['janitorEnded']): void {
  const failed = new Set(failedStreams(error))
  for (const stream of report.streams) {
    const line = new MetricLine({ EventSource: stream.stream })
    line.set(valuesOf(stream, failed.has(stream.stream)))
    line.write(metrics)
  }
}

function valuesOf(report: JanitorStreamReport, isFailed: boolean): Record<string, number | undefined> {
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

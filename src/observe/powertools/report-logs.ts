import { Logger } from '@aws-lambda-powertools/logger'
import type { JanitorReport } from '../../core/janitor-report.ts'
import type { ObservedInvocation, Observer } from '../../define/observe.ts'
import type { Report } from '../../report.ts'
import { InvocationFailedError } from '../../run/invocation-errors.ts'
import type { ReportLogger } from './report-logger.ts'

interface JanitorFailure {
  readonly stream: string
  readonly error: Error
}

/** Counts of which one is worth a look. */
const NOTABLE = [
  'lost',
  'unsettled',
  'overran',
  'throttled',
  'deadLettered',
  'groupRecreated',
  'pendingLimitReached',
  'parkedLimitReached',
  'paused',
  'noFreeSlot',
] as const

/**
 * An observer that logs one line per invocation, the report's members as its fields: at `debug` where there was nothing to do, at `info` where
 * there was, at `warn` where something is worth a look (`lost`, `unsettled`, `overran`, `throttled`, `deadLettered`, `groupRecreated`, `pendingLimitReached`, `parkedLimitReached`, `paused`, `noFreeSlot`), and at
 * `error`, with the failures' codes and messages, where the invocation failed. A janitor's run is such a line as well: at `warn` where `trimmedAhead`, `held` or `unregistered` says something. An `onDeadLetter` that failed is a line of its own, at `warn`.
 * Never a payload.
 *
 * @param logger Powertools', or another one of that shape. Default: a Powertools `Logger` of its own, with Lambda's context.
 */
export function reportLogs(logger?: ReportLogger): Observer {
  const own = logger ? undefined : new Logger()
  const target = logger ?? (own as Logger)
  const addContext = ({ context }: ObservedInvocation) =>
    own?.addContext(context as unknown as Parameters<Logger['addContext']>[0])
  return {
    invocationEnded({ invocation, report, error }) {
      addContext(invocation)
      writeLine(target, report, error)
    },
    janitorEnded({ context, report, error }) {
      own?.addContext(context as unknown as Parameters<Logger['addContext']>[0])
      writeJanitorLine(target, report, error)
    },
    deadLetterNoticeFailed({ invocation, notice: { stream, group, entryId, reason }, error }) {
      addContext(invocation)
      // its message is the user's own, and may quote what the handler's error said
      const { name, code } = describe(error)
      target.warn('onDeadLetter failed', { stream, group, entryId, reason, failure: { name, code } })
    },
  }
}

function writeLine(logger: ReportLogger, report: Report, error: Error | undefined): void {
  const name = report.action === 'claim' ? 'Claim' : 'Poll'
  const fields = fieldsOf(report)
  const notable = NOTABLE.filter((member) => report[member])
  if (error) logger.error(`${name} failed`, { ...fields, failures: failuresOf(error) })
  else if (notable.length > 0) logger.warn(`${name} needs a look: ${notable.join(', ')}`, fields)
  else logger[report.read + report.claimed > 0 ? 'info' : 'debug'](`${name} done`, fields)
}

/** Worth a warning: entries that were trimmed ahead of a group, that are held, and groups that nobody registered. */
function writeJanitorLine(logger: ReportLogger, report: JanitorReport, error: Error | undefined): void {
  const { failures = [] } = (error ?? {}) as { readonly failures?: readonly JanitorFailure[] }
  const notable = [
    ...(report.trimmedAhead > 0 ? ['trimmedAhead'] : []),
    ...(report.held > 0 ? ['held'] : []),
    ...(report.streams.some(({ unregistered }) => unregistered.length > 0) ? ['unregistered'] : []),
  ]
  if (error)
    logger.error('Trim failed', {
      ...report,
      failures: failures.map(({ stream, error: failure }) => ({ stream, ...describe(failure) })),
    })
  else if (notable.length > 0) logger.warn(`Trim needs a look: ${notable.join(', ')}`, { ...report })
  else logger[report.trimmed > 0 ? 'info' : 'debug']('Trim done', { ...report })
}

/** The sums; a single consumer's name beside them, several consumers with numbers of their own. */
function fieldsOf({ consumers, ...sums }: Report): Record<string, unknown> {
  const [first, ...others] = consumers
  return others.length > 0 ? { ...sums, consumers } : { stream: first?.stream, group: first?.group, ...sums }
}

/** Without stack and cause: messages of this package name no payload, what they were made from might. */
function failuresOf(error: Error): readonly Record<string, unknown>[] {
  if (!(error instanceof InvocationFailedError)) return [describe(error)]
  return error.failures.map(({ stream, group, error: failure }) => ({ stream, group, ...describe(failure) }))
}

function describe(error: unknown): Record<string, unknown> {
  const { name, code, message } = (error ?? {}) as Partial<Error> & { readonly code?: unknown }
  return { name, code, message }
}

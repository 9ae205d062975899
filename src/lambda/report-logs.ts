import { Logger } from '@aws-lambda-powertools/logger'
import { InvocationFailedError } from '../errors.ts'
import type { Report } from '../report.ts'
import { writingReports } from './reported.ts'
import type { Middleware } from './scheduled.ts'

/** What is used of a logger: Powertools' has it, as `console` has. */
export interface ReportLogger {
  debug(message: string, fields: Record<string, unknown>): void
  info(message: string, fields: Record<string, unknown>): void
  warn(message: string, fields: Record<string, unknown>): void
  error(message: string, fields: Record<string, unknown>): void
}

/** Counts of which one is worth a look. */
const NOTABLE = ['lost', 'unsettled', 'overran', 'deadLettered', 'healed', 'held', 'slotsBusy'] as const

/**
 * A Middy middleware that logs one line an invocation, the report's members as its fields: at `debug` where there was nothing to do, at
 * `info` where there was, at `warn` where something is worth a look (`lost`, `unsettled`, `overran`, `deadLettered`, `healed`, `held`,
 * `slotsBusy`), and at `error`, with the failures' codes and messages, where the invocation failed. Never a payload. Trouble with logging is
 * a warning and fails no invocation.
 *
 * @param logger Powertools', or another one of that shape. Default: a Powertools `Logger` of its own, with Lambda's context.
 */
export function reportLogs(logger?: ReportLogger): Middleware {
  const own = logger ? undefined : new Logger()
  const target = logger ?? (own as Logger)
  return writingReports('log the report', (report, { context, error }) => {
    own?.addContext(context as unknown as Parameters<Logger['addContext']>[0])
    writeLine(target, report, error ?? undefined)
  })
}

function writeLine(logger: ReportLogger, report: Report | undefined, error: Error | undefined): void {
  const fields = report ? fieldsOf(report) : {}
  const notable = report ? NOTABLE.filter((member) => report[member]) : []
  if (error) logger.error(`${nameOf(report)} failed`, { ...fields, failures: failuresOf(error) })
  else if (notable.length > 0) logger.warn(`${nameOf(report)} needs a look: ${notable.join(', ')}`, fields)
  else if (report) logger[report.read + report.claimed > 0 ? 'info' : 'debug'](`${nameOf(report)} done`, fields)
}

function nameOf(report: Report | undefined): string {
  return report?.action === 'claim' ? 'Claim' : report ? 'Poll' : 'Invocation'
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

function describe(error: Error): Record<string, unknown> {
  const { name, code, message } = error as Error & { readonly code?: unknown }
  return { name, code, message }
}

import type { InvocationFailedError } from '../errors.ts'
import type { ConsumerReport, Report } from '../report.ts'
import type { MiddlewareRequest } from './scheduled.ts'

// until the report has these members itself
interface NewMembers {
  readonly invoked: number
  readonly failed: number
  readonly iteratorAgeMs?: number | undefined
  readonly pending?: number | undefined
  readonly oldestPendingMs?: number | undefined
  readonly lag?: number | undefined
  readonly streamLength?: number | undefined
  readonly deadLetters?: number | undefined
}

export type ReportedConsumer = ConsumerReport & NewMembers
export type Reported = Omit<Report, 'consumers'> &
  NewMembers & { readonly action: 'poll' | 'claim'; readonly consumers: readonly ReportedConsumer[] }

/** What an invocation reports, whether it failed or not; nothing where it ended before there was anything to report. */
export function reportOf({ response, error }: Pick<MiddlewareRequest, 'response' | 'error'>): Reported | undefined {
  const report: unknown = error ? (error as Partial<InvocationFailedError>).report : response
  return (report as Partial<Reported> | undefined)?.consumers && (report as Reported)
}

import type { Report } from '../report.ts'
import type { MiddlewareRequest } from './scheduled.ts'

/** What an invocation reports, whether it failed or not; nothing where it ended before there was anything to report. */
export function reportOf({ response, error }: Pick<MiddlewareRequest, 'response' | 'error'>): Report | undefined {
  const report = (error ? (error as { report?: unknown }).report : response) as Partial<Report> | undefined
  return report?.consumers && (report as Report)
}

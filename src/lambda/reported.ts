import type { Report } from '../report.ts'
import type { Middleware, MiddlewareRequest } from './scheduled.ts'

/**
 * A middleware that writes something once an invocation is over. If it cannot, that is a warning and no failure.
 *
 * @param action What it does, for the warning.
 * @param write Given the report, also a failed invocation's; `undefined` where there is none.
 */
export function writingReports(
  action: string,
  write: (report: Report | undefined, request: MiddlewareRequest) => void,
): Middleware {
  const over = (request: MiddlewareRequest) => {
    try {
      write(reportOf(request), request)
    } catch (error) {
      console.warn(`Cannot ${action}: ${(error as Error).message}`)
    }
  }
  return { after: over, onError: over }
}

function reportOf({ response, error }: MiddlewareRequest): Report | undefined {
  const report = (error ? (error as { report?: unknown }).report : response) as Partial<Report> | undefined
  return report?.consumers && (report as Report)
}

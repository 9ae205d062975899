import type { JanitorReport } from '../core/janitor-report.ts'
import { MillraceError, quotedValue } from '../errors.ts'

/** One stream's trouble within a janitor's run. */
export interface JanitorFailure {
  readonly stream: string
  readonly error: Error
}

/** An archive refused, or the server could not be reached. What was done before it is in `report`; what was not trimmed is still in its stream. */
export class JanitorFailedError extends MillraceError {
  override readonly name = 'JanitorFailedError'
  readonly code = 'ERR_JANITOR_FAILED'
  readonly report: JanitorReport
  readonly failures: readonly JanitorFailure[]

  constructor(failures: readonly JanitorFailure[], report: JanitorReport) {
    const said = failures.map(({ stream, error }) => `stream ${quotedValue(stream)}: ${error.message}`)
    super(`Cannot finish trim: ${[...new Set(said)].join('; ')}`, { cause: failures[0]?.error })
    this.failures = failures
    this.report = report
  }
}

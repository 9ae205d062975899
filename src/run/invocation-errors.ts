import { MillraceError, quotedValue } from '../errors.ts'
import type { Report } from '../report.ts'

/** One consumer's trouble within an invocation. */
export interface ConsumerFailure {
  readonly stream: string
  readonly group: string
  readonly error: Error
}

/** The invocation met a failure of the infrastructure. What was done before it is in `report`. */
export class InvocationFailedError extends MillraceError {
  override readonly name = 'InvocationFailedError'
  readonly code = 'ERR_INVOCATION_FAILED'
  readonly report: Report
  readonly failures: readonly ConsumerFailure[]

  constructor(action: 'poll' | 'claim', failures: readonly ConsumerFailure[], report: Report) {
    const said = failures.map(
      (f) => `group ${quotedValue(f.group)} on stream ${quotedValue(f.stream)}: ${f.error.message}`,
    )
    super(`Cannot finish ${action}: ${[...new Set(said)].join('; ')}`, { cause: failures[0]?.error })
    this.failures = failures
    this.report = report
  }
}

/** The whole time of the invocation is too short to run one handler: raise the function's timeout or lower `handlerTimeoutMs`. */
export class InvocationTooShortError extends MillraceError {
  override readonly name = 'InvocationTooShortError'
  readonly code = 'ERR_INVOCATION_TOO_SHORT'
  readonly report: Report
  readonly group: string
  readonly remainingMs: number
  readonly handlerTimeoutMs: number
  readonly reserveMs: number
  /** Whose route has that `handlerTimeoutMs`; `undefined`: the consumer. */
  readonly eventType: string | undefined

  constructor(
    group: string,
    limits: { remainingMs: number; handlerTimeoutMs: number; reserveMs: number; eventType?: string | undefined },
    report: Report,
  ) {
    const { remainingMs, handlerTimeoutMs, reserveMs, eventType } = limits
    const whose = eventType === undefined ? '' : ` of ${quotedValue(eventType)}`
    super(
      `Cannot run group ${quotedValue(group)}: the invocation's time must be at least handlerTimeoutMs${whose} (${handlerTimeoutMs}) ` +
        `+ reserveMs (${reserveMs}), got ${Math.floor(remainingMs)} ms; raise the function's timeout or lower handlerTimeoutMs`,
    )
    this.group = group
    this.remainingMs = remainingMs
    this.handlerTimeoutMs = handlerTimeoutMs
    this.reserveMs = reserveMs
    this.eventType = eventType
    this.report = report
  }
}

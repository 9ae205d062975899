/** How much a finding matters: entries are lost or stuck, may be, worth knowing; or the server does not report. */
export type Severity = 'error' | 'warning' | 'info' | 'unknown'

/** Severities, the worst first. */
export const SEVERITIES: readonly Severity[] = ['error', 'warning', 'info', 'unknown']

/** One thing that the doctor saw. */
export interface Finding {
  /** The check's name: stable, as `eviction`. */
  readonly check: string
  readonly severity: Severity
  /** Where, if it does not concern the whole server. */
  readonly stream?: string
  readonly group?: string
  /** What was seen, with the values. */
  readonly message: string
  /** The command or the setting that fixes it. */
  readonly fix: string
}

/** What a check says; where it looked is added to it. */
export type Verdict = Pick<Finding, 'severity' | 'message' | 'fix'>

export function error(message: string, fix: string): Verdict {
  return { severity: 'error', message, fix }
}

export function warning(message: string, fix: string): Verdict {
  return { severity: 'warning', message, fix }
}

export function info(message: string, fix: string): Verdict {
  return { severity: 'info', message, fix }
}

export function unknown(message: string, fix: string): Verdict {
  return { severity: 'unknown', message, fix }
}

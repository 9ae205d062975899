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
export type CheckResult = Pick<Finding, 'severity' | 'message' | 'fix'>

export function errorResult(message: string, fix: string): CheckResult {
  return { severity: 'error', message, fix }
}

export function warningResult(message: string, fix: string): CheckResult {
  return { severity: 'warning', message, fix }
}

export function infoResult(message: string, fix: string): CheckResult {
  return { severity: 'info', message, fix }
}

export function unknownResult(message: string, fix: string): CheckResult {
  return { severity: 'unknown', message, fix }
}

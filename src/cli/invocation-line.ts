import type { FunctionOutputLine, LocalInvocationReport } from '../local/definitions.ts'

/** Members of a report that show a reader nothing of what was done, or what others show. */
const UNSAID = new Set(['durationMs', 'drained', 'roundTrips', 'invoked', 'iteratorAgeMs'])

/**
 * A run of a function in one line: what it counted other than 0, how long it took, what failed. What is killed since
 * `millrace dev` stops has not failed: a claimer waits for what is due, a listening poller for what comes.
 */
export function invocationLine(report: LocalInvocationReport, { isStopping = false } = {}): string {
  const { functionName, functionError, payload, durationMs, initMs, attempt } = report
  const answer = JSON.parse(payload) as unknown
  const times = [`${Math.round(durationMs)} ms`]
  if (initMs !== undefined) times.push(`init ${Math.round(initMs)} ms`)
  if (attempt > 1) times.push(`attempt ${attempt}`)
  const outcome = functionError ? failureText(answer, isStopping) : answerText(answer)
  return `${functionName}: ${outcome} (${times.join(', ')})`
}

function failureText(answer: unknown, isStopping: boolean): string {
  const { errorType, errorMessage } = (answer ?? {}) as { errorType?: string; errorMessage?: string }
  if (isStopping && errorType === 'Runtime.ExitError') return 'stopped'
  return `failed: ${errorType}: ${errorMessage}`
}

function answerText(answer: unknown): string {
  if (typeof answer !== 'object' || answer === null) return 'done'
  const counts = Object.entries(answer).flatMap(([name, value]) => {
    if (UNSAID.has(name)) return []
    if (value === true) return [name]
    return typeof value === 'number' && value !== 0 ? [`${name} ${value}`] : []
  })
  return counts.length > 0 ? counts.join(', ') : 'nothing to do'
}

/** What Lambda's runtime puts before a text of the console: time, request, level. */
const CONSOLE_PREFIX = /^\S+Z\t\S+\t([A-Z]+)\t/

/** What `reportLogs` writes of a run in which nothing happened that is worth a look. */
const REPORT_LOG = /"message":"(Poll|Claim) done"/

/** Something a function printed; `undefined` for what `invocationLine` says, and for metrics. */
export function functionOutputLine({ functionName, source, text }: FunctionOutputLine): string | undefined {
  if (source === 'platform' && /^(START|END|REPORT) /.test(text)) return undefined
  if (text.includes('{"_aws":') || REPORT_LOG.test(text)) return undefined
  return `  ${functionName} | ${text.replace(CONSOLE_PREFIX, '$1 ')}`
}

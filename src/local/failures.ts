/** What Lambda answers, as JSON, for a function that did not answer itself. */

/** The function ran into its time limit. */
export function timeoutAnswer(requestId: string, limitMs: number): string {
  return failure('Sandbox.Timedout', requestId, timeoutText(limitMs))
}

export function timeoutText(limitMs: number): string {
  return `Task timed out after ${(limitMs / 1000).toFixed(2)} seconds`
}

/** The function's process ended by itself or was killed. */
export function processExitedAnswer(requestId: string, code: number | null, signal: NodeJS.Signals | null): string {
  const how = signal === null ? `exit status ${code}` : `signal: ${SIGNALS[signal] ?? signal}`
  const text = code === 0 ? 'Runtime exited without providing a reason' : `Runtime exited with error: ${how}`
  return failure('Runtime.ExitError', requestId, text)
}

/** As Go, in which Lambda's own supervisor is written, names them. */
const SIGNALS: { readonly [signal in NodeJS.Signals]?: string } = {
  SIGKILL: 'killed',
  SIGABRT: 'aborted',
  SIGTERM: 'terminated',
  SIGSEGV: 'segmentation fault',
}

function failure(errorType: string, requestId: string, text: string): string {
  return JSON.stringify({ errorType, errorMessage: `RequestId: ${requestId} Error: ${text}` })
}

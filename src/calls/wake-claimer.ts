import { assertFunction, assertKnownOptions, assertText } from '../core/options.ts'
import type { ClaimerWake } from '../run/claimer-wake.ts'
import { invokeLater } from './invoke.ts'

/** Which claimer is woken. */
export interface WakeClaimerOptions {
  /** The claimer's function, which serves the same consumers: a name, an ARN, or either with a qualifier. */
  readonly functionName: string
  /** Called with why the claimer could not be woken; its schedule still finds what is due. Default: a warning of the process. */
  readonly onError?: (error: Error) => void
}

/** Nobody waits longer for Lambda than that. */
const INVOKE_TIMEOUT_MS = 2_000

/**
 * Has a poller wake the claimer through Lambda once something failed that is due within a minute, so that retries start at their second, and the schedule becomes a safety net. It is woken once for what it will find:
 * when it comes next is noted beside the group. The function needs `lambda:InvokeFunction` on the claimer's.
 *
 * @throws {TypeError} A bad option.
 */
export function wakeClaimer(options: WakeClaimerOptions): ClaimerWake {
  const action = 'make wakeClaimer'
  assertKnownOptions(action, options, ['functionName', 'onError'])
  const { functionName, onError = warn } = options
  assertText(action, 'functionName', functionName)
  assertFunction(action, 'onError', onError)
  return { onError, wake: () => invokeLater(functionName, {}, AbortSignal.timeout(INVOKE_TIMEOUT_MS)) }
}

function warn(error: Error): void {
  process.emitWarning(`Cannot wake a claimer: ${error.message}`, 'MillraceWarning')
}

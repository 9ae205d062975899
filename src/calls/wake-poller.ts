import { assertFunction, assertInteger, assertKnownOptions, assertText } from '../core/options.ts'
import type { Wake } from '../publish/publisher-options.ts'
import { createHopEvent } from '../run/hop.ts'
import { invokeLater } from './invoke.ts'

/** Which poller is woken, and how often. */
export interface WakePollerOptions {
  /** The consumer group whose poller it is. */
  readonly group: string
  /** The poller's function: a name, an ARN, or either with a qualifier. */
  readonly functionName: string
  /**
   * Milliseconds within which publishers wake it at most once, until it has started to read; 1 or more. Should be longer than the function takes
   * to start. Default 5,000.
   */
  readonly windowMs?: number
  /** Called with why a poller could not be woken; its schedule still finds what was published. Default: a warning of the process. */
  readonly onError?: (error: Error) => void
}

const DEFAULT_WINDOW_MS = 5_000

/** Nobody waits longer for Lambda than that: the event is in the stream already. */
const INVOKE_TIMEOUT_MS = 2_000

/**
 * Has a publisher wake a poller through Lambda, so that an event is handled within about a function's start, and the schedule becomes a
 * safety net. What publishes needs `lambda:InvokeFunction` on the function, and GET and SET on the key `{<stream>}:<group>:wake`.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function wakePoller(options: WakePollerOptions): Wake {
  const action = 'make wakePoller'
  assertKnownOptions(action, options, ['group', 'functionName', 'windowMs', 'onError'])
  const { group, functionName, windowMs = DEFAULT_WINDOW_MS, onError = warn } = options
  assertText(action, 'group', group)
  assertText(action, 'functionName', functionName)
  assertInteger(action, 'windowMs', windowMs, 1)
  assertFunction(action, 'onError', onError)
  return {
    group,
    windowMs,
    onError,
    wake: () => invokeLater(functionName, createHopEvent(0), AbortSignal.timeout(INVOKE_TIMEOUT_MS)),
  }
}

function warn(error: Error): void {
  process.emitWarning(`Cannot wake a poller: ${error.message}`, 'MillraceWarning')
}

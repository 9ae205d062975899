import type { Clock } from '../clock.ts'
import type { DeployedFunction } from './definitions.ts'

const ERROR_RETRY_MS = [60_000, 120_000] as const
const FIRST_THROTTLE_RETRY_MS = 1_000
const MAX_THROTTLE_RETRY_MS = 300_000

/** Why an event was given up. */
export type DropReason = 'RetriesExhausted' | 'EventAgeExceeded'

export interface AsyncDeliveryOptions {
  readonly clock: Clock
  /** Stops the waiting. */
  readonly signal: AbortSignal
  /** The function's settings as they are by then. */
  readonly settings: () => Pick<DeployedFunction, 'maxRetryAttempts' | 'maxEventAgeMs'>
  /** @param number 1 at first, one more after every failure. */
  readonly attempt: (number: number) => Promise<'handled' | 'failed' | 'throttled'>
}

/**
 * Brings one asynchronous event to its function as Lambda does: what the function failed is tried again after one and after two minutes, what
 * was throttled with back-off, until the event is too old.
 *
 * @returns Why it was given up; `undefined` if it was handled, or stopped by the signal.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
 */
export async function deliverAsyncEvent({
  clock,
  signal,
  settings,
  attempt,
}: AsyncDeliveryOptions): Promise<DropReason | undefined> {
  const queuedAt = clock.monotonic()
  let failures = 0
  let throttles = 0
  for (;;) {
    const outcome = await attempt(failures + 1)
    if (outcome === 'handled' || signal.aborted) return undefined
    if (outcome === 'failed' && ++failures > settings().maxRetryAttempts) return 'RetriesExhausted'
    const waitMs =
      outcome === 'failed'
        ? (ERROR_RETRY_MS[failures - 1] ?? ERROR_RETRY_MS[1])
        : Math.min(FIRST_THROTTLE_RETRY_MS * 2 ** throttles++, MAX_THROTTLE_RETRY_MS)
    if (clock.monotonic() + waitMs - queuedAt > settings().maxEventAgeMs) return 'EventAgeExceeded'
    await pause(waitMs, clock, signal)
    if (signal.aborted) return undefined
  }
}

function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, done)
    function done(): void {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}

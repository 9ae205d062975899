import { isSynchronousFunction } from '../core/handler-function.ts'
import { LONGEST_WINDOW_MS } from '../core/longest-window.ts'
import { assertInteger, assertKnownOptions, wrongUseError } from '../core/options.ts'
import { ignoreRejection } from '../core/thenable.ts'
import type { Policy } from '../define/policy.ts'
import { definePolicy } from './define-policy.ts'
import { gateOf } from './flow/run-gate.ts'
import { CIRCUIT_BREAKER } from './flow/set-aside.ts'

/** When an event type is left alone, and for how long. */
export interface CircuitBreakerOptions {
  /** Failures within `perMs` that open it, 1 to 10,000. */
  readonly failures: number
  /** The window in which they are counted, in milliseconds, up to 366 days. */
  readonly perMs: number
  /** Milliseconds until one entry is tried, 1 or more, up to 366 days; the same again after each that fails. */
  readonly probeAfterMs: number
  /** Whether a failure says that what the handler needs is out of order; what it throws counts as `true`. Default: all but `NonRetryableError`. */
  readonly when?: (error: unknown) => boolean
}

/** The most failures that are counted. */
const MOST_FAILURES = 10_000

/**
 * Leaves an event type alone, in all invocations, once its handler failed so often within a window, until a probe of one entry succeeds. Its entries wait meanwhile, at no
 * delivery, while other types go on. Each event type has a circuit breaker of its own, also where the policy is used on the consumer.
 *
 * A failure that finds it open costs no delivery, so that an outage of any length costs no more deliveries than `failures`. One that would be an entry's last opens it,
 * unless another entry has succeeded since: an outage makes no dead letter. A call of a batch handler that fails, as a whole
 * or in part, is one failure. Who operates closes it by hand with `millrace resume --breaker`.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function circuitBreaker(options: CircuitBreakerOptions): Policy {
  const action = 'make circuitBreaker'
  assertKnownOptions(action, options, ['failures', 'perMs', 'probeAfterMs', 'when'])
  const { failures, perMs, probeAfterMs, when = isCounted } = options
  assertInteger(action, 'failures', failures, 1, MOST_FAILURES)
  assertInteger(action, 'perMs', perMs, 1, LONGEST_WINDOW_MS)
  assertInteger(action, 'probeAfterMs', probeAfterMs, 1, LONGEST_WINDOW_MS)
  if (!isSynchronousFunction(when))
    throw wrongUseError(action, 'when must be a function of the error that answers at once')
  const rules = { failures, perMs, probeAfterMs, when: (error: unknown) => saysSo(when, error) }
  return definePolicy({
    name: CIRCUIT_BREAKER,
    kind: 'breaker',
    needs: (keys) => ({
      keys: [
        { key: keys.breakers, commands: ['hgetall', 'hmget', 'hset', 'hdel'] },
        { key: keys.failures('*'), commands: ['zadd', 'zcard', 'zremrangebyscore', 'zremrangebyrank', 'pexpire'] },
      ],
    }),
    begin(run) {
      const gate = gateOf(run)
      gate.add({ kind: 'breaker', eventType: run.eventType, policy: CIRCUIT_BREAKER, rules })
      return { admit: (jobs) => gate.admit(jobs) }
    },
  })
}

function saysSo(when: (error: unknown) => boolean, error: unknown): boolean {
  try {
    const answer = when(error)
    ignoreRejection(answer)
    return answer !== false
  } catch {
    return true
  }
}

function isCounted(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null | undefined)?.code !== 'ERR_NON_RETRYABLE'
}

import { isSynchronousFunction } from '../core/handler-function.ts'
import { LONGEST_WINDOW_MS } from '../core/longest-window.ts'
import { assertInteger, assertKnownOptions, wrongUseError } from '../core/options.ts'
import type { Policy, PolicyPlace } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import { definePolicy } from './define-policy.ts'
import type { LimitedBy } from './flow/limit-names.ts'
import { LimitNames, limitNeeds } from './flow/limit-names.ts'
import { gateOf } from './flow/run-gate.ts'

/** How many handlers may start within a window. */
export interface RateLimitOptions {
  /** Handlers that start within any window of `perMs`, 1 to 1,000,000. */
  readonly max: number
  /** The window in milliseconds, 100 or more, up to 366 days. */
  readonly perMs: number
  /** What names the limit that an event is under: text of 1 to 1,024 bytes, or `undefined`: none. What else it answers or throws makes the entry a dead letter, `malformed`. Default: one for all of them. */
  readonly by?: LimitedBy
}

/** The shortest window whose turns timers can meet. */
const SHORTEST_MS = 100

const MOST_TURNS = 1_000_000

/**
 * Starts at most `max` handlers in any window of `perMs`, over all invocations, evenly spread and in order of arrival. On a route it is a limit of its event type, on a consumer
 * one of all its routes together; with `by` one for each name. An entry whose turn is more than a second away is set aside until then, at no delivery. Several on one event, as one by customer and
 * one for all, let it start once all of them do.
 *
 * Turns are some 3 % farther apart than `perMs / max`, so that late starts make none too many.
 *
 * @throws {TypeError | RangeError} A bad option; where the consumer is defined, a batch route: its events start together.
 */
export function rateLimit(options: RateLimitOptions): Policy {
  const action = 'make rateLimit'
  assertKnownOptions(action, options, ['max', 'perMs', 'by'])
  const { max, perMs, by } = options
  assertInteger(action, 'max', max, 1, MOST_TURNS)
  assertInteger(action, 'perMs', perMs, SHORTEST_MS, LONGEST_WINDOW_MS)
  if (by !== undefined && !isSynchronousFunction(by))
    throw wrongUseError(action, 'by must be a function of the event that answers at once')
  return definePolicy({
    name: 'rateLimit',
    kind: 'rate',
    assertFits: (_settings, place) => assertNoBatches(place),
    needs: (keys) => limitNeeds(keys, keys.rate('*')),
    begin(run) {
      const gate = gateOf(run)
      const names = new LimitNames('rateLimit', gate.scopeOf('turn', run.eventType), by)
      const { eventType } = run
      gate.add({ kind: 'turn', eventType, policy: 'rateLimit', max, perMs, nameOf: (job) => names.nameOf(job) })
      return { admit: names.admit }
    },
  })
}

/** @throws {TypeError} Events of a batch route start together. */
function assertNoBatches({ batchTypes: [type] }: PolicyPlace): void {
  if (type === undefined) return
  throw new TypeError(
    `it must be used on routes of one event a call, got the batch route of ${quotedValue(type)}: its events start together`,
  )
}

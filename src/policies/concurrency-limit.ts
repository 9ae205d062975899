import { isSynchronousFunction } from '../core/handler-function.ts'
import { assertInteger, assertKnownOptions, wrongUseError } from '../core/options.ts'
import type { ConsumerSettings } from '../define/consumer-settings.ts'
import type { Policy } from '../define/policy.ts'
import { definePolicy } from './define-policy.ts'
import type { LimitedBy } from './flow/limit-names.ts'
import { LimitNames, limitNeeds } from './flow/limit-names.ts'
import { gateOf } from './flow/run-gate.ts'

/** How many events may be handled at once. */
export interface ConcurrencyLimitOptions {
  /** Events that are handled at once, over all invocations: 1 to what the consumer can handle at once, `concurrency` × (`maxPollers` + 2 claimers), at most 10,000; where it holds for a batch route, 1 to 10,000. */
  readonly max: number
  /** What names the limit that an event is under: text of 1 to 1,024 bytes, or `undefined`: none. What else it answers or throws makes the entry a dead letter, `malformed`. Default: one for all of them. */
  readonly by?: LimitedBy
}

const MOST_PLACES = 10_000

/** Claimers that run at once. */
const CLAIMERS = 2

/**
 * Handles at most `max` events at once, over all invocations. On a route it is a limit of its event type, on a consumer one of all its routes together; with `by` one for each
 * name. An entry that finds no place free within a second is set aside, at no delivery. A place ends with its call, or with the lease of an invocation that died. Of a batch
 * route, each event has a place.
 *
 * @throws {TypeError | RangeError} A bad option; where the consumer is defined, a `max` above what it can handle at once.
 */
export function concurrencyLimit(options: ConcurrencyLimitOptions): Policy {
  const action = 'make concurrencyLimit'
  assertKnownOptions(action, options, ['max', 'by'])
  const { max, by } = options
  assertInteger(action, 'max', max, 1, MOST_PLACES)
  if (by !== undefined && !isSynchronousFunction(by))
    throw wrongUseError(action, 'by must be a function of the event that answers at once')
  return definePolicy({
    name: 'concurrencyLimit',
    kind: 'concurrency',
    assertFits: (settings, { batchTypes }) => assertReachable(max, settings, batchTypes.length > 0),
    needs: (keys) => limitNeeds(keys, keys.places('*')),
    begin(run) {
      const gate = gateOf(run)
      const names = new LimitNames('concurrencyLimit', gate.scopeOf('place', run.eventType), by)
      const { eventType } = run
      gate.add({ kind: 'place', eventType, policy: 'concurrencyLimit', max, nameOf: (job) => names.nameOf(job) })
      return { admit: names.admit }
    },
  })
}

/** @throws {RangeError} More than can be handled at once is no limit. */
function assertReachable(max: number, { concurrency, maxPollers }: ConsumerSettings, hasBatches: boolean): void {
  // a call of a batch route has any number of events
  if (hasBatches) return
  const most = concurrency * (maxPollers + CLAIMERS)
  if (max <= most) return
  throw new RangeError(
    `max must be <= ${most}, which is concurrency ${concurrency} x (maxPollers ${maxPollers} + ${CLAIMERS} claimers): no more is handled at once, got ${max}`,
  )
}

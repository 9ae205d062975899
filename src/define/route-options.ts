import type { Backoff } from '../core/backoff.ts'
import { isSynchronousFunction } from '../core/handler-function.ts'
import { assertNumber, wrongUseError } from '../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS, checkNumberOption } from '../core/rows.ts'
import { resolveBackoff } from './backoff-options.ts'
import type { Event } from './event.ts'
import type { Policy, UsedPolicy } from './policy.ts'
import { checkPolicies } from './policy.ts'

/** What one route does otherwise. */
export interface RouteOptions<E extends Event = Event> {
  /** Policies of this route, within those of its consumer. */
  readonly use?: readonly Policy[]
  /**
   * Which of its events the handler is called for: those for which it answers `true`. What it answers `false` for is ignored: acknowledged without a
   * call, and counted. It gets the event as the handler would, lifted and checked: what cannot be read is a dead letter all the same. Whatever
   * else it answers, as `undefined` or a promise, and whatever it throws, is a failure of the entry, retried like a handler's. Default: all.
   */
  readonly when?: (event: E) => boolean
  /**
   * Milliseconds, 1 or more, after which an entry of this type has expired, instead of the consumer's `maxAgeMs`; `Infinity`: never. Default: the
   * consumer's.
   */
  readonly maxAgeMs?: number
  /**
   * Calls of this route that run side by side in an invocation, 1 to the consumer's `concurrency`: a bulkhead, so that a slow dependency of one type leaves
   * places to the others, which go past what waits. What waits is held by its run, at most about a batch; what never starts is released at no delivery. Where a deployment sets a
   * lower `concurrency`, that holds. Default: the consumer's.
   */
  readonly concurrency?: number
  /**
   * Milliseconds that a handler of this type may take, at most the consumer's `minIdleMs` − 5,000 unless `allowLongHandlers` is set. A run reads, takes and claims
   * for as long as the longest of its routes fits; what it has in hand then starts as long as its own does. Default: the consumer's.
   */
  readonly handlerTimeoutMs?: number
  /** Deliveries that an entry of this type gets before it becomes a dead letter, fewer or more than the consumer's. Default: the consumer's. */
  readonly maxDeliveries?: number
  /** Waits between deliveries of this type; what is left out is the consumer's. */
  readonly backoff?: Partial<Backoff>
}

/** What a route does otherwise, checked. */
export interface RouteRules {
  readonly use?: readonly UsedPolicy[] | undefined
  readonly when?: ((event: never) => unknown) | undefined
  readonly maxAgeMs?: number | undefined
  readonly concurrency?: number | undefined
  readonly handlerTimeoutMs?: number | undefined
  readonly maxDeliveries?: number | undefined
  readonly backoff?: Partial<Backoff> | undefined
}

/** Numbers that a route may have otherwise than its consumer, by the same bounds. */
const NUMBERS = ['concurrency', 'handlerTimeoutMs', 'maxDeliveries'] as const

export const ROUTE_OPTION_NAMES = [
  'use',
  'when',
  'maxAgeMs',
  'backoff',
  ...NUMBERS,
] as const satisfies readonly (keyof RouteOptions)[]

/** @throws {TypeError | RangeError} A bad option. */
export function resolveRouteRules(
  action: string,
  { use: given, when, maxAgeMs, backoff, ...numbers }: RouteOptions<never>,
): RouteRules {
  const use = checkPolicies(action, given)
  if (when !== undefined && !isSynchronousFunction(when))
    throw wrongUseError(action, 'when must be a function, not async, that answers true or false')
  if (maxAgeMs !== undefined) assertNumber(action, 'maxAgeMs', maxAgeMs, 1)
  for (const name of NUMBERS)
    if (numbers[name] !== undefined) checkNumberOption(action, name, numbers[name], CONSUMER_NUMBER_OPTIONS[name])
  if (backoff !== undefined) resolveBackoff(action, backoff)
  const { concurrency, handlerTimeoutMs, maxDeliveries } = numbers
  return { use, when, maxAgeMs, backoff: backoff && { ...backoff }, concurrency, handlerTimeoutMs, maxDeliveries }
}

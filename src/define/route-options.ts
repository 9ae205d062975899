import { isSynchronousFunction } from '../core/handler-function.ts'
import { assertNumber, wrongUseError } from '../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS, checkNumberOption } from '../core/rows.ts'
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
}

/** What a route does otherwise, checked. */
export interface RouteRules {
  readonly use?: readonly UsedPolicy[] | undefined
  readonly when?: ((event: never) => unknown) | undefined
  readonly maxAgeMs?: number | undefined
  readonly concurrency?: number | undefined
}

export const ROUTE_OPTION_NAMES = [
  'use',
  'when',
  'maxAgeMs',
  'concurrency',
] as const satisfies readonly (keyof RouteOptions)[]

/** @throws {TypeError | RangeError} A bad option. */
export function resolveRouteRules(
  action: string,
  { use: given, when, maxAgeMs, concurrency }: RouteOptions<never>,
): RouteRules {
  const use = checkPolicies(action, given)
  if (when !== undefined && !isSynchronousFunction(when))
    throw wrongUseError(action, 'when must be a function, not async, that answers true or false')
  if (maxAgeMs !== undefined) assertNumber(action, 'maxAgeMs', maxAgeMs, 1)
  if (concurrency !== undefined)
    checkNumberOption(action, 'concurrency', concurrency, CONSUMER_NUMBER_OPTIONS.concurrency)
  return { use, when, maxAgeMs, concurrency }
}

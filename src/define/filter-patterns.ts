import type { DecodedEvent } from '../core/codec.ts'
import type { FilterPattern } from '../core/filter-patterns.ts'
import { checkFilterPatterns, matchesAnyPattern } from '../core/filter-patterns.ts'

/** Which events are for a group. */
export interface EventFilter {
  /** `undefined`: all, unless the deployment says so. */
  readonly patterns: readonly FilterPattern[] | undefined
  /** Whether one of the patterns matches an event as it was decoded: before its payload was lifted or checked. */
  matches(event: DecodedEvent): boolean
  /** The filter with other patterns: those of a deployment. @throws {TypeError | RangeError} A bad pattern. */
  with(action: string, patterns: unknown): EventFilter
}

/**
 * Makes the `filter` of a consumer from 1 to 10 patterns, in the grammar of AWS's event filtering: an event that matches none of them is
 * ignored. `filterPatterns([{ type: ['OrderPaid'], payload: { amount: [{ numeric: ['>', 100] }] } }])`.
 *
 * A pattern asks for `type`, `version`, `payload`, `eventId`, `aggregateType`, `aggregateId`, `tenantId`, `producer`, `occurredAt` and `attributes` as the codec
 * decoded them, before the payload is lifted or checked. Rules are values (`null` and `''` too), `prefix`, `suffix`, `equals-ignore-case`,
 * `numeric`, `exists` and `anything-but`; members of a pattern must all match, `$or` has alternatives. Numbers match by value.
 *
 * @param patterns What a deployment sets as `filterPatterns` takes their place. Default: all events, unless it sets some.
 * @throws {TypeError | RangeError} A pattern that AWS would refuse, or that could match nothing; the message names the place.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
 */
export function filterPatterns(patterns?: readonly FilterPattern[]): EventFilter {
  if (patterns !== undefined) return filterBy('define a filter', patterns)
  return Object.freeze({ patterns, matches: () => true, with: filterBy })
}

function filterBy(action: string, given: unknown): EventFilter {
  const patterns = checkFilterPatterns(action, 'filterPatterns', given)
  return Object.freeze({
    patterns,
    matches: (event: DecodedEvent) => matchesAnyPattern(patterns, event),
    with: filterBy,
  })
}

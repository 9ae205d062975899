import type { Clock } from '../clock.ts'
import type { DecodedEvent } from '../core/codec.ts'
import { entryAgeMs } from '../core/entry.ts'
import type { Consumer } from '../define/consumer.ts'
import type { Route } from '../define/route.ts'
import { ExpiredEntryError } from '../errors.ts'
import type { IgnoredEntry, RejectedEntry } from './rejected.ts'
import { IGNORED_ENTRY } from './rejected.ts'

/**
 * Decides about an entry by its id and the server's clock; an id that is ahead of that has no age.
 *
 * @param route Left out before the entry is decoded. Then `undefined` is the answer also where its event must be known.
 */
export type ExpiryCheck = (
  id: string,
  route?: Route,
  decoded?: DecodedEvent,
) => RejectedEntry | IgnoredEntry | undefined

/** @param takenAt When the slot was taken, on the server's clock; `undefined` in memory, which has the time of its process. */
export function createExpiryCheck(
  { settings, routes, filter }: Consumer,
  takenAt: number | undefined,
  clock: Clock,
): ExpiryCheck {
  const { maxAgeMs, expired, unrouted } = settings
  const isIgnored = expired === 'ignore'
  // whether it is for the group at all comes first: what is not must not become a dead letter
  const isForUs = isIgnored || !(unrouted === 'ignore' || filter)
  const limitOf = (route: Route) => route.maxAgeMs ?? maxAgeMs
  const longest = isForUs ? Math.max(maxAgeMs, ...[...routes.values()].map(limitOf)) : Infinity
  const aheadMs = takenAt && takenAt - clock.monotonic()
  return (id, route, decoded) => {
    const limit = route ? limitOf(route) : longest
    const ageMs = entryAgeMs(id, aheadMs === undefined ? clock.now() : aheadMs + clock.monotonic()) ?? 0
    if (ageMs <= limit) return undefined
    return isIgnored
      ? IGNORED_ENTRY
      : { kind: 'rejected', reason: 'expired', error: new ExpiredEntryError(ageMs, limit), decoded }
  }
}

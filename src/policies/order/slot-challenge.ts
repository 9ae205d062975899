import type { Consumer } from '../../define/consumer.ts'
import type { TakenSlot } from '../../group/ordering.ts'

/** A lease outlives the invocation that it is of by that much. */
const LEASE_MARGIN_MS = 5_000

/** Schedules wake a poller every minute at most: before the last minute of a lease the next one can wait as well. */
const LAST_MINUTE_MS = 60_000 + LEASE_MARGIN_MS

/**
 * Whether a poller waits for the slot that another holds. One that drains does so where the other's lease ends within a minute, and leaves time for a handler: what that one does not get done, or what its death left, would wait for the
 * next schedule. One that listens waits as all do that listen; one that reads a single batch does not.
 */
export function slotChallengeOf({ settings, routeBounds }: Consumer): ((taken: TakenSlot) => boolean) | undefined {
  if (settings.mode !== 'drain') return undefined
  const neededMs = routeBounds.longestTimeoutMs + settings.reserveMs + LEASE_MARGIN_MS
  return ({ heldMs, wantedMs }) => heldMs <= LAST_MINUTE_MS && heldMs + neededMs <= wantedMs
}

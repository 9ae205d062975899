import type { ConsumerReport } from 'millrace'

/** The report of group `billing` on stream `orders`, which had nothing to do. */
export function aReport(more: Partial<ConsumerReport> = {}): ConsumerReport {
  return {
    stream: 'orders',
    group: 'billing',
    read: 0,
    claimed: 0,
    invoked: 0,
    failed: 0,
    throttled: 0,
    acked: 0,
    ackMissed: 0,
    retried: 0,
    deadLettered: 0,
    released: 0,
    ignored: 0,
    parked: 0,
    superseded: 0,
    unsettled: 0,
    lost: 0,
    deadLettersTrimmed: 0,
    overran: 0,
    batches: 0,
    roundTrips: 0,
    promoted: 0,
    scaledOut: 0,
    drained: false,
    noFreeSlot: false,
    pendingLimitReached: false,
    parkedLimitReached: false,
    paused: false,
    groupRecreated: false,
    continued: false,
    durationMs: 0,
    ...more,
  }
}

import type { SettingOptions } from 'millrace'
import type { Timing } from './fleet.ts'

export const STREAM = 'orders'
export const GROUP = 'billing'

/** Small times, so that many deliveries, deaths and take-overs fit into a minute. */
export const SETTINGS = {
  batchSize: 100,
  concurrency: 10,
  handlerTimeoutMs: 400,
  minIdleMs: 2_000,
  allowLongHandlers: true,
  maxDeliveries: 4,
  backoff: { firstMs: 200, factor: 2, maxMs: 3_000 },
  reserveMs: 400,
  maxPollers: 8,
} as const satisfies SettingOptions

/** A group of the same stream that keeps the order of keys, and its processes: one polls, the other waits for its slot. */
export const ORDERED = {
  group: 'ledger',
  actions: ['poll', 'poll', 'claim', 'claim'],
  settings: { ...SETTINGS, allowLongHandlers: false, minIdleMs: SETTINGS.handlerTimeoutMs + 5_000, maxPollers: 1 },
  keys: 40,
  /** How often something is done to one of its processes. */
  faultEveryMs: [1_500, 4_000],
  freezeMs: [500, 9_000],
} as const

/** Processes that poll and that claim; one claimer more than there are slots for. */
export const ACTIONS = ['poll', 'poll', 'poll', 'poll', 'claim', 'claim', 'claim'] as const

/**
 * A dead process's lease lasts as long as its invocation might have, so that long ones would leave too few claimers. Pollers pause, so that
 * their batches are of some size.
 */
export const TIMING: Timing = {
  poll: { remainingMs: [1_500, 8_000], pauseMs: [50, 1_000] },
  claim: { remainingMs: [2_500, 5_000], pauseMs: [20, 300] },
}

/** Events a second, about, bursts apart. */
export const RATE = 60

/** Slow entries at once: who reads them holds the last ones for longer than minIdleMs, and has to renew them. */
export const BURST = { everyMs: 10_000, kind: 'long', entries: 130 } as const

/** One event of so many is delayed, by up to so long, and one of so many of these is cancelled meanwhile, or when it is too late. */
export const DELAYS = { oneOf: 8, ms: 6_000, cancelsOneOf: 4 } as const

/** An entry that kills costs the claimers several deaths, and each death a slot for some seconds: more of them would pile up. */
export const POISON_EVERY_MS = 25_000

/** Nothing is published while more is pending: faults leave the claimers less time than a long soak would need. */
export const MAX_PENDING = 500

export const DRAIN_LIMIT_MS = 90_000
/** Leases of processes that died last. */
export const LEASES_LIMIT_MS = 20_000

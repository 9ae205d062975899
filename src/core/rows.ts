import { MAX_DELAY_MS } from './backoff.ts'

/** A setting that is a number: its unit, what it is where nobody says, and its bounds. */
export interface NumberRow {
  readonly unit: 'entries' | 'handlers' | 'ms' | 'deliveries' | 'bytes' | 'pollers'
  readonly default: number
  readonly min: number
  readonly max: number
}

const MOST = Number.MAX_SAFE_INTEGER

/** Every number among the options of a consumer. Code, deployment, doctor and console take their defaults and bounds from here. */
export const NUMBERS = {
  batchSize: { unit: 'entries', default: 100, min: 1, max: 10_000 },
  concurrency: { unit: 'handlers', default: 10, min: 1, max: 1_000 },
  handlerTimeoutMs: { unit: 'ms', default: 10_000, min: 1, max: MAX_DELAY_MS },
  minIdleMs: { unit: 'ms', default: 60_000, min: 1, max: MAX_DELAY_MS },
  maxDeliveries: { unit: 'deliveries', default: 5, min: 1, max: MOST },
  maxPending: { unit: 'entries', default: 10_000, min: 1, max: MOST },
  maxParked: { unit: 'entries', default: 100_000, min: 1, max: MOST },
  maxEntryBytes: { unit: 'bytes', default: 1_048_576, min: 1, max: MOST },
  maxBytes: { unit: 'bytes', default: 67_108_864, min: 1, max: MOST },
  reserveMs: { unit: 'ms', default: 1_000, min: 100, max: MOST },
  maxPollers: { unit: 'pollers', default: 4, min: 1, max: 64 },
} as const satisfies Readonly<Record<string, NumberRow>>

/** The default of each of them. */
export const NUMBER_DEFAULTS = Object.fromEntries(
  Object.entries(NUMBERS).map(([name, row]) => [name, row.default]),
) as Readonly<Record<keyof typeof NUMBERS, number>>

/** How a poller may go about it. */
export const POLL_MODES = ['once', 'drain'] as const

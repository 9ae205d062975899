import { MAX_DELAY_MS } from './backoff.ts'
import { LONGEST_WINDOW_MS } from './longest-window.ts'
import { assertInteger, assertNumber } from './options.ts'

/** An option that is a number: its unit, its value where nobody gives one, and its bounds. */
export interface NumberOptionRow {
  readonly unit: 'entries' | 'handlers' | 'ms' | 'deliveries' | 'bytes' | 'pollers' | 'times'
  /** `Infinity`: no limit. Left out: the option has no value until somebody gives one. */
  readonly default?: number
  readonly min: number
  readonly max: number
  /** Whether it may have a fraction. Default: it is a whole number. */
  readonly hasFraction?: true
}

const MOST = Number.MAX_SAFE_INTEGER

/** The limit of an entry's size, which publishers and consumers share. */
const ENTRY_BYTES = { unit: 'bytes', default: 1_048_576, min: 1, max: MOST } as const satisfies NumberOptionRow

/** Every number among the options of a consumer. Code, deployment, doctor and console take their defaults and bounds from here. */
export const CONSUMER_NUMBER_OPTIONS = {
  batchSize: { unit: 'entries', default: 100, min: 1, max: 10_000 },
  concurrency: { unit: 'handlers', default: 10, min: 1, max: 1_000 },
  handlerTimeoutMs: { unit: 'ms', default: 10_000, min: 1, max: MAX_DELAY_MS },
  minIdleMs: { unit: 'ms', default: 60_000, min: 1, max: MAX_DELAY_MS },
  maxDeliveries: { unit: 'deliveries', default: 5, min: 1, max: MOST },
  maxPending: { unit: 'entries', default: 10_000, min: 1, max: MOST },
  maxParked: { unit: 'entries', default: 100_000, min: 1, max: MOST },
  maxEntryBytes: ENTRY_BYTES,
  maxBytes: { unit: 'bytes', default: 67_108_864, min: 1, max: MOST },
  maxRunMs: { unit: 'ms', default: Infinity, min: 1, max: Infinity, hasFraction: true },
  lingerMs: { unit: 'ms', default: 0, min: 0, max: MAX_DELAY_MS, hasFraction: true },
  reserveMs: { unit: 'ms', default: 1_000, min: 100, max: MOST },
  maxPollers: { unit: 'pollers', default: 4, min: 1, max: 64 },
} as const satisfies Readonly<Record<string, NumberOptionRow>>

/** The numbers of a consumer's `backoff`; a wait above 24 hours is taken as 24 hours. */
export const BACKOFF_NUMBER_OPTIONS = {
  firstMs: { unit: 'ms', default: 1_000, min: 0, max: Infinity, hasFraction: true },
  factor: { unit: 'times', default: 2, min: 1, max: Infinity, hasFraction: true },
  maxMs: { unit: 'ms', default: 60_000, min: 0, max: Infinity, hasFraction: true },
} as const satisfies Readonly<Record<string, NumberOptionRow>>

/** The numbers of a consumer's `deadLetters`. Its `maxLength` may be `Infinity` as well, which keeps all letters. */
export const DEAD_LETTER_NUMBER_OPTIONS = {
  maxLength: { unit: 'entries', default: 100_000, min: 1, max: MOST },
} as const satisfies Readonly<Record<string, NumberOptionRow>>

/** The numbers of a publisher. Its `maxLength` may be `Infinity` as well, which keeps all entries. */
export const PUBLISHER_NUMBER_OPTIONS = {
  maxLength: { unit: 'entries', default: 1_000_000, min: 1, max: MOST },
  retentionMs: { unit: 'ms', min: 1, max: MOST, hasFraction: true },
  maxEntryBytes: ENTRY_BYTES,
  deduplicateMs: { unit: 'ms', min: 1, max: LONGEST_WINDOW_MS },
  maxBacklog: { unit: 'entries', min: 1, max: MOST },
  maxWaitMs: { unit: 'ms', default: 60_000, min: 0, max: 86_400_000 },
} as const satisfies Readonly<Record<string, NumberOptionRow>>

/** @throws {TypeError | RangeError} Not a number as its row wants it. */
export function checkNumberOption(action: string, name: string, value: unknown, row: NumberOptionRow): void {
  const check = row.hasFraction ? assertNumber : assertInteger
  check(action, name, value, row.min, row.max)
}

type Defaults = Readonly<Record<keyof typeof CONSUMER_NUMBER_OPTIONS, number>>

/** The default of each of them; marked as pure, so that bundles of publishers do without. */
export const CONSUMER_NUMBER_DEFAULTS: Defaults = /* @__PURE__ */ defaultsOf(CONSUMER_NUMBER_OPTIONS)

function defaultsOf(rows: typeof CONSUMER_NUMBER_OPTIONS): Defaults {
  return Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, row.default])) as Defaults
}

/** How a poller may go about it. */
export const POLL_MODES = ['once', 'drain', 'listen'] as const

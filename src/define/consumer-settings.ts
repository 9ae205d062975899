import type { Backoff } from '../core/backoff.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import { parseEntryId } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { consumerKeys, exampleInSlot, hashSlot, isKeyBesideStream, isKeyOfConsumer } from '../core/keys.ts'
import {
  assertBoolean,
  assertInteger,
  assertKnownKeys,
  assertNumber,
  assertObject,
  assertOneOf,
  assertText,
  withDefaults,
  wrongUseError,
} from '../core/options.ts'
import {
  CONSUMER_NUMBER_DEFAULTS,
  CONSUMER_NUMBER_OPTIONS,
  DEAD_LETTER_NUMBER_OPTIONS,
  type NumberOptionRow,
  POLL_MODES,
} from '../core/rows.ts'
import { quotedValue } from '../errors.ts'
import { DEFAULT_BACKOFF, resolveBackoff } from './backoff-options.ts'

/**
 * How a poller goes about it: `once` reads one batch, and on while some of it waits for others (`maxBatchingWindowMs`); `drain` reads until
 * nothing is left or time is up; `listen` goes on until time is up, and takes what comes when it comes: new entries, and retries when they are due.
 */
export type PollMode = (typeof POLL_MODES)[number]

/** What becomes of an entry that no handler is called for. */
export type NotForUs = (typeof NOT_FOR_US)[number]

/** What becomes of an entry of a type that no route knows; parked, it waits at no delivery until a deployment knows it. */
export type Unrouted = (typeof UNROUTED)[number]

/** What becomes of an entry of a newer version than its route knows. */
export type NewerVersion = (typeof NEWER_VERSION)[number]

const NOT_FOR_US = ['deadLetter', 'ignore'] as const
const UNROUTED = [...NOT_FOR_US, 'park'] as const
const NEWER_VERSION = ['park', 'deadLetter'] as const

/** How a consumer goes about it; every member has a default. */
export interface SettingOptions {
  /** Entries per read, 1 to 10,000. Default 100. */
  readonly batchSize?: number
  /** Handlers that run side by side, 1 to 1,000. Default 10. */
  readonly concurrency?: number
  /** Milliseconds a handler may take before its `signal` is aborted and its entry retried. Default 10,000. */
  readonly handlerTimeoutMs?: number
  /** Milliseconds after which the claimer takes over an entry whose process died; at least `handlerTimeoutMs` + 5,000. Default 60,000. */
  readonly minIdleMs?: number
  /** Deliveries an entry gets before it becomes a dead letter. Default 5. */
  readonly maxDeliveries?: number
  /**
   * Pending entries of the group that are not set aside, above which pollers read no new ones, until the claimer has caught up. Default 10,000; over REST 1,000, which is Upstash's
   * own limit.
   */
  readonly maxPending?: number
  /** Entries of the group that are set aside, until a time or a condition, above which pollers read no new ones. Default 100,000; over REST 1,000. */
  readonly maxParked?: number
  /** Waits between deliveries. Default 1 s, doubling, at most 60 s. */
  readonly backoff?: Partial<Backoff>
  /** Where dead letters go, and how many are kept. */
  readonly deadLetters?: DeadLetterOptions
  /** Handlers may outlast `minIdleMs`: lifts the rule above, since what runs is renewed anyway. Default false. */
  readonly allowLongHandlers?: boolean
  /** Bytes of names and values; a larger entry is not decoded and becomes a dead letter, `oversize`. Default 1,048,576. */
  readonly maxEntryBytes?: number
  /**
   * Bytes of names and values that a run may have in hand, 1 or more: reads and starts get smaller where entries are large, but for the first one of
   * a run, which does not know yet; one entry is always taken. Default 67,108,864.
   */
  readonly maxBytes?: number
  /**
   * What becomes of an entry whose type no route knows: a dead letter, `unrouted`; or it is ignored, acknowledged without a call and counted; or it is parked, and waits at no
   * delivery until a deployment has a route for it. What is
   * ignored is not checked first. Default `deadLetter`.
   */
  readonly unrouted?: Unrouted
  /** What becomes of an entry of a newer version than its route knows: it is parked, and waits at no delivery until a deployment knows it; or a dead letter, `newer-version`. Default `park`. */
  readonly newerVersion?: NewerVersion
  /**
   * Milliseconds, 1 or more, after which an entry has expired, retries included: no handler is called for it any more. Its age is that of its id, on the
   * server's clock; one whose id is ahead of that has none. A route's own `maxAgeMs` goes before it. Default: never.
   */
  readonly maxAgeMs?: number
  /** What becomes of an expired entry: a dead letter, `expired`, or it is ignored. Default `deadLetter`. */
  readonly expired?: NotForUs
  /** Default `drain`. */
  readonly mode?: PollMode
  /** Milliseconds after which a run reads and starts nothing new. Default: the invocation's own time. */
  readonly maxRunMs?: number
  /**
   * Milliseconds for which a poller that was woken, as by `wakePoller`, goes on listening after its last entry, up to 86,400,000. Default 0: it ends once nothing is left. A schedule's
   * poller listens with `mode: 'listen'` only, and until its time is up.
   */
  readonly lingerMs?: number
  /** Milliseconds before the invocation's deadline kept for settling, 100 or more. Default 1,000. */
  readonly reserveMs?: number
  /** Pollers that may run at once, each under a name of its own, 1 to 64. Default 4. */
  readonly maxPollers?: number
  /** Where a group that never was starts: `'0'` the whole stream, `'$'` only what comes, or an entry id. Default `'0'`. */
  readonly startAt?: string
}

/** Where dead letters go, and how many are kept. */
export interface DeadLetterOptions {
  /** Another stream in the same hash slot. Default `{<stream>}:<group>:dlq`. */
  readonly stream?: string
  /**
   * `stream` may lie in another hash slot, as `webhook:order-events:dlq` does: for servers that are no cluster. A cluster refuses the first command of every run, before anything is
   * read. Default false.
   */
  readonly allowOtherSlot?: boolean
  /**
   * Dead letters kept, 1 or more, or `Infinity` for all: the newest. Report, status and doctor count what was removed (`deadLettersTrimmed`); what was redriven or dropped is not
   * among it. Default 100,000.
   */
  readonly maxLength?: number
}

/** Every setting, resolved. */
export interface ConsumerSettings {
  readonly batchSize: number
  readonly concurrency: number
  readonly handlerTimeoutMs: number
  readonly minIdleMs: number
  readonly maxDeliveries: number
  readonly maxPending: number
  readonly maxParked: number
  readonly backoff: Backoff
  /** `Infinity`: all are kept. */
  readonly maxDeadLetters: number
  readonly allowLongHandlers: boolean
  readonly maxEntryBytes: number
  readonly maxBytes: number
  readonly unrouted: Unrouted
  readonly newerVersion: NewerVersion
  /** `Infinity`: never. */
  readonly maxAgeMs: number
  readonly expired: NotForUs
  readonly mode: PollMode
  /** `Infinity`: the invocation's own time. */
  readonly maxRunMs: number
  readonly lingerMs: number
  readonly reserveMs: number
  readonly maxPollers: number
  readonly startAt: string
}

/** What of its consumer's settings a route may have otherwise, resolved. */
export type RouteSettings = Pick<ConsumerSettings, 'handlerTimeoutMs' | 'maxDeliveries' | 'backoff'>

/** What an entry's idle time must leave room for beside its handler: settling, and a late timer. */
export const IDLE_MARGIN_MS = 5_000

const DEFAULTS: ConsumerSettings = {
  ...CONSUMER_NUMBER_DEFAULTS,
  backoff: DEFAULT_BACKOFF,
  maxDeadLetters: DEAD_LETTER_NUMBER_OPTIONS.maxLength.default,
  allowLongHandlers: false,
  unrouted: 'deadLetter',
  newerVersion: 'park',
  maxAgeMs: Infinity,
  expired: 'deadLetter',
  mode: 'drain',
  maxRunMs: Infinity,
  startAt: '0',
}

type Check = (action: string, name: string, value: unknown) => void
const within =
  ({ min, max }: NumberOptionRow): Check =>
  (action, name, value) =>
    assertInteger(action, name, value, min, max)

/** A check an option; the relations between them follow in `checkRelations`. */
const CHECKS: Readonly<Record<Exclude<keyof ConsumerSettings, 'backoff' | 'maxDeadLetters'>, Check>> = {
  batchSize: within(CONSUMER_NUMBER_OPTIONS.batchSize),
  concurrency: within(CONSUMER_NUMBER_OPTIONS.concurrency),
  handlerTimeoutMs: within(CONSUMER_NUMBER_OPTIONS.handlerTimeoutMs),
  minIdleMs: within(CONSUMER_NUMBER_OPTIONS.minIdleMs),
  maxDeliveries: within(CONSUMER_NUMBER_OPTIONS.maxDeliveries),
  maxPending: within(CONSUMER_NUMBER_OPTIONS.maxPending),
  maxParked: within(CONSUMER_NUMBER_OPTIONS.maxParked),
  allowLongHandlers: assertBoolean,
  maxEntryBytes: within(CONSUMER_NUMBER_OPTIONS.maxEntryBytes),
  maxBytes: within(CONSUMER_NUMBER_OPTIONS.maxBytes),
  unrouted: (action, name, value) => assertOneOf(action, name, value, UNROUTED),
  newerVersion: (action, name, value) => assertOneOf(action, name, value, NEWER_VERSION),
  maxAgeMs: (action, name, value) => assertNumber(action, name, value, 1),
  expired: notForUs,
  mode: (action, name, value) => assertOneOf(action, name, value, POLL_MODES),
  maxRunMs: (action, name, value) => assertNumber(action, name, value, 1),
  lingerMs: (action, name, value) => assertNumber(action, name, value, 0, MAX_DELAY_MS),
  reserveMs: within(CONSUMER_NUMBER_OPTIONS.reserveMs),
  maxPollers: within(CONSUMER_NUMBER_OPTIONS.maxPollers),
  startAt: checkStartAt,
}

/** The names of all settings. */
export const SETTING_NAMES: readonly string[] = ['backoff', 'deadLetters', ...Object.keys(CHECKS)]

/**
 * Fills in the defaults, and checks ranges and relations.
 *
 * @throws {TypeError | RangeError} The message names the rule and the values.
 */
export function resolveSettings(action: string, options: SettingOptions): ConsumerSettings {
  const { backoff, deadLetters = {}, ...rest } = options
  assertObject(action, 'deadLetters', deadLetters, '{ stream, maxLength }')
  assertKnownKeys(`${action}: deadLetters`, deadLetters, ['stream', 'maxLength', 'allowOtherSlot'])
  const { maxLength, allowOtherSlot } = deadLetters
  if (allowOtherSlot !== undefined) assertBoolean(action, 'deadLetters.allowOtherSlot', allowOtherSlot)
  if (maxLength !== undefined && maxLength !== Infinity)
    within(DEAD_LETTER_NUMBER_OPTIONS.maxLength)(action, 'deadLetters.maxLength', maxLength)
  const settings = withDefaults<ConsumerSettings>(DEFAULTS, {
    ...rest,
    backoff: resolveBackoff(action, backoff),
    maxDeadLetters: maxLength,
  })
  for (const [name, check] of Object.entries(CHECKS)) check(action, name, settings[name as keyof typeof CHECKS])
  checkRelations(action, settings)
  return Object.freeze(settings)
}

/** What a deployment or one run may set otherwise than its consumer says. */
export const RUN_OVERRIDE_NAMES = ['batchSize', 'concurrency', 'mode', 'maxRunMs', 'lingerMs', 'maxPollers'] as const

/** The settings of a run that has some of its own. */
export function overrideSettings(action: string, settings: ConsumerSettings, run: RunOverrides): ConsumerSettings {
  const overrides = Object.fromEntries(RUN_OVERRIDE_NAMES.map((name) => [name, run[name]]))
  const overridden = withDefaults<ConsumerSettings>(settings, overrides)
  for (const name of RUN_OVERRIDE_NAMES) CHECKS[name](action, name, overridden[name])
  return overridden
}

/** What one run may do otherwise than its consumer says. */
export type RunOverrides = Pick<SettingOptions, (typeof RUN_OVERRIDE_NAMES)[number]>

/** @throws {TypeError | RangeError} A name that gives no keys, or dead letters that cannot lie beside the stream. */
export function resolveConsumerKeys(
  action: string,
  stream: string,
  group: string,
  { stream: deadLetters, allowOtherSlot }: DeadLetterOptions = {},
): ConsumerKeys {
  const keys = consumerKeys(stream, group)
  if (deadLetters === undefined) return keys
  checkDeadLetterStream(action, deadLetters, keys, allowOtherSlot)
  return { ...keys, deadLetters }
}

function checkRelations(action: string, { minIdleMs, handlerTimeoutMs, allowLongHandlers }: ConsumerSettings): void {
  if (allowLongHandlers || minIdleMs >= handlerTimeoutMs + IDLE_MARGIN_MS) return
  throw wrongUseError(
    action,
    `minIdleMs must be >= handlerTimeoutMs + ${IDLE_MARGIN_MS}, got minIdleMs ${minIdleMs} and handlerTimeoutMs ` +
      `${handlerTimeoutMs}; or set allowLongHandlers: true if handlers may outlast minIdleMs`,
    RangeError,
  )
}

function notForUs(action: string, name: string, value: unknown): void {
  assertOneOf(action, name, value, NOT_FOR_US)
}

function checkStartAt(action: string, name: string, value: unknown): void {
  assertText(action, name, value)
  if (value === '$') return
  try {
    parseEntryId(value as string)
  } catch {
    throw wrongUseError(action, `${name} must be "0", "$" or an entry id, got ${quotedValue(value)}`, RangeError)
  }
}

function checkDeadLetterStream(action: string, name: string, keys: ConsumerKeys, allowOtherSlot = false): void {
  const { stream } = keys
  assertText(action, 'deadLetters.stream', name)
  if (name !== keys.deadLetters && (isKeyOfConsumer(keys, name) || isKeyBesideStream(stream, name))) {
    throw wrongUseError(
      action,
      `deadLetters.stream must not be the stream itself or another key of the consumer, got ${quotedValue(name)}`,
      RangeError,
    )
  }
  if (!allowOtherSlot && hashSlot(name) !== hashSlot(stream)) {
    throw wrongUseError(
      action,
      `deadLetters.stream must lie in the stream's hash slot, ${hashSlot(stream)}, got ${quotedValue(name)} in slot ` +
        `${hashSlot(name)}; give it the stream's hash tag, as in ${exampleInSlot(stream)}, or set deadLetters.allowOtherSlot where the server is no cluster`,
      RangeError,
    )
  }
}

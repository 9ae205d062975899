import {
  assertBoolean,
  assertInteger,
  assertKnownKeys,
  assertKnownOptions,
  assertNumber,
  assertObject,
  withDefaults,
  wrongUseError,
} from '../../core/options.ts'
import { PUBLISHER_NUMBER_OPTIONS } from '../../core/rows.ts'

/** What a plan is made for, beside the consumer's settings. */
export interface PlanOptions {
  /** Milliseconds between two ticks of the schedule. Default 60,000. */
  readonly scheduleMs?: number
  /** Events published a second, on average. Default 1. */
  readonly eventsPerSecond?: number
  /** Milliseconds a handler takes. Default 50. */
  readonly handlerMs?: number
  /** Megabytes of each function. Default 512. */
  readonly memoryMb?: number
  /** The functions' timeout in milliseconds. Default 55,000. */
  readonly functionTimeoutMs?: number
  /** Pollers that every tick wakes, at most `maxPollers`. Default 1. */
  readonly pollers?: number
  /** Whether publishers wake the poller. Default false. */
  readonly wakes?: boolean
  /** Whether pollers wake the claimer for what failed. Default false. */
  readonly wakesClaimer?: boolean
  /** Entries that wait already: how long each rate limit takes for them. Default 0. */
  readonly backlog?: number
  /** A rate limit of all routes together, beside those that the consumer has. Default: none. */
  readonly rateLimit?: { readonly max: number; readonly perMs: number }
  /** Bytes of an entry's names and values, as `analyze` counts them. Default 512. */
  readonly entryBytes?: number
  /** Entries that publishers have each stream keep. Default 1,000,000, unless `retentionMs` is given. */
  readonly maxLength?: number
  /** Milliseconds for which publishers, or a janitor, have each stream keep entries. Default: `maxLength` counts. */
  readonly retentionMs?: number
  /** Milliseconds for which publishers remember event ids. Default 0: they do not. */
  readonly deduplicateMs?: number
  /** Milliseconds for which events are delayed, on average over all of them. Default 0. */
  readonly delayMs?: number
  /** Megabytes, of 1,048,576 bytes, that the server may use: its maxmemory. Default: not known. */
  readonly maxmemoryMb?: number
  /** Milliseconds to the server and back. Default 2. */
  readonly roundTripMs?: number
  /** What things cost; what is left out is not priced. */
  readonly rates?: Rates
}

/** Prices, all in one currency. */
export interface Rates {
  /** A GB-second of Lambda: it depends on region and architecture. */
  readonly lambdaGbSecond?: number
  /** An invocation of Lambda. */
  readonly lambdaRequest?: number
  /** A tick of EventBridge Scheduler. */
  readonly schedule?: number
  /** A command, where Redis is paid by the command, as Upstash is. */
  readonly redisCommand?: number
}

/** What has no default. */
type WithoutDefault = 'rateLimit' | 'retentionMs' | 'maxmemoryMb'

export type ResolvedPlanOptions = Required<Omit<PlanOptions, WithoutDefault>> & Pick<PlanOptions, WithoutDefault>

const DEFAULTS: ResolvedPlanOptions = {
  scheduleMs: 60_000,
  eventsPerSecond: 1,
  handlerMs: 50,
  memoryMb: 512,
  functionTimeoutMs: 55_000,
  pollers: 1,
  wakes: false,
  wakesClaimer: false,
  backlog: 0,
  entryBytes: 512,
  maxLength: PUBLISHER_NUMBER_OPTIONS.maxLength.default,
  deduplicateMs: 0,
  delayMs: 0,
  roundTripMs: 2,
  rates: {},
}

const RATES = ['lambdaGbSecond', 'lambdaRequest', 'schedule', 'redisCommand'] as const
const POSITIVE = ['scheduleMs', 'memoryMb', 'functionTimeoutMs', 'entryBytes', 'maxLength'] as const
const AMOUNTS = ['eventsPerSecond', 'handlerMs', 'backlog', 'roundTripMs', 'deduplicateMs', 'delayMs'] as const
const IF_GIVEN = ['retentionMs', 'maxmemoryMb'] as const

/** @throws {TypeError | RangeError} A bad option. */
export function resolvePlanOptions(options: PlanOptions): ResolvedPlanOptions {
  const action = 'plan'
  assertKnownOptions(action, options, [...Object.keys(DEFAULTS), ...IF_GIVEN, 'rateLimit'])
  const resolved = withDefaults<ResolvedPlanOptions>(DEFAULTS, options)
  for (const name of POSITIVE) assertNumber(action, name, resolved[name], 1, Number.MAX_SAFE_INTEGER)
  for (const name of AMOUNTS) assertNumber(action, name, resolved[name], 0, Number.MAX_SAFE_INTEGER)
  for (const name of IF_GIVEN)
    if (resolved[name] !== undefined) assertNumber(action, name, resolved[name], 1, Number.MAX_SAFE_INTEGER)
  if (options.maxLength !== undefined && options.retentionMs !== undefined)
    throw wrongUseError(action, 'maxLength and retentionMs must not both be given')
  assertInteger(action, 'pollers', resolved.pollers, 1)
  assertBoolean(action, 'wakes', resolved.wakes)
  assertBoolean(action, 'wakesClaimer', resolved.wakesClaimer)
  assertObject(action, 'rates', resolved.rates)
  assertKnownKeys(`${action}: rates`, resolved.rates, RATES)
  for (const name of RATES)
    if (resolved.rates[name] !== undefined)
      assertNumber(action, `rates.${name}`, resolved.rates[name], 0, Number.MAX_SAFE_INTEGER)
  if (resolved.rateLimit !== undefined) checkRateLimit(action, resolved.rateLimit)
  return resolved
}

function checkRateLimit(action: string, rateLimit: NonNullable<PlanOptions['rateLimit']>): void {
  assertObject(action, 'rateLimit', rateLimit)
  assertKnownKeys(`${action}: rateLimit`, rateLimit, ['max', 'perMs'])
  assertInteger(action, 'rateLimit.max', rateLimit.max, 1)
  assertNumber(action, 'rateLimit.perMs', rateLimit.perMs, 1, Number.MAX_SAFE_INTEGER)
}

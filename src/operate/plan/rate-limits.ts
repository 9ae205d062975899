import type { Consumer } from '../../define/consumer.ts'
import type { ConsumerSettings } from '../../define/consumer-settings.ts'
import { type ConsumerLimit, flowOf } from '../flow/consumer-limits.ts'
import { msBetweenTurns } from '../flow/limit-state.ts'
import { COMMANDS_PER_STEP } from './commands.ts'
import type { ResolvedPlanOptions } from './options.ts'

/** What a rate limit does and costs, as if all events and the whole backlog were under it. */
export interface RateLimitPlan {
  /** Left out: one of all routes together. */
  readonly eventType?: string
  readonly max: number
  /** Its window, in milliseconds. */
  readonly perMs: number
  /** Whether `by` gives each name a limit of its own: the figures are then those of one name that all events have. */
  readonly isByName: boolean
  /** Events a second that it lets start: some 3 % below `max / perMs`. */
  readonly eventsPerSecond: number
  /** The part of it that is asked for; above 1 what is set aside grows. */
  readonly used: number
  /** Milliseconds that the backlog takes beside what comes meanwhile; `Infinity` where it never ends. */
  readonly backlogMs: number
  /** GB-seconds of pollers and claimers that wait for its turns meanwhile; where it never ends, those of 30 days. */
  readonly backlogGbSeconds: number
  /** Commands of these, the same. */
  readonly backlogRedisCommands: number
}

type RateLimit = Omit<ConsumerLimit, 'policy' | 'perMs'> & { readonly perMs: number }

const MONTH_MS = 30 * 86_400_000

/** The rate limits that are planned for. */
export function rateLimitsOf(
  consumer: Consumer | ConsumerSettings,
  { rateLimit }: ResolvedPlanOptions,
): readonly RateLimit[] {
  const own = 'settings' in consumer ? flowOf(consumer).limits : []
  const rates = own.flatMap(({ policy: _policy, perMs, ...limit }) =>
    perMs === undefined ? [] : [{ ...limit, perMs }],
  )
  return rateLimit ? [...rates, { ...rateLimit, key: '' }] : rates
}

/** Events a second that those let start that are of all routes together and have no `by`; `Infinity` without any. */
export function limitOfAll(limits: readonly RateLimit[]): number {
  const ofAll = limits.filter(({ eventType, key }) => eventType === undefined && key !== undefined)
  return Math.min(Infinity, ...ofAll.map(startsPerSecond))
}

export function rateLimitPlan(
  limit: RateLimit,
  { maxPollers }: ConsumerSettings,
  options: ResolvedPlanOptions,
): RateLimitPlan {
  const { eventsPerSecond, backlog, functionTimeoutMs, scheduleMs, memoryMb } = options
  const { key, ...known } = limit
  const starts = startsPerSecond(limit)
  const left = starts - eventsPerSecond
  const backlogMs = backlog === 0 ? 0 : left > 0 ? (1_000 * backlog) / left : Infinity
  const ms = Math.min(MONTH_MS, backlogMs)
  // each stays for its time while turns are near: those that a tick wakes, and the claimer
  const runs = (Math.min(options.pollers, maxPollers) + 1) * Math.min(1, functionTimeoutMs / scheduleMs)
  const seconds = (ms / 1_000) * runs
  return {
    ...known,
    isByName: key === undefined,
    eventsPerSecond: starts,
    used: eventsPerSecond / starts,
    backlogMs: Math.round(backlogMs),
    backlogGbSeconds: Math.round(seconds * (memoryMb / 1_024)),
    backlogRedisCommands: Math.round(
      seconds * COMMANDS_PER_STEP.turnSecond + (ms / 1_000) * starts * COMMANDS_PER_STEP.turnEvent,
    ),
  }
}

function startsPerSecond({ max, perMs }: RateLimit): number {
  return 1_000 / msBetweenTurns(max, perMs)
}

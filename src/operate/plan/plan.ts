import { assertObject } from '../../core/options.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import type { ConsumerSettings } from '../../define/consumer-settings.ts'
import { COMMANDS_PER_STEP, IDLE_ROUND_TRIPS } from './commands.ts'
import { type MemoryPlan, memoryPlan } from './memory.ts'
import type { PlanOptions, Rates, ResolvedPlanOptions } from './options.ts'
import { resolvePlanOptions } from './options.ts'
import { limitOfAll, type RateLimitPlan, rateLimitPlan, rateLimitsOf } from './rate-limits.ts'
import { type ExceededTimeout, exceededTimeouts } from './timeouts.ts'

/** What a consumer does and costs. */
export interface Plan {
  readonly latency: {
    /** Milliseconds from publishing to the end of the handler; `Infinity` where the pollers do not keep up. */
    readonly meanMs: number
    readonly worstMs: number
    /** Milliseconds until an entry whose process died is handled again, at the latest. */
    readonly afterCrashMs: number
  }
  /** How much later than it is due a retry starts, at most, in milliseconds. */
  readonly retries: {
    /** The first of an entry. */
    readonly firstMs: number
    /** Those after it, as long as they fit into the claimer's time. */
    readonly laterMs: number
    /** What waiting for them takes in 30 days where something is always set aside. */
    readonly waitingGbSeconds: number
  }
  readonly capacity: {
    /** Events a second that the pollers can handle. */
    readonly eventsPerSecond: number
    /** The part of it that is asked for; above 1 the stream grows. */
    readonly used: number
    readonly keepsUp: boolean
  }
  /** Limits that handlers exceed, so that every call of these routes times out; none where all have time. */
  readonly timeouts: readonly ExceededTimeout[]
  /** What rate limits cost: those of the consumer, then that of the options. */
  readonly rateLimits: readonly RateLimitPlan[]
  /** What lies in the server's memory. */
  readonly memory: MemoryPlan
  /** In 30 days. */
  readonly month: {
    readonly poller: FunctionMonth
    readonly claimer: FunctionMonth
    /** Commands of publishers that publish one event a call. */
    readonly publisherCommands: number
    /** Ticks of the schedules. */
    readonly ticks: number
    readonly price: Price
  }
}

export interface FunctionMonth {
  readonly invocations: number
  readonly gbSeconds: number
  readonly redisCommands: number
}

/** By the given rates; what has none is left out. */
export interface Price {
  readonly lambda?: number
  readonly schedules?: number
  readonly redis?: number
}

const MONTH_SECONDS = 30 * 86_400

/** Assumed: what Lambda's runtime and the middlewares take of an invocation. */
const RUNTIME_MS = 10

/** Assumed: from a wake-up to the start of a warm function. */
const WAKE_MS = 50

/** What is due starts no later than that where somebody waits for it. */
const KEPT_MS = 2_000

/**
 * Works out what a consumer does and costs: latency, capacity, commands, invocations, price. Arithmetic, for events that come evenly and
 * one by one, handlers that take the same time, warm functions, and nothing that fails; it inspects no server.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function plan(consumer: Consumer | ConsumerSet | ConsumerSettings, options: PlanOptions = {}): Plan {
  const { subject, settings, streams } = subjectOf(consumer)
  const given = resolvePlanOptions(options)
  const limits = rateLimitsOf(subject, given)
  const capacity = capacityOf(settings, given, limitOfAll(limits))
  return {
    latency: latencyOf(settings, given, capacity.keepsUp),
    retries: retriesOf(settings, given),
    capacity,
    timeouts: exceededTimeouts(subject, given.handlerMs),
    rateLimits: limits.map((limit) => rateLimitPlan(limit, settings, given)),
    memory: memoryPlan(subject, settings, given, streams),
    month: monthOf(settings, given, Math.min(given.eventsPerSecond, capacity.eventsPerSecond), streams),
  }
}

/** What holds for one stream of a set holds for all, each of which is asked by itself. */
function subjectOf(given: Consumer | ConsumerSet | ConsumerSettings): {
  readonly subject: Consumer | ConsumerSettings
  readonly settings: ConsumerSettings
  readonly streams: number
} {
  const [subject, ...others] = [given].flat() as [Consumer | ConsumerSettings, ...Consumer[]]
  assertObject('plan', 'the consumer', subject)
  const settings = 'settings' in subject ? settingsOf(subject) : subject
  return { subject, settings, streams: 1 + others.length }
}

/** A run starts what it reads as long as the longest of its routes fits. */
function settingsOf({ settings, routeBounds }: Consumer): ConsumerSettings {
  return { ...settings, handlerTimeoutMs: routeBounds.longestTimeoutMs }
}

/** @param limit Events a second that rate limits of all routes let start. */
function capacityOf(settings: ConsumerSettings, options: ResolvedPlanOptions, limit: number): Plan['capacity'] {
  const { batchSize, mode } = settings
  const { eventsPerSecond, scheduleMs } = options
  const running = runningPollers(settings, options)
  const drained = running * speedOf(settings, options)
  const once = (1_000 * pollersOf(settings, options) * batchSize) / scheduleMs
  const most = Math.min(limit, mode === 'once' && !options.wakes ? Math.min(once, drained) : drained)
  const used = most > 0 ? eventsPerSecond / most : Infinity
  return { eventsPerSecond: most, used, keepsUp: used <= 1 }
}

/** The first of what came since the last poll waited for a whole period, the last one for all before it. */
function latencyOf(settings: ConsumerSettings, options: ResolvedPlanOptions, keepsUp: boolean): Plan['latency'] {
  const { scheduleMs, handlerMs, eventsPerSecond, functionTimeoutMs, roundTripMs, wakes } = options
  const handledMs = pollMs(options) + handlerMs
  const waiting = (scheduleMs / 1_000) * eventsPerSecond
  const drainMs = (1_000 * waiting) / (pollersOf(settings, options) * speedOf(settings, options))
  // between two that listen nobody does
  const gapMs = listens(settings) ? Math.max(0, scheduleMs - runMs(settings, options)) : scheduleMs
  const waitMs = gapMs ** 2 / (2 * scheduleMs) + (gapMs > 0 ? drainMs / 2 : 0)
  // where a drain takes longer than the period, the last of it has waited longest
  const longestMs = gapMs > 0 ? Math.max(gapMs, drainMs) : 0
  const meanMs = wakes ? WAKE_MS + handledMs : waitMs + (listens(settings) ? roundTripMs + handlerMs : handledMs)
  return {
    meanMs: keepsUp ? Math.round(meanMs) : Infinity,
    // a wake-up may be lost; the schedule is not
    worstMs: keepsUp
      ? Math.round((listens(settings) ? Math.max(longestMs, KEPT_MS) : longestMs) + handledMs)
      : Infinity,
    // it was read just before its function was killed, or just after a claimer had looked
    afterCrashMs: Math.round(
      Math.max(functionTimeoutMs, settings.minIdleMs) + scheduleMs + claimMs(options) + handlerMs,
    ),
  }
}

function retriesOf(settings: ConsumerSettings, options: ResolvedPlanOptions): Plan['retries'] {
  const { scheduleMs, memoryMb, functionTimeoutMs, wakesClaimer } = options
  const isKept = wakesClaimer || (listens(settings) && runMs(settings, options) >= scheduleMs)
  const waiting = Math.min(1, functionTimeoutMs / scheduleMs)
  return {
    firstMs: isKept ? KEPT_MS : Math.max(KEPT_MS, Math.round(scheduleMs + claimMs(options))),
    laterMs: KEPT_MS,
    waitingGbSeconds: Math.round(MONTH_SECONDS * waiting * (memoryMb / 1_024)),
  }
}

function listens({ mode }: ConsumerSettings): boolean {
  return mode === 'listen'
}

function monthOf(
  settings: ConsumerSettings,
  options: ResolvedPlanOptions,
  rate: number,
  streams: number,
): Plan['month'] {
  const { scheduleMs, wakes, roundTripMs, handlerMs } = options
  const { batchSize, concurrency, mode } = settings
  const pollers = pollersOf(settings, options)
  const ticks = (1_000 * MONTH_SECONDS) / scheduleMs
  // publishers wake nobody else until that poller has started
  const wakeUps = wakes && rate > 0 ? MONTH_SECONDS / (1 / rate + WAKE_MS / 1_000) : 0
  const polls = ticks * pollers + wakeUps
  const eventsAPoll = (rate * MONTH_SECONDS) / polls
  const batches = polls * parts(eventsAPoll, batchSize)
  const rounds = polls * parts(eventsAPoll, concurrency)
  const workMs = polls * pollMs(options) + batches * roundTripMs + rounds * handlerMs
  const listenMs = listens(settings) ? ticks * pollers * runMs(settings, options) : 0
  const busyMs = Math.max(workMs, listenMs)
  const perBatch = mode === 'once' ? COMMANDS_PER_STEP.onlyBatch : COMMANDS_PER_STEP.drainBatch
  const listening =
    (listenMs / 1_000) * COMMANDS_PER_STEP.listenSecond * streams + rate * MONTH_SECONDS * COMMANDS_PER_STEP.listenEvent
  const poller = functionMonth(
    options,
    polls,
    busyMs,
    polls * COMMANDS_PER_STEP.idlePoll * streams +
      // of a set no read gives its slot back
      (streams > 1 ? polls * COMMANDS_PER_STEP.giveSlot * streams : 0) +
      Math.min(polls, batches) * COMMANDS_PER_STEP.giveSlot +
      (listens(settings) ? listening : batches * perBatch),
  )
  const claimer = functionMonth(options, ticks, ticks * claimMs(options), ticks * COMMANDS_PER_STEP.idleClaim * streams)
  const perEvent = COMMANDS_PER_STEP.publish + (wakes ? COMMANDS_PER_STEP.flag : 0)
  const publisherCommands = Math.round(options.eventsPerSecond * MONTH_SECONDS * perEvent)
  const month = { poller, claimer, publisherCommands, ticks: Math.round(ticks * (pollers + 1)) }
  return { ...month, price: priceOf(month, options.rates) }
}

function functionMonth(
  { memoryMb }: ResolvedPlanOptions,
  invocations: number,
  ms: number,
  redisCommands: number,
): FunctionMonth {
  return {
    invocations: Math.round(invocations),
    gbSeconds: Math.round((ms / 1_000) * (memoryMb / 1_024)),
    redisCommands: Math.round(redisCommands),
  }
}

function priceOf({ poller, claimer, publisherCommands, ticks }: Omit<Plan['month'], 'price'>, rates: Rates): Price {
  const { lambdaGbSecond, lambdaRequest, schedule, redisCommand } = rates
  const hasLambda = lambdaGbSecond !== undefined || lambdaRequest !== undefined
  const gbSeconds = poller.gbSeconds + claimer.gbSeconds
  const invocations = poller.invocations + claimer.invocations
  const commands = poller.redisCommands + claimer.redisCommands + publisherCommands
  return {
    ...(hasLambda && { lambda: gbSeconds * (lambdaGbSecond ?? 0) + invocations * (lambdaRequest ?? 0) }),
    ...(schedule !== undefined && { schedules: ticks * schedule }),
    ...(redisCommand !== undefined && { redis: commands * redisCommand }),
  }
}

function pollersOf({ maxPollers }: ConsumerSettings, { pollers }: ResolvedPlanOptions): number {
  return Math.min(pollers, maxPollers)
}

/** How many pollers may be at work on average: each starts nothing more once a handler could not end in time. */
function runningPollers(settings: ConsumerSettings, options: ResolvedPlanOptions): number {
  const ms = runMs(settings, options)
  if (ms === 0) return 0
  const scheduled = (pollersOf(settings, options) * ms) / options.scheduleMs
  return Math.min(settings.maxPollers, options.wakes ? Math.max(1, scheduled) : scheduled)
}

/** Milliseconds of an invocation in which handlers may start. */
function runMs({ maxRunMs, handlerTimeoutMs, reserveMs }: ConsumerSettings, options: ResolvedPlanOptions): number {
  return Math.max(0, Math.min(maxRunMs, options.functionTimeoutMs - handlerTimeoutMs - reserveMs))
}

/** Events a second of one poller at work: a batch after the other, each in rounds of `concurrency` handlers. */
function speedOf(
  { batchSize, concurrency }: ConsumerSettings,
  { handlerMs, roundTripMs }: ResolvedPlanOptions,
): number {
  return (1_000 * batchSize) / (Math.ceil(batchSize / concurrency) * handlerMs + roundTripMs)
}

function pollMs({ roundTripMs }: ResolvedPlanOptions): number {
  return RUNTIME_MS + IDLE_ROUND_TRIPS.idlePoll * roundTripMs
}

function claimMs({ roundTripMs }: ResolvedPlanOptions): number {
  return RUNTIME_MS + IDLE_ROUND_TRIPS.idleClaim * roundTripMs
}

/** Into how many parts so many go; less than one is there so seldom. */
function parts(count: number, size: number): number {
  return count < 1 ? count : Math.ceil(count / size)
}

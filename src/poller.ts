import { systemClock } from './clock.ts'
import type { Consumer } from './consumer.ts'
import type { PollMode } from './consumer-settings.ts'
import { ageOf } from './core/entry.ts'
import type { Delivery, Settlement } from './group/group.ts'
import { deployedConsumers } from './lambda/event-source.ts'
import { hopOf } from './lambda/hop.ts'
import type { ScheduledHandler } from './lambda/scheduled.ts'
import { createScheduledHandler } from './lambda/scheduled.ts'
import type { Report } from './report.ts'
import type { RunKind } from './run/consumers.ts'
import { runConsumers } from './run/consumers.ts'
import { Lookout } from './run/lookout.ts'
import { Pool } from './run/pool.ts'
import type { Run } from './run/run.ts'
import type { ScaleOut } from './run/scale-out.ts'
import { assertScaleOut, FurtherPollers } from './run/scale-out.ts'
import type { RunOptions, RunTarget } from './run/targets.ts'
import { RUN_OPTIONS, resolveTargets, TARGET_OPTIONS } from './run/targets.ts'

/** Where a poller finds its server, and what it does otherwise than its consumers say. */
interface PollerTarget extends RunTarget {
  /** `drain` reads until nothing is left or time is up, `once` reads one batch. Default: the consumer's. */
  readonly mode?: PollMode
  /** Milliseconds after which nothing new is read or started. Default: the consumer's. */
  readonly maxRunMs?: number
}

/** A poller's options. */
export interface PollerOptions extends PollerTarget {
  /** How it calls further pollers, as `invokeSelf()` of `millrace/lambda`. Default: it does not; schedules alone do. */
  readonly scaleOut?: ScaleOut
}

/** One poll: a poller's target, and the time and the signal that Lambda would give. */
export interface PollOptions extends PollerTarget, RunOptions {}

/**
 * Makes the Lambda handler that polls one or several consumers: reads new entries, runs their handlers, and settles them, until the
 * consumer's mode or the time says stop. It resolves to the report.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function createPoller(
  consumers: Consumer | readonly Consumer[],
  options: PollerOptions,
): ScheduledHandler<Report> {
  const action = 'create poller'
  const own = resolveTargets(action, consumers, options, [...TARGET_OPTIONS, 'mode', 'maxRunMs', 'scaleOut'])
  const targets = deployedConsumers(own, process.env)
  const { scaleOut } = options
  if (scaleOut !== undefined) assertScaleOut(action, scaleOut)
  return createScheduledHandler('poll', (event, context) => {
    const further = scaleOut && new FurtherPollers(scaleOut, hopOf(event), context, options.clock ?? systemClock)
    return runConsumers(POLL, targets, { ...options, context, further })
  })
}

/**
 * Polls once, outside Lambda or below it: what the handler of `createPoller` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function poll(consumers: Consumer | readonly Consumer[], options: PollOptions): Promise<Report> {
  return runConsumers(POLL, resolveTargets('poll', consumers, options, [...RUN_OPTIONS, 'mode', 'maxRunMs']), options)
}

const POLL: RunKind = { action: 'poll', slot: 'poller', slots: ({ settings }) => settings.slots, work: pollUntilDone }

/** What calls others is waited for last: nothing that is settled waits for it. */
async function pollUntilDone(run: Run): Promise<void> {
  const lookout = new Lookout(run)
  try {
    await readAndRun(run, lookout)
  } finally {
    await lookout.end()
  }
  run.isCutOff &&= run.isSound
}

/** How soon the stream is looked at again for events that others wait for; each look in vain doubles the wait. After a full read, at once. */
const LOOK_AGAIN_MS = { first: 50, last: 1_000 }

/** Reading ahead pays while handlers take no longer than so many requests; slower ones would keep from other pollers what waits for them. */
const AHEAD_REQUESTS = 10

/**
 * Reads, and reads on once all that was read is done, or while events wait for others and there is room for more; while handlers are fast, the
 * next read is under way meanwhile. What is done is settled with the next read; what is left when the run ends is settled by itself, and so is
 * what did not end in time.
 */
async function readAndRun(run: Run, lookout: Lookout): Promise<void> {
  const { clock, consumer } = run.parts
  const { batchSize, mode } = consumer.settings
  const settling: Promise<void>[] = []
  const pool = new Pool(run, true, () => settling.push(run.settleMeanwhile(pool.takeDone())))
  const reader = new Reader(run, lookout)
  const end = async () => {
    pool.fill()
    await pool.until(() => pool.isIdle)
    await Promise.all(settling)
    return pool.takeDone()
  }
  await run.holding(
    () => [...pool.held, ...reader.ahead],
    async () => {
      try {
        let pauseMs = LOOK_AGAIN_MS.first
        let handlersMs = Infinity
        while (run.mayStart() && !run.isHeldBack) {
          const isAhead = reader.isAhead
          const entries = isAhead ? await reader.takeAhead() : await reader.read(pool.takeDone())
          // what was read ahead says nothing of what came while its handlers ran
          if (entries.length === 0 && pool.isIdle && !isAhead) break
          const isFull = entries.length === batchSize
          const addedAt = clock.monotonic()
          // sent before handlers start, so that the server is at work meanwhile
          if (isFull && pool.isIdle) reader.readAhead(pool, handlersMs)
          pool.add(entries)
          if (isFull && !reader.isAhead && reader.mayReadAhead(handlersMs)) {
            // no more than two batches are under our name, whatever still runs of the one before
            await pool.until(() => pool.open <= batchSize)
            reader.readAhead(pool, handlersMs)
          }
          pauseMs = entries.length > 0 ? LOOK_AGAIN_MS.first : Math.min(pauseMs * 2, LOOK_AGAIN_MS.last)
          if (reader.isAhead) await pool.until(() => pool.hasRoom)
          else await wanting(pool, run, isFull ? 0 : pauseMs)
          handlersMs = clock.monotonic() - addedAt
          if (mode === 'once' && pool.isIdle) break
        }
        // it runs where there is time after all, else it is released
        pool.add(await reader.takeAhead())
      } catch (error) {
        run.stop()
        await run.settle(await end()).catch(() => {})
        throw error
      }
      await run.settle(await end())
    },
  )
}

/** Resolves once all is done; or, where events wait for others, after that long, when there is room for more. */
async function wanting(pool: Pool, run: Run, pauseMs: number): Promise<void> {
  let isTime = pauseMs === 0
  const cancel = run.parts.clock.after(pauseMs, () => {
    isTime = true
    pool.notify()
  })
  await pool.until(
    () => pool.isIdle || (pool.isGathering && isTime && pool.hasRoom) || (pool.isGathering && !run.mayWait() && isTime),
  )
  cancel()
}

/** Reads a stream on, settling with each read what is done by then. */
class Reader {
  /** What a read ahead brought, until it is taken. */
  ahead: readonly Delivery[] = []
  readonly #run: Run
  readonly #lookout: Lookout
  /** An event of a batch route is handed over with those of its own read, and a death would use up the only delivery of two batches. */
  readonly #neverAhead: boolean
  /** What is pending grows by failures alone, so it is looked at by the first read and by those that follow them. */
  #mayBeFull = true
  /** Something failed of what was settled last, so that more may: reading ahead could go further above `maxPending`. */
  #hasFailed = false
  /** The read that is under way while handlers run. */
  #reading: Promise<readonly Delivery[]> | undefined
  /** Milliseconds of the shortest read that was waited for. */
  #requestMs = Infinity

  constructor(run: Run, lookout: Lookout) {
    const { routes, settings } = run.parts.consumer
    this.#run = run
    this.#lookout = lookout
    this.#neverAhead =
      settings.mode !== 'drain' || settings.maxDeliveries === 1 || [...routes.values()].some(({ batching }) => batching)
  }

  /** A read ahead was sent and what it brings has yet to be taken. */
  get isAhead(): boolean {
    return this.#reading !== undefined
  }

  /** @param handlersMs What the handlers of the last batch took. */
  mayReadAhead(handlersMs: number): boolean {
    if (this.#neverAhead || this.#mayBeFull || this.#hasFailed || this.#run.isHeldBack || this.#reading) return false
    if (handlersMs > this.#requestMs * AHEAD_REQUESTS) return false
    const { clock, consumer } = this.#run.parts
    return this.#run.mayStart(clock.monotonic() + handlersMs + consumer.settings.handlerTimeoutMs)
  }

  /** Sends a read, if it may, whose entries are ours from its reply on and wait for those in hand. */
  readAhead(pool: Pool, handlersMs: number): void {
    if (!pool.hasOnlyAcks || !this.mayReadAhead(handlersMs)) return
    this.#reading = this.#read(pool.takeDone(), true).then((entries) => {
      this.ahead = entries
      return entries
    })
    this.#reading.catch(() => this.#run.stop()) // thrown where it is taken
  }

  /** What was read ahead, if anything was. Its handlers are next. */
  async takeAhead(): Promise<readonly Delivery[]> {
    try {
      return (await this.#reading) ?? []
    } finally {
      this.#reading = undefined
      this.ahead = []
    }
  }

  async read(settlements: readonly Settlement[]): Promise<readonly Delivery[]> {
    const { clock } = this.#run.parts
    const sentAt = clock.monotonic()
    const entries = await this.#read(settlements, false)
    this.#requestMs = Math.min(this.#requestMs, clock.monotonic() - sentAt)
    return entries
  }

  async #read(settlements: readonly Settlement[], isAhead: boolean): Promise<readonly Delivery[]> {
    const { group, slot, report, consumer, clock, observers, invocation } = this.#run.parts
    const { batchSize, maxPending, mode } = consumer.settings
    this.#hasFailed = settlements.some(({ outcome }) => outcome.kind !== 'ack')
    this.#mayBeFull ||= this.#hasFailed
    const request = { count: batchSize, maxPending: this.#mayBeFull ? maxPending : undefined }
    const read = group.settleAndRead(slot, settlements, request)
    const { entries, failures, held, healed } = await this.#run.settleBy(settlements, read)
    this.#mayBeFull = held
    report.held ||= held
    report.healed ||= healed
    report.drained = entries.length === 0 && failures.length === 0 && !held && !isAhead
    const isFull = entries.length === batchSize
    this.#run.isCutOff = isFull && mode !== 'once'
    const last = entries.at(-1)
    if (!last) return entries
    report.read += entries.length
    report.batches++
    report.iteratorAgeMs = Math.max(report.iteratorAgeMs ?? 0, ageOf(last.id, clock.now()))
    const { stream, group: name } = consumer
    observers?.tell('entriesRead', { invocation, stream, group: name, entryIds: entries.map(({ id }) => id) })
    if (isFull) this.#lookout.look()
    return entries
  }
}

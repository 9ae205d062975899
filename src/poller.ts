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
import { Batch } from './run/batch.ts'
import type { RunKind } from './run/consumers.ts'
import { runConsumers } from './run/consumers.ts'
import { Lookout } from './run/lookout.ts'
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

/** The settlement of a batch travels with the next read; what is left when the run ends is settled by itself. */
async function readAndRun(run: Run, lookout: Lookout): Promise<void> {
  const reader = new Reader(run, lookout)
  while (run.mayStart() && !run.isHeldBack) {
    const entries = await reader.read()
    if (entries.length === 0) return
    await runBatch(entries, run, reader)
    if (run.parts.consumer.settings.mode === 'once') break
  }
  await run.settle(reader.take())
}

/** Reads a stream on, settling with each read what is done by then. */
class Reader {
  readonly #run: Run
  readonly #lookout: Lookout
  #done: Settlement[] = []
  /** What is pending grows by failures alone, so it is looked at by the first read and by those that follow them. */
  #mayBeFull = true

  constructor(run: Run, lookout: Lookout) {
    this.#run = run
    this.#lookout = lookout
  }

  /** What is to be settled with the next read, or else when the run ends. */
  add(settlements: readonly Settlement[]): void {
    this.#done.push(...settlements)
    this.#mayBeFull ||= settlements.some(({ outcome }) => outcome.kind !== 'ack')
  }

  take(): readonly Settlement[] {
    return this.#done.splice(0)
  }

  async read(): Promise<readonly Delivery[]> {
    const { group, slot, report, consumer, clock, observers, invocation } = this.#run.parts
    const { batchSize, maxPending, mode } = consumer.settings
    const settlements = this.take()
    const request = { count: batchSize, maxPending: this.#mayBeFull ? maxPending : undefined }
    const read = group.settleAndRead(slot, settlements, request)
    const { entries, failures, held, healed } = await this.#run.settleBy(settlements, read)
    this.#mayBeFull = held
    report.held ||= held
    report.healed ||= healed
    report.drained = entries.length === 0 && failures.length === 0 && !held
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

/** How soon the stream is looked at again for events that others wait for; each look in vain doubles the wait. After a full read, at once. */
const LOOK_AGAIN_MS = { first: 50, last: 1_000 }

/** Runs what was read, and reads on while some of it waits for others to be handed over with. */
async function runBatch(entries: readonly Delivery[], run: Run, reader: Reader): Promise<void> {
  const { batchSize } = run.parts.consumer.settings
  const batch = new Batch(run)
  await run.holding(
    () => batch.held,
    async () => {
      batch.add(entries)
      try {
        let read = entries
        let pauseMs = LOOK_AGAIN_MS.first
        while (await batch.mayTakeMoreAfter(read.length === batchSize ? 0 : pauseMs)) {
          reader.add(batch.takeDone())
          read = await reader.read()
          pauseMs = read.length > 0 ? LOOK_AGAIN_MS.first : Math.min(pauseMs * 2, LOOK_AGAIN_MS.last)
          batch.add(read)
        }
      } catch (error) {
        run.stop()
        await run.settle(await batch.end()).catch(() => {})
        throw error
      }
      reader.add(await batch.end())
    },
  )
}

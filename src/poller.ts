import { systemClock } from './clock.ts'
import type { Consumer } from './consumer.ts'
import type { PollMode } from './consumer-settings.ts'
import type { Entry } from './core/entry.ts'
import type { Settlement } from './group/group.ts'
import { deployedConsumers } from './lambda/event-source.ts'
import { hopOf } from './lambda/hop.ts'
import type { ScheduledHandler } from './lambda/scheduled.ts'
import { createScheduledHandler } from './lambda/scheduled.ts'
import type { Report } from './report.ts'
import { runBatch } from './run/batch.ts'
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
  return createScheduledHandler((event, context) => {
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

/**
 * The settlement of a batch travels with the next read; what is left when the run ends is settled by itself. What is pending grows by
 * failures alone, so it is looked at by the first read and by those that follow them.
 */
async function readAndRun(run: Run, lookout: Lookout): Promise<void> {
  const { group, slot, report, consumer, clock } = run.parts
  const { batchSize, maxPending, mode } = consumer.settings
  let settlements: Settlement[] = []
  let mayBeFull = true
  while (run.mayStart()) {
    const request = { count: batchSize, maxPending: mayBeFull ? maxPending : undefined }
    const read = group.settleAndRead(slot, settlements, request)
    const { entries, failures, held, healed } = await run.settleBy(settlements.length, read)
    settlements = []
    report.held ||= held
    report.healed ||= healed
    report.drained = entries.length === 0 && failures.length === 0 && !held
    run.isCutOff = false
    if (entries.length === 0) return
    report.read += entries.length
    report.batches++
    report.iteratorAgeMs = Math.max(report.iteratorAgeMs ?? 0, ageOf(entries.at(-1), clock.now()))
    const isFull = entries.length === batchSize
    if (isFull) lookout.look()
    settlements = await run.holding(
      () => entries,
      () => runBatch(entries, run),
    )
    mayBeFull = settlements.some(({ outcome }) => outcome.kind !== 'ack')
    if (mode === 'once') break
    run.isCutOff = isFull
  }
  await run.settle(settlements)
}

/** Milliseconds since an entry was published, by its id. */
function ageOf(entry: Entry | undefined, now: number): number {
  return entry ? Math.max(0, now - Number.parseInt(entry.id, 10)) : 0
}

import type { Consumer, PollMode } from './consumer.ts'
import { overrideRun } from './consumer.ts'
import { object, refuseUnknownKeys } from './core/options.ts'
import type { Settlement } from './group/group.ts'
import type { ScheduledHandler } from './lambda/scheduled.ts'
import { createScheduledHandler } from './lambda/scheduled.ts'
import type { Report } from './report.ts'
import { runBatch } from './run/batch.ts'
import type { RunKind, RunOptions } from './run/consumers.ts'
import { runConsumers } from './run/consumers.ts'
import type { Run } from './run/run.ts'
import { asConsumers } from './run/targets.ts'

/** What a poller may do otherwise than its consumers say. */
export interface PollerOptions extends Pick<RunOptions, 'redis' | 'clock'> {
  /** Default: the consumer's. */
  readonly mode?: PollMode
  /** Milliseconds after which nothing new is read or started. Default: the consumer's. */
  readonly maxRunMs?: number
}

export interface PollOptions extends PollerOptions, RunOptions {}

const POLLER_OPTIONS = ['redis', 'clock', 'mode', 'maxRunMs']

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
  const list = targets('create poller', consumers, options, POLLER_OPTIONS)
  return createScheduledHandler((context, remainingMs) =>
    runConsumers(POLL, list, {
      redis: options.redis,
      context,
      ...(options.clock && { clock: options.clock }),
      ...(remainingMs !== undefined && { remainingMs }),
    }),
  )
}

/**
 * Polls once, outside Lambda or below it: what the handler of `createPoller` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function poll(consumers: Consumer | readonly Consumer[], options: PollOptions): Promise<Report> {
  return runConsumers(
    POLL,
    targets('poll', consumers, options, [...POLLER_OPTIONS, 'remainingMs', 'signal', 'context']),
    options,
  )
}

const POLL: RunKind = { action: 'poll', slot: 'poller', slots: ({ settings }) => settings.slots, work: readAndRun }

/** The settlement of a batch travels with the next read; what is left when the run ends is settled by itself. */
async function readAndRun(run: Run): Promise<void> {
  const { group, slot, report, consumer } = run.parts
  const { batchSize, mode } = consumer.settings
  let settlements: Settlement[] = []
  while (run.mayStart()) {
    const { entries, failures, healed } = await run.settleBy(
      settlements.length,
      group.settleAndRead(slot, settlements, batchSize),
    )
    settlements = []
    report.healed ||= healed
    report.drained = entries.length === 0 && failures.length === 0
    if (entries.length === 0) return
    report.read += entries.length
    report.batches++
    run.held = entries
    settlements = await runBatch(entries, run)
    if (mode === 'once') break
  }
  await run.settle(settlements)
}

function targets(
  action: string,
  consumers: Consumer | readonly Consumer[],
  options: PollerOptions,
  known: readonly string[],
): Consumer[] {
  object(action, 'options', options)
  refuseUnknownKeys(action, options, known)
  return asConsumers(action, consumers, options.redis).map((consumer) => overrideRun(action, consumer, options))
}

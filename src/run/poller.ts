import { systemClock } from '../clock.ts'
import type { Consumer, ConsumerSet } from '../define/consumer.ts'
import type { PollMode } from '../define/consumer-settings.ts'
import type { Report } from '../report.ts'
import type { ClaimerWake } from './claimer-wake.ts'
import { assertClaimerWake } from './claimer-wake.ts'
import type { PollOrClaimRun } from './consumer-run.ts'
import { applyDeployedSettings } from './event-source.ts'
import { feedNewEntries } from './feed/feed-new-entries.ts'
import { listening } from './feed/listening.ts'
import { readHopCount } from './hop.ts'
import { runConsumers } from './invocation.ts'
import type { Listening } from './listening.ts'
import { assertListening } from './listening.ts'
import type { Run } from './run.ts'
import type { ScaleOut } from './scale-out.ts'
import { assertScaleOut, FurtherPollers } from './scale-out.ts'
import type { ScheduledHandler } from './scheduled.ts'
import { createScheduledHandler } from './scheduled.ts'
import type { RunOptions, RunSurroundings } from './targets.ts'
import { HANDLER_OPTION_NAMES, RUN_OPTION_NAMES, resolveRunConsumers } from './targets.ts'

/** Where a poller finds its server, and what it does otherwise than its consumers say. */
interface PollerTarget extends RunSurroundings {
  /** `drain` reads until nothing is left or time is up, `once` reads one batch, `listen` goes on until time is up. Default: the consumer's. */
  readonly mode?: PollMode
  /** Milliseconds after which nothing new is read or started. Default: the consumer's. */
  readonly maxRunMs?: number
  /** Milliseconds for which a poller that was woken goes on listening after its last entry. Default: the consumer's. */
  readonly lingerMs?: number
}

/** A poller's options. */
export interface PollerOptions extends PollerTarget {
  /** How it calls further pollers, as `invokeSelf()` of `millrace/lambda`. Default: it does not; only schedules do. */
  readonly scaleOut?: ScaleOut
  /** How it wakes the claimer for what failed, as `wakeClaimer()` of `millrace/lambda`, so that retries start when they are due. Default: it does not; the claimer's schedule finds them. */
  readonly wake?: ClaimerWake
  /** How it listens: `listening()`. Needed for mode `listen` and for `lingerMs`; `poll` has it by itself. */
  readonly listen?: Listening
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
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: PollerOptions,
): ScheduledHandler<Report> {
  const action = 'create poller'
  const own = resolveRunConsumers(action, consumers, options, [
    ...HANDLER_OPTION_NAMES,
    ...POLLER_NAMES,
    'scaleOut',
    'wake',
    'listen',
  ])
  const targets = applyDeployedSettings(own, process.env, options.redis)
  const { scaleOut, wake: claimerWake, listen } = options
  assertListening(action, listen, targets)
  const run = pollRun(listen)
  if (claimerWake !== undefined) assertClaimerWake(action, claimerWake)
  if (scaleOut !== undefined) assertScaleOut(action, scaleOut)
  return createScheduledHandler('poll', (event, context) => {
    const hop = readHopCount(event)
    const further = scaleOut && new FurtherPollers(scaleOut, hop ?? 0, context, options.clock ?? systemClock)
    const lingerMs = (consumer: Consumer) => listenMs(consumer, hop)
    return runConsumers(run, targets, { ...options, context, further, claimerWake, lingerMs })
  })
}

/**
 * Polls once, outside Lambda or below it: what the handler of `createPoller` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function poll(
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: PollOptions,
): Promise<Report> {
  const targets = resolveRunConsumers('poll', consumers, options, [...RUN_OPTION_NAMES, ...POLLER_NAMES])
  const hop = options.lingerMs === undefined ? undefined : 0
  return runConsumers(pollRun(listening()), targets, { ...options, lingerMs: (consumer) => listenMs(consumer, hop) })
}

const POLLER_NAMES = ['mode', 'maxRunMs', 'lingerMs']

/**
 * Milliseconds for which a poller listens after its last entry; 0: it does not.
 *
 * @param hop Calls that led to it: 0 for one that somebody woke, `undefined` for a schedule's. One that another poller called deals with a backlog.
 */
function listenMs({ settings: { mode, lingerMs } }: Consumer, hop: number | undefined): number {
  if (hop === undefined) return mode === 'listen' ? Infinity : 0
  return hop === 0 && mode !== 'once' ? lingerMs : 0
}

function pollRun(listening: Listening | undefined): PollOrClaimRun {
  return {
    action: 'poll',
    async open({ group, consumer, leaseMs }) {
      const slot = await group.takeSlot('poller', consumer.settings.maxPollers, leaseMs)
      const work = (run: Run) => (listening && run.parts.lingerMs > 0 ? listening.listen(run) : feedNewEntries(run))
      return slot && { slot, work }
    },
  }
}

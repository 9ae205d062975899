import { assertKnownOptions, assertNumber } from '../core/options.ts'
import type { Consumer, ConsumerSet } from '../define/consumer.ts'
import type { Report } from '../report.ts'
import type { ClaimerWake } from './claimer-wake.ts'
import { assertClaimerWake } from './claimer-wake.ts'
import type { PollOrClaimRun } from './consumer-run.ts'
import { applyDeployedSettings } from './event-source.ts'
import { feedRetries as feedLeftBehind, openClaimerSlot } from './feed/feed-retries.ts'
import { createIsolationGate } from './feed/isolation-gate.ts'
import { runConsumers } from './invocation.ts'
import type { ScheduledHandler } from './scheduled.ts'
import { createScheduledHandler } from './scheduled.ts'
import type { RunOptions, RunSurroundings } from './targets.ts'
import { HANDLER_OPTION_NAMES, RUN_OPTION_NAMES, resolveRunConsumers } from './targets.ts'

interface ClaimerTarget extends RunSurroundings {
  /**
   * Milliseconds, 0 or more, that may pass until the next retry is due for a run to wait for it, as far as its time allows. Waiting costs no command; on Lambda it costs its time.
   * Default `Infinity`.
   */
  readonly lingerMs?: number
}

/** Where a claimer finds its server, and how long it waits for what is due next. */
export interface ClaimerOptions extends ClaimerTarget {
  /** How it wakes another claimer for what is due once its own time is up, as `wakeClaimer()` of `millrace/lambda`. Default: it does not; its schedule goes on. */
  readonly wake?: ClaimerWake
}

/** One claim: a claimer's target, and the time and the signal that Lambda would give. */
export interface ClaimOptions extends ClaimerTarget, RunOptions {}

/**
 * Makes the Lambda handler that claims what was left behind: it retries failed entries once they are due, takes over what a dead process
 * held, and dead-letters what has used up its deliveries. Where a retry is due before its time is up, it waits for that. It resolves to the report.
 *
 * @throws {TypeError} A bad option.
 */
export function createClaimer(
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: ClaimerOptions,
): ScheduledHandler<Report> {
  const action = 'create claimer'
  assertKnownOptions(action, options, [...HANDLER_OPTION_NAMES, 'lingerMs', 'wake'])
  const { lingerMs: waitMs, wake: claimerWake, ...own } = options
  if (claimerWake !== undefined) assertClaimerWake(action, claimerWake)
  const targets = applyDeployedSettings(
    resolveRunConsumers(action, consumers, own, HANDLER_OPTION_NAMES),
    process.env,
    options.redis,
  )
  const lingerMs = lingersFor(action, waitMs)
  return createScheduledHandler('claim', (_event, context) =>
    runConsumers(claiming(targets), targets, { ...own, context, claimerWake, lingerMs }),
  )
}

/**
 * Claims once, outside Lambda or below it: what the handler of `createClaimer` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function claim(
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: ClaimOptions,
): Promise<Report> {
  assertKnownOptions('claim', options, [...RUN_OPTION_NAMES, 'lingerMs'])
  const { lingerMs: waitMs, ...own } = options
  const targets = resolveRunConsumers('claim', consumers, own, RUN_OPTION_NAMES)
  return runConsumers(claiming(targets), targets, { ...own, lingerMs: lingersFor('claim', waitMs) })
}

function lingersFor(action: string, lingerMs = Infinity): () => number {
  assertNumber(action, 'lingerMs', lingerMs, 0)
  return () => lingerMs
}

/**
 * The claimers of one invocation: what may kill the process runs while nothing else does, whichever consumer it is of. In every other invocation it
 * goes first, so that neither starves the other where there is time for one of them only.
 */
function claiming(consumers: readonly Consumer[]): PollOrClaimRun {
  const gate = createIsolationGate(consumers.length, Math.random() < 0.5)
  return {
    action: 'claim',
    async open(request) {
      const opened = await openClaimerSlot(request).catch((error: unknown) => {
        gate.pass()
        throw error
      })
      if (!opened) gate.pass()
      return opened && { slot: opened.slot, work: (run) => feedLeftBehind(run, gate, opened.page) }
    },
  }
}

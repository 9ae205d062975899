import type { Consumer } from '../define/consumer.ts'
import type { Report } from '../report.ts'
import type { PollOrClaimRun } from './consumer-run.ts'
import { applyDeployedSettings } from './event-source.ts'
import { feedRetries as feedLeftBehind, openClaimerSlot } from './feed/feed-retries.ts'
import { createIsolationGate } from './feed/isolation-gate.ts'
import { runConsumers } from './invocation.ts'
import type { ScheduledHandler } from './scheduled.ts'
import { createScheduledHandler } from './scheduled.ts'
import type { RunOptions, RunSurroundings } from './targets.ts'
import { HANDLER_OPTION_NAMES, RUN_OPTION_NAMES, resolveRunConsumers } from './targets.ts'

/** Where a claimer finds its server. */
export interface ClaimerOptions extends RunSurroundings {}

/**
 * Makes the Lambda handler that claims what was left behind: it retries failed entries once they are due, takes over what a dead process
 * held, and dead-letters what has used up its deliveries. It resolves to the report.
 *
 * @throws {TypeError} A bad option.
 */
export function createClaimer(
  consumers: Consumer | readonly Consumer[],
  options: ClaimerOptions,
): ScheduledHandler<Report> {
  const targets = applyDeployedSettings(
    resolveRunConsumers('create claimer', consumers, options, HANDLER_OPTION_NAMES),
    process.env,
    options.redis,
  )
  return createScheduledHandler('claim', (_event, context) =>
    runConsumers(claiming(targets), targets, { ...options, context }),
  )
}

/**
 * Claims once, outside Lambda or below it: what the handler of `createClaimer` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function claim(consumers: Consumer | readonly Consumer[], options: RunOptions): Promise<Report> {
  const targets = resolveRunConsumers('claim', consumers, options, RUN_OPTION_NAMES)
  return runConsumers(claiming(targets), targets, options)
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

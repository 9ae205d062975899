import type { Consumer } from './consumer.ts'
import { compareEntryIds } from './core/entry.ts'
import { CLAIMER_SLOTS } from './group/consumer-names.ts'
import type { Settlement } from './group/group.ts'
import { claimsOf } from './group/redis-claims.ts'
import { PAGE } from './group/scripts/claim-page.ts'
import { deployedConsumers } from './lambda/event-source.ts'
import type { ScheduledHandler } from './lambda/scheduled.ts'
import { createScheduledHandler } from './lambda/scheduled.ts'
import type { Report } from './report.ts'
import type { RunKind } from './run/consumers.ts'
import { runConsumers } from './run/consumers.ts'
import type { Gate } from './run/gate.ts'
import { createGate } from './run/gate.ts'
import { retryPage } from './run/page.ts'
import { roundsLeft } from './run/rounds.ts'
import type { Run } from './run/run.ts'
import type { RunOptions, RunTarget } from './run/targets.ts'
import { RUN_OPTIONS, resolveTargets, TARGET_OPTIONS } from './run/targets.ts'
import { Pace } from './run/window.ts'

/** Where a claimer finds its server. */
export interface ClaimerOptions extends RunTarget {}

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
  const targets = deployedConsumers(resolveTargets('create claimer', consumers, options, TARGET_OPTIONS), process.env)
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
  const targets = resolveTargets('claim', consumers, options, RUN_OPTIONS)
  return runConsumers(claiming(targets), targets, options)
}

/** The claimers of one invocation: what may kill the process runs while nothing else does, whichever consumer it is of. */
function claiming(consumers: readonly Consumer[]): RunKind {
  const gate = createGate(consumers.length > 1)
  return { action: 'claim', slot: 'claimer', slots: () => CLAIMER_SLOTS, work: (run) => claimOneLap(run, gate) }
}

/**
 * Goes through the pending entries once, page by page, from where the last run stopped to the end and then from the start to there. The
 * cursor moves past a page once the page was dealt with; what is left of a page is settled with the claim of the next.
 */
async function claimOneLap(run: Run, gate: Gate): Promise<void> {
  const { group, slot, report, consumer } = run.parts
  const { minIdleMs, concurrency, handlerTimeoutMs } = consumer.settings
  const claims = claimsOf(group)
  const pace = new Pace(concurrency, handlerTimeoutMs)
  const lap = { claims, pace, gate }
  let settlements: Settlement[] = []
  let lapStart: string | undefined
  let cursor: string | undefined
  let wrapped = false
  for (let rounds = roundsLeft(run); rounds > 0; rounds = roundsLeft(run)) {
    const request = { minIdleMs, cursor, room: Math.min(PAGE.finds, Math.max(concurrency * rounds, pace.entries)) }
    const claim = claims.settleAndClaim(slot, settlements, request)
    const page = await run.settleBy(settlements, claim)
    settlements = []
    report.lost += page.lost
    report.healed ||= page.healed
    if (page.cursor === undefined) return
    lapStart ??= page.from
    cursor = page.from
    const retried = await retryPage(run, lap, page.claimed)
    settlements = retried.settlements
    cursor = retried.firstLeft ?? page.cursor
    if (retried.firstLeft) break
    const isEnd = cursor === '0-0'
    report.drained = wrapped ? isEnd || compareEntryIds(cursor, lapStart) >= 0 : isEnd && lapStart === '0-0'
    if (report.drained) break
    wrapped ||= isEnd
  }
  await run.settle(settlements)
  if (cursor !== undefined) await claims.finishClaims(slot, cursor, minIdleMs, report.acked > report.ackMissed)
  const measured = await group.measure().catch((error: Error) => {
    if (run.failures.length === 0) run.note(error) // else it has been said what the server refuses
  })
  if (measured) report.backlog = measured.backlog
}

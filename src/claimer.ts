import type { Consumer } from './consumer.ts'
import { chunksOf } from './core/chunks.ts'
import { compareEntryIds } from './core/entry.ts'
import { PARKED } from './core/keys.ts'
import { CLAIMER_SLOTS } from './group/consumer-names.ts'
import type { Claimed, Settlement } from './group/group.ts'
import type { ScheduledHandler } from './lambda/scheduled.ts'
import { createScheduledHandler } from './lambda/scheduled.ts'
import type { Report } from './report.ts'
import { runBatch } from './run/batch.ts'
import type { RunKind } from './run/consumers.ts'
import { runConsumers } from './run/consumers.ts'
import type { Run } from './run/run.ts'
import type { RunOptions, RunTarget } from './run/targets.ts'
import { RUN_OPTIONS, resolveTargets, TARGET_OPTIONS } from './run/targets.ts'

/** Where a claimer finds its server. */
export interface ClaimerOptions extends RunTarget {}

/** Pending entries a page; the server looks at ten times as many to find them. */
const PAGE = 100

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
  const targets = resolveTargets('create claimer', consumers, options, TARGET_OPTIONS)
  return createScheduledHandler((context) => runConsumers(CLAIM, targets, { ...options, context }))
}

/**
 * Claims once, outside Lambda or below it: what the handler of `createClaimer` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function claim(consumers: Consumer | readonly Consumer[], options: RunOptions): Promise<Report> {
  return runConsumers(CLAIM, resolveTargets('claim', consumers, options, RUN_OPTIONS), options)
}

const CLAIM: RunKind = { action: 'claim', slot: 'claimer', slots: () => CLAIMER_SLOTS, work: claimOneLap }

/**
 * Goes through the pending entries once, page by page, from where the last run stopped to the end and then from the start to there. The
 * cursor moves past a page once the page was dealt with.
 */
async function claimOneLap(run: Run): Promise<void> {
  const { group, slot, report, consumer } = run.parts
  const { minIdleMs, concurrency } = consumer.settings
  let lapStart: string | undefined
  let cursor: string | undefined
  let wrapped = false
  for (let rounds = run.roundsLeft(); rounds > 0; rounds = run.roundsLeft()) {
    const room = Math.min(PAGE, concurrency * rounds)
    const page = await group.claim(slot, { minIdleMs, cursor, room })
    report.lost += page.lost
    report.healed ||= page.healed
    if (page.cursor === undefined) return
    lapStart ??= page.from
    cursor = page.from
    if (!(await retryPage(run, page.claimed))) break
    cursor = page.cursor
    const isEnd = cursor === '0-0'
    report.drained = wrapped ? isEnd || compareEntryIds(cursor, lapStart) >= 0 : isEnd && lapStart === '0-0'
    if (report.drained) break
    wrapped ||= isEnd
  }
  if (cursor !== undefined) await group.finishClaims(slot, cursor, minIdleMs)
}

/** @returns Whether every entry of the page was dealt with. */
async function retryPage(run: Run, claimed: readonly Claimed[]): Promise<boolean> {
  if (claimed.length === 0) return true
  const { group, slot, report, consumer, clock, gate } = run.parts
  const { maxDeliveries } = consumer.settings
  report.claimed += claimed.length
  report.batches++
  const takenAt = clock.monotonic()
  const toldTime = (settlement: Settlement) => withIdleTime(settlement, clock.monotonic() - takenAt)
  const usedUp = claimed.filter(({ deliveryCount }) => deliveryCount >= maxDeliveries)
  let settlements = usedUp.map((entry) => buried(entry, clock.now()))
  let waiting = claimed.filter(({ deliveryCount }) => deliveryCount < maxDeliveries)
  let isCutOff = false
  for (const { entries, isAlone, isTrusted } of wavesOf(waiting, consumer)) {
    if (!run.mayStart()) break
    run.held = [...settlements, ...waiting]
    await gate[isAlone ? 'alone' : 'together'](async () => {
      // the last round is the suspects', or slow failing entries before them could take all the time of every run
      const isTaken = isTrusted && run.roundsLeft() < 2 && waiting.some((entry) => !isAboveSuspicion(entry))
      if (isTaken || !run.mayStart()) return
      const atStake = settlements.length + waiting.length
      const { started } = await run.settleBy(atStake, group.settleAndStart(slot, settlements, entries))
      waiting = waiting.filter((entry) => !entries.includes(entry))
      run.held = [...started, ...waiting]
      settlements = (await runBatch(started, run)).map(toldTime)
      isCutOff ||= settlements.some(({ outcome }) => outcome.kind === 'release')
      if (!gate.isShared) return // the next wave settles them, at once
      await run.settle(settlements)
      settlements = []
    })
  }
  await run.settle([...settlements, ...waiting.map(handedBack).map(toldTime)])
  return waiting.length === 0 && !isCutOff
}

interface Wave {
  readonly entries: readonly Claimed[]
  readonly isTrusted: boolean
  /** Nothing else of the invocation may run meanwhile. */
  readonly isAlone: boolean
}

/**
 * Which entries run side by side. What was found idle under any name but `parked` lost its process, and may be what killed it: its second
 * delivery runs in a small group, a later one or the last alone, those with the fewest deaths first. Suspects come after the others, so
 * that they take none with them.
 */
function wavesOf(entries: readonly Claimed[], { settings }: Consumer): Wave[] {
  const { concurrency, maxDeliveries } = settings
  const mustBeAlone = ({ deliveryCount }: Claimed) => deliveryCount > 1 || deliveryCount + 1 >= maxDeliveries
  const trusted = entries.filter(isAboveSuspicion)
  const suspects = entries.filter((entry) => !isAboveSuspicion(entry))
  const grouped = suspects.filter((entry) => !mustBeAlone(entry))
  const alone = suspects.filter(mustBeAlone).sort((a, b) => a.deliveryCount - b.deliveryCount)
  return [
    ...chunksOf(trusted, concurrency).map((wave) => ({ entries: wave, isTrusted: true, isAlone: false })),
    ...chunksOf(grouped, concurrency).map((wave) => ({ entries: wave, isTrusted: false, isAlone: false })),
    ...chunksOf(alone, 1).map((wave) => ({ entries: wave, isTrusted: false, isAlone: true })),
  ]
}

/** Parked entries failed and said so, and those with no delivery never ran. */
function isAboveSuspicion({ from, deliveryCount }: Claimed): boolean {
  return from.owner === PARKED || deliveryCount === 0
}

function buried({ id, deliveryCount, from }: Claimed, now: number): Settlement {
  const reason = from.owner === PARKED ? 'max-deliveries' : 'crashed'
  return {
    id,
    deliveryCount,
    outcome: { kind: 'dead-letter', letter: { reason, lastDeliveredAt: now - from.idleMs, failedAt: now } },
  }
}

function handedBack({ id, deliveryCount, from }: Claimed): Settlement {
  return { id, deliveryCount, outcome: { kind: 'release', ...from, deliveryCount } }
}

/** What is handed back has been idle for as long as we had it, too: it must not look as if it had been read meanwhile. */
function withIdleTime(settlement: Settlement, elapsedMs: number): Settlement {
  const { outcome } = settlement
  return outcome.kind === 'release'
    ? { ...settlement, outcome: { ...outcome, idleMs: outcome.idleMs + elapsedMs } }
    : settlement
}

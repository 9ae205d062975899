import type { Consumer } from './consumer.ts'
import { roundsLeft } from './core/budget.ts'
import { compareEntryIds } from './core/entry.ts'
import { PARKED } from './core/keys.ts'
import { object, refuseUnknownKeys } from './core/options.ts'
import { CLAIMER_SLOTS } from './group/consumer-names.ts'
import type { Claimed, Settlement } from './group/group.ts'
import type { ScheduledHandler } from './lambda/scheduled.ts'
import { createScheduledHandler } from './lambda/scheduled.ts'
import type { Report } from './report.ts'
import { runBatch } from './run/batch.ts'
import type { RunKind, RunOptions } from './run/consumers.ts'
import { runConsumers } from './run/consumers.ts'
import type { Run } from './run/run.ts'
import { asConsumers } from './run/targets.ts'

export interface ClaimerOptions extends Pick<RunOptions, 'redis' | 'clock'> {}

const CLAIMER_OPTIONS = ['redis', 'clock']

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
  const list = targets('create claimer', consumers, options, CLAIMER_OPTIONS)
  return createScheduledHandler((context, remainingMs) =>
    runConsumers(CLAIM, list, { ...options, context, ...(remainingMs !== undefined && { remainingMs }) }),
  )
}

/**
 * Claims once, outside Lambda or below it: what the handler of `createClaimer` does.
 *
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 * @throws {InvocationTooShortError} Not even one handler fits into `remainingMs`.
 */
export async function claim(consumers: Consumer | readonly Consumer[], options: RunOptions): Promise<Report> {
  return runConsumers(
    CLAIM,
    targets('claim', consumers, options, [...CLAIMER_OPTIONS, 'remainingMs', 'signal', 'context']),
    options,
  )
}

const CLAIM: RunKind = { action: 'claim', slot: 'claimer', slots: () => CLAIMER_SLOTS, work: claimOneLap }

/**
 * Goes through the pending entries once, page by page, from where the last run stopped to the end and then from the start to there. The
 * cursor moves past a page once the page was dealt with.
 */
async function claimOneLap(run: Run): Promise<void> {
  const { group, slot, report, consumer } = run.parts
  const { minIdleMs } = consumer.settings
  let lapStart: string | undefined
  let cursor: string | undefined
  let wrapped = false
  for (let room = roomFor(run); room > 0; room = roomFor(run)) {
    const page = await group.claim(slot, { minIdleMs, cursor, room })
    report.lost += page.lost
    report.healed ||= page.healed
    if (page.cursor === undefined) return
    lapStart ??= page.from
    cursor = page.from
    if (!(await retryPage(run, page.claimed))) break
    cursor = page.cursor
    wrapped ||= cursor === '0-0'
    report.drained = wrapped && compareEntryIds(cursor, lapStart) >= 0
    if (report.drained) break
  }
  if (cursor !== undefined) await group.finishClaims(slot, cursor, minIdleMs)
}

/** Entries that can be run before time is up, even if each takes all of its own. */
function roomFor(run: Run): number {
  const { budget, clock, consumer, signal } = run.parts
  const { concurrency, handlerTimeoutMs } = consumer.settings
  return signal?.aborted ? 0 : Math.min(PAGE, concurrency * roundsLeft(budget, clock.monotonic(), handlerTimeoutMs))
}

/** @returns Whether every entry of the page was dealt with. */
async function retryPage(run: Run, claimed: readonly Claimed[]): Promise<boolean> {
  if (claimed.length === 0) return true
  const { group, slot, report, consumer, clock } = run.parts
  const { maxDeliveries } = consumer.settings
  report.claimed += claimed.length
  report.batches++
  const usedUp = claimed.filter(({ deliveryCount }) => deliveryCount >= maxDeliveries)
  let settlements = usedUp.map((entry) => buried(entry, clock.now()))
  let waiting = claimed.filter(({ deliveryCount }) => deliveryCount < maxDeliveries)
  for (const wave of wavesOf(waiting, consumer)) {
    if (!run.mayStart()) break
    const atStake = settlements.length + waiting.length
    const { started } = await run.settleBy(atStake, group.settleAndStart(slot, settlements, wave))
    waiting = waiting.filter((entry) => !wave.includes(entry))
    run.held = [...started, ...waiting]
    settlements = await runBatch(started, run)
  }
  await run.settle([...settlements, ...waiting.map(handedBack)])
  return waiting.length === 0
}

/**
 * Which entries run side by side. Parked ones failed and said so, and those with no delivery never ran: both are above suspicion. What was
 * found idle under any other name lost its process, and may be what killed it: the second delivery runs in small groups, a later one or
 * the last alone, those with the fewest deaths first.
 */
function wavesOf(entries: readonly Claimed[], { settings }: Consumer): Claimed[][] {
  const { concurrency, maxDeliveries } = settings
  const isTrusted = ({ from, deliveryCount }: Claimed) => from.owner === PARKED || deliveryCount === 0
  const isAlone = ({ deliveryCount }: Claimed) => deliveryCount > 1 || deliveryCount + 1 >= maxDeliveries
  const orphans = entries.filter((entry) => !isTrusted(entry))
  const alone = orphans.filter(isAlone).sort((a, b) => a.deliveryCount - b.deliveryCount)
  return [
    ...chunks(entries.filter(isTrusted), concurrency),
    ...chunks(
      orphans.filter((entry) => !isAlone(entry)),
      concurrency,
    ),
    ...chunks(alone, 1),
  ]
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

function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, n) => list.slice(n * size, (n + 1) * size))
}

function targets(
  action: string,
  consumers: Consumer | readonly Consumer[],
  options: ClaimerOptions,
  known: readonly string[],
) {
  object(action, 'options', options)
  refuseUnknownKeys(action, options, known)
  return asConsumers(action, consumers, options.redis)
}

import { MAX_DELAY_MS } from '../../core/backoff.ts'
import { handlerRoundsLeft } from '../../core/budget.ts'
import { compareLapCursors, formatLapCursor } from '../../core/cursor.ts'
import type { ClaimerOperations, ClaimResult, OpenedClaimerSlot } from '../../group/group.ts'
import { claimerOperationsOf } from '../../group/redis/redis-claims.ts'
import { CLAIM_PAGE_LIMITS } from '../../group/redis/scripts/claim-page.ts'
import type { OpenSlotRequest, WorkEnd } from '../consumer-run.ts'
import type { Run } from '../run.ts'
import type { IsolationGate } from './isolation-gate.ts'
import { RetryFeeder } from './retry-feeder.ts'
import { findCrashSuspects } from './suspects.ts'

/** How long a consumer waits for the first pages of the others, where what must be alone goes first. */
const PATIENCE_MS = 250

/** Takes a claimer's slot and the first page, where the last run stopped; `undefined` if no slot is free. */
export function openClaimerSlot({
  consumer,
  group,
  leaseMs,
  budget,
  clock,
}: OpenSlotRequest): Promise<OpenedClaimerSlot | undefined> {
  const { minIdleMs, concurrency } = consumer.settings
  const rounds = handlerRoundsLeft(budget, clock.monotonic(), consumer.routeBounds.longestTimeoutMs)
  // policies say how many once the run has begun
  const room = consumer.policies.length > 0 ? 0 : Math.min(CLAIM_PAGE_LIMITS.finds, concurrency * Math.max(1, rounds))
  return claimerOperationsOf(group).takeSlotAndClaim(leaseMs, { minIdleMs, cursor: undefined, room })
}

/**
 * Feeds a pool with what was set aside and comes back now, and with what was left behind: goes through the names that hold pending entries once, page by page, from where the
 * last run stopped to the end and then from the start to there. The cursor moves past a page once the page was dealt with; what is left of a page is settled with the claim of
 * the next.
 *
 * @param gate Shared by all runs of the invocation.
 * @param first The page that was claimed with the slot.
 * Where something is set aside until a time that the invocation still has, another run has to take it then. That only the time kept it from going on is nobody's concern: its schedule goes on.
 *
 * @throws {RedisConnectionError} No reply came. What ran has ended, and what could be settled is.
 */
export async function feedRetries(run: Run, gate: IsolationGate, first: ClaimResult): Promise<WorkEnd> {
  const { settler, report, parts } = run
  const claims = claimerOperationsOf(parts.group)
  const doneBefore = numberDone(run)
  try {
    await arrive(run, gate, first)
    const cursor = await lap(run, claims, new RetryFeeder(run, claims, gate), first)
    await settler.finish()
    if (cursor === undefined) return { isCutOff: false }
    await run.endPolicies()
    const { acked, ackMissed } = report.numbers
    const { minIdleMs } = parts.consumer.settings
    const hasAcked = acked > ackMissed // how long it may wait is known before it is known for what
    // what no claimer has the time for wakes nobody again
    const waitableMs = run.time.isMostlyOver() ? Math.max(0, run.time.waitableMs()) : MAX_DELAY_MS
    const waitsMs = parts.claimerWake && waitableMs
    const end = await claims.finishClaims(parts.slot, cursor, minIdleMs, { hasAcked, waitsMs })
    const { measured } = end
    run.hasGivenSlot = true
    report.lost(end.lost)
    if (!(measured instanceof Error)) {
      if (measured) report.measured(measured.backlog)
    } else if (settler.failures.length === 0) settler.note(measured) // else it has been said what the server refuses
    const againIn = againInMs(run, end.dueInMs, numberDone(run) > doneBefore)
    if (againIn === undefined) handOver(run, end.dueInMs)
    return { isCutOff: false, againInMs: againIn }
  } catch (error) {
    await settler.finish().catch(() => {})
    throw error
  } finally {
    gate.leave()
  }
}

/** How soon a run looks again that left something due: nothing of it could be started now. */
const STUCK_MS = 1_000

/** When the invocation has to run again for what is due next, if it may wait for that. */
function againInMs(run: Run, retryInMs: number | undefined, hasDone: boolean): number | undefined {
  const { time, pauses, parts, delays } = run
  const { lingerMs } = parts
  const dueInMs = Math.min(retryInMs ?? Infinity, Math.ceil(delays?.dueInMs ?? Infinity))
  if (dueInMs === Infinity || lingerMs === 0 || dueInMs > lingerMs || pauses.isAll || !run.isSound) return undefined
  // a timer may be early by less than a millisecond
  const waitMs = Math.max(dueInMs > 0 ? dueInMs + 1 : 0, hasDone ? 0 : STUCK_MS)
  return time.mayStart(time.clock.monotonic() + waitMs) ? waitMs : undefined
}

/** Wakes another claimer for what is due next, if that has more time left than this one. */
function handOver({ time, pauses, claimerCalls }: Run, dueInMs: number | undefined): void {
  if (dueInMs === undefined || pauses.isAll || time.isStopped || !time.isMostlyOver()) return
  claimerCalls?.plan(dueInMs)
}

/** Deliveries that were used, and entries that are pending no more. */
function numberDone({ report: { numbers } }: Run): number {
  const { acked, ignored, retried, deadLettered } = numbers
  return acked + ignored + retried + deadLettered
}

async function arrive({ time, parts }: Run, gate: IsolationGate, { claimed }: ClaimResult): Promise<void> {
  // whose type is not known yet
  const { fewestDeliveries } = parts.consumer.routeBounds
  const { alone } = findCrashSuspects(claimed, () => fewestDeliveries)
  const patience = Promise.withResolvers<void>()
  const cancel = time.clock.after(PATIENCE_MS, patience.resolve)
  await gate.arrive(alone.length > 0, patience.promise)
  cancel()
}

/** @returns Where the next run goes on; `undefined` if nothing could be claimed. */
async function lap(
  run: Run,
  claims: ClaimerOperations,
  retries: RetryFeeder,
  first: ClaimResult,
): Promise<string | undefined> {
  const { settler, report, time, parts } = run
  const { minIdleMs } = parts.consumer.settings
  const lapStart = first.from
  let answer = Promise.resolve(first)
  let settlements: ReturnType<typeof settler.takeDone> = []
  let ride: ReturnType<NonNullable<typeof run.policies>['ride']> | undefined
  for (let hasWrapped = false; ; ) {
    const page = await settler.by(settlements, answer)
    ride?.answered(page.answers ?? [])
    report.lookedAtPage(page)
    run.pauses.see(page.paused)
    const { cursor, claimed } = page
    if (cursor === undefined) return undefined
    if (run.pauses.isAll && claimed.length === 0) return page.from
    if (page.isHealing) await heal(run, claims)
    const left = await retries.retry(claimed, page)
    if (left !== undefined) return left === 0 ? page.from : formatLapCursor(claimed[left - 1])
    // where there are policies the first page has no room
    if (page !== first || parts.consumer.policies.length === 0) {
      const isEnd = cursor === '0-0'
      if (hasWrapped ? isEnd || compareLapCursors(cursor, lapStart) >= 0 : isEnd && lapStart === '0-0') {
        if (!retries.hasLeft) report.lapEnded()
        return cursor
      }
      hasWrapped ||= isEnd
    }
    const room = Math.min(CLAIM_PAGE_LIMITS.finds, retries.room)
    if (!time.mayStart() || room === 0) return cursor
    settlements = settler.takeDone()
    ride = run.policies?.ride()
    const request = { minIdleMs, cursor, room, ...(ride && { riders: ride.riders }) }
    answer = claims.settleAndClaim(parts.slot, settlements, request)
  }
}

/** Gives a group that was made again what was set aside in its last life, page by page. */
async function heal({ time, report, parts }: Run, claims: ClaimerOperations): Promise<void> {
  for (let isDone = false; !isDone && time.mayStart(); ) {
    const healed = await claims.heal(parts.slot)
    report.lost(healed.lost)
    isDone = healed.isDone
  }
}

import { compareEntryIds } from '../../core/entry.ts'
import type { Claims } from '../../group/group.ts'
import { claimsOf } from '../../group/redis-claims.ts'
import { PAGE } from '../../group/scripts/claim-page.ts'
import type { Run } from '../run.ts'
import type { Gate } from './gate.ts'
import { Retries } from './retries.ts'

/**
 * Feeds a pool with what was left behind: goes through the pending entries once, page by page, from where the last run stopped to the end and
 * then from the start to there. The cursor moves past a page once the page was dealt with; what is left of a page is settled with the claim of
 * the next.
 *
 * @param gate Shared by all runs of the invocation.
 * @returns Whether only the time kept it from going on: for a claimer that is nobody's concern, its schedule goes on.
 * @throws {RedisConnectionError} No reply came. What ran has ended, and what could be settled is.
 */
export async function claim(run: Run, gate: Gate): Promise<false> {
  const { settler, report, parts } = run
  const claims = claimsOf(parts.group)
  try {
    const cursor = await lap(run, claims, new Retries(run, claims, gate))
    await settler.finish()
    if (cursor === undefined) return false
    const { acked, ackMissed } = report.numbers
    await claims.finishClaims(parts.slot, cursor, parts.consumer.settings.minIdleMs, acked > ackMissed)
  } catch (error) {
    await settler.finish().catch(() => {})
    throw error
  }
  const measured = await parts.group.measure().catch((error: Error) => {
    if (settler.failures.length === 0) settler.note(error) // else it has been said what the server refuses
  })
  if (measured) report.measured(measured.backlog)
  return false
}

/** @returns Where the next run goes on; `undefined` if nothing could be claimed. */
async function lap(run: Run, claims: Claims, retries: Retries): Promise<string | undefined> {
  const { settler, report, time, parts } = run
  const { minIdleMs } = parts.consumer.settings
  let lapStart: string | undefined
  let cursor: string | undefined
  let hasWrapped = false
  while (time.mayStart()) {
    const settlements = settler.takeDone()
    const request = { minIdleMs, cursor, room: Math.min(PAGE.finds, retries.room) }
    const page = await settler.by(settlements, claims.settleAndClaim(parts.slot, settlements, request))
    report.lookedAtPage(page)
    if (page.cursor === undefined) return undefined
    lapStart ??= page.from
    const firstLeft = page.claimed.length > 0 ? await retries.retry(page.claimed) : undefined
    if (firstLeft !== undefined) return firstLeft
    cursor = page.cursor
    const isEnd = cursor === '0-0'
    if (hasWrapped ? isEnd || compareEntryIds(cursor, lapStart) >= 0 : isEnd && lapStart === '0-0') {
      report.lapEnded()
      return cursor
    }
    hasWrapped ||= isEnd
  }
  return cursor
}

import type { ReadResult } from '../../group.ts'
import { parseXreadgroup } from '../commands/xreadgroup.ts'
import { NOT_READ_ANSWERS } from '../scripts/read-unless-pending-limit.ts'
import type { RedisReply } from '../transport.ts'

/** What a read brought that brought nothing. */
export const NOTHING = {
  entries: [],
  pendingLimitReached: false,
  parkedLimitReached: false,
  hasEnded: false,
  groupRecreated: false,
}

/** Answers of a read that has inspected what is pending, and reads nothing. */
export const LOOKED: ReadonlySet<number> = new Set([NOT_READ_ANSWERS.pendingLimit, NOT_READ_ANSWERS.parkedLimit])

/** What a read brought, or why it brought nothing. */
export function cameBy(reply: RedisReply): Partial<ReadResult> {
  if (typeof reply === 'number')
    return {
      ...(reply === NOT_READ_ANSWERS.slotLost && { leaseLost: true }),
      pendingLimitReached: reply === NOT_READ_ANSWERS.pendingLimit,
      parkedLimitReached: reply === NOT_READ_ANSWERS.parkedLimit,
    }
  return { entries: parseXreadgroup(reply) }
}

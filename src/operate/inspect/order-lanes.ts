import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import type { LaneKeys } from '../../group/ordering.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { type PendingEntry, parseXpending } from '../../group/redis/commands/xpending.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import { endOfCondition, memberOf, startOfCondition } from './aside.ts'

/** Keys that are named. */
const MOST_KEYS = 5
/** Entries set aside that are inspected, the oldest first. */
const LOOKS = 1_000
/** Where these are of fewer keys: pages of lanes, of about so many each, in which others are found. */
const PAGES = 10
const PAGE = 1_000
/** Of the lanes found there, those with the oldest first entries are asked what waits in them. */
const CANDIDATES = 100

/** A lane in which something waits. */
export interface WaitingLane {
  readonly lane: string
  /** What stands before all others: most often an entry id. */
  readonly first: string
  /** The lowest of the others. */
  readonly oldestId: string
}

/** Where to look. */
export interface LanesOfGroup extends LaneKeys {
  readonly stream: string
  readonly group: string
  readonly waiting: string
}

/** Lanes in which something waits, the oldest first. */
export interface OldestLanes {
  readonly lanes: readonly WaitingLane[]
  /** There may be some that have waited longer. */
  readonly isSample: boolean
}

/**
 * Finds the lanes in which something has waited longest, by the ids of the oldest that are set aside: three requests. Where these are of fewer keys than are named, as behind a
 * hot key, ten thousand lanes are inspected in up to eleven more.
 *
 * @throws {RedisReplyError} The server refuses one of them.
 */
export async function findOldestLanes(sender: CallSender, keys: LanesOfGroup): Promise<OldestLanes> {
  const { stream, group } = keys
  const [pending = null] = await ask(sender, [['xpending', stream, group, '-', '+', LOOKS, PARKED_CONSUMER]])
  const rows = parseXpending(pending)
  const seen = await lanesOfRows(sender, keys, rows)
  if (seen.length >= MOST_KEYS || rows.length < LOOKS) return { lanes: seen.slice(0, MOST_KEYS), isSample: false }
  const { lanes, isSample } = await scanLanes(sender, keys)
  const all = new Map([...lanes, ...seen].map((one) => [one.lane, one]))
  const oldest = [...all.values()].sort((a, b) => compareEntryIds(a.oldestId, b.oldestId))
  return { lanes: oldest.slice(0, MOST_KEYS), isSample }
}

/** In the order of the ids of what waits. */
async function lanesOfRows(
  sender: CallSender,
  { lanes, laneOf }: LaneKeys,
  rows: readonly PendingEntry[],
): Promise<WaitingLane[]> {
  if (rows.length === 0) return []
  const [laneNames = null] = await ask(sender, [['hmget', laneOf, ...rows.map(({ id }) => id)]])
  const laneOfRow = replyItems(laneNames).map(laneName)
  const names = [...new Set(laneOfRow.filter((lane) => lane !== ''))]
  if (names.length === 0) return []
  const [ids = null] = await ask(sender, [['hmget', lanes, ...names]])
  const firsts = new Map(replyItems(ids).map((first, n) => [names[n] as string, replyAsText(first)]))
  const found = new Map<string, WaitingLane>()
  for (const [n, { id }] of rows.entries()) {
    const lane = laneOfRow[n] ?? ''
    const first = firsts.get(lane) ?? ''
    if (first !== '' && first !== id && !found.has(lane)) found.set(lane, { lane, first, oldestId: id })
  }
  return [...found.values()]
}

async function scanLanes(sender: CallSender, keys: LanesOfGroup): Promise<OldestLanes> {
  const found = new Map<string, string>()
  let cursor = '0'
  for (let page = 0; page === 0 || (cursor !== '0' && page < PAGES); page++) {
    const [reply = null] = await ask(sender, [['hscan', keys.lanes, cursor, 'COUNT', PAGE]])
    const [next, pairs] = replyItems(reply)
    const texts = replyItems(pairs)
      .flat()
      .map((text) => replyAsText(text as RedisReply))
    for (let at = 0; at + 1 < texts.length; at += 2) found.set(texts[at] as string, texts[at + 1] as string)
    cursor = replyAsText(next)
  }
  const firsts = [...found].sort(([, a], [, b]) => compareEntryIds(idOfFirst(a), idOfFirst(b)))
  const candidates = firsts.slice(0, CANDIDATES)
  const members = await ask(
    sender,
    candidates.map(([lane]) => [
      'zrangebylex',
      keys.waiting,
      startOfCondition(lane),
      endOfCondition(lane),
      'LIMIT',
      0,
      1,
    ]),
  )
  const lanes = candidates.flatMap(([lane, first], n) => {
    const oldestId = memberOf(replyAsText(replyItems(members[n])[0]))?.id
    return oldestId === undefined ? [] : [{ lane, first, oldestId }]
  })
  return { lanes, isSample: cursor !== '0' || (lanes.length < MOST_KEYS && firsts.length > CANDIDATES) }
}

/** Of an entry whose process died it stands behind `!`; `''`: it has none. */
export function laneName(text: RedisReply | undefined): string {
  return replyAsText(text).replace(/^!/, '')
}

/** Between which a sorted set has the places of an entry, for a condition or in a lane. */
export function placesOf(condition: string, id: string): readonly [from: string, to: string] {
  const place = `${condition}\n${sortable(id)}`
  return [`[${place}:`, `(${place};`]
}

/** As the index has it: the length of each number, as a letter, before it. */
function sortable(id: string): string {
  return id
    .split('-')
    .map((number) => String.fromCharCode(64 + number.length) + number)
    .join('')
}

/** The id that no entry has. */
export const NO_ENTRY = '0-0'

/** The entry that stands first in a lane, as the hash of lanes has it: there may be a mark before its id; `0-0` for anything else. */
export function idOfFirst(first: string): string {
  return /^\D?(\d{1,19}-\d{1,19})$/.exec(first)?.[1] ?? NO_ENTRY
}

/** @throws {RedisReplyError} The server refuses one of the calls. */
export async function ask(sender: CallSender, calls: readonly RedisCall[]): Promise<readonly RedisReply[]> {
  if (calls.length === 0) return []
  const replies = (await sender.send(calls)) as RedisReply[]
  for (const reply of replies) if (reply instanceof RedisReplyError) throw reply
  return replies
}

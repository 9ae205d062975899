import { RedisReplyError } from '../../errors.ts'
import { LANES_FROM, LANES_TO, laneKeys, SUSPECTS_CONDITION, UNPLACED_CONDITION } from '../../group/ordering.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { ageOfEntryIfKnown } from './ages.ts'
import { endOfCondition, memberOf, startOfCondition } from './aside.ts'
import type { OrderInspection } from './inspection.ts'
import { inspectKeys, type KeyContext, keyOfLane } from './order-firsts.ts'
import { ask, findOldestLanes, laneName, NO_ENTRY } from './order-lanes.ts'

/** What is seen of the order of a group. */
export interface SeenOrder {
  readonly order: OrderInspection
  /** The lane of the entry that was asked for. */
  readonly entry?: EntryInOrder | undefined
  /** Why keys are not named. */
  readonly refusal?: RedisReplyError | undefined
}

/** An entry in its lane. */
export interface EntryInOrder {
  readonly key: string
  /** Another of its key goes before it. */
  readonly isBehind: boolean
}

/**
 * Inspects what waits in order: some seven requests of bounded size, however much waits and in however many lanes; up to eleven more behind a hot key, and those for conditions.
 *
 * @param entryId An entry that is asked for as well.
 * @throws {RedisReplyError} The server does not even say how much.
 */
export async function inspectOrder(
  sender: CallSender,
  context: KeyContext,
  entryId: string | undefined,
): Promise<SeenOrder> {
  const { keys, group, at } = context
  const { stream, waiting } = keys
  const unplaced = [startOfCondition(UNPLACED_CONDITION), endOfCondition(UNPLACED_CONDITION)] as const
  const counted = await ask(sender, [
    ['zlexcount', waiting, `[${LANES_FROM}`, `(${LANES_TO}`],
    ['zlexcount', waiting, startOfCondition(SUSPECTS_CONDITION), endOfCondition(SUSPECTS_CONDITION)],
    ['zlexcount', waiting, ...unplaced],
    ['zrangebylex', waiting, ...unplaced, 'LIMIT', 0, 1],
  ])
  const [behind, suspects, redriven] = counted.slice(0, 3).map(Number) as [number, number, number]
  const oldestId = memberOf(replyAsText(replyItems(counted[3])[0]))?.id
  const counts: OrderInspection = {
    waiting: behind,
    suspects,
    unplaced: redriven,
    unplacedAgeMs: ageOfEntryIfKnown(oldestId, at),
  }
  try {
    const inKeys = laneKeys(keys)
    const [lanes, own = null] = await ask(sender, [
      ['hlen', inKeys.lanes],
      ['hmget', inKeys.laneOf, entryId ?? NO_ENTRY],
    ])
    const entry = await entryInOrder(sender, inKeys.lanes, laneName(replyItems(own)[0]), entryId)
    const where = { stream, group, waiting, ...inKeys }
    const oldest = behind > 0 ? await findOldestLanes(sender, where) : { lanes: [], isSample: false }
    const longest = await inspectKeys(sender, oldest.lanes, context)
    return { order: { ...counts, lanes: Number(lanes), longest, isSample: oldest.isSample }, entry }
  } catch (error) {
    if (!(error instanceof RedisReplyError)) throw error
    return { order: counts, refusal: error }
  }
}

async function entryInOrder(
  sender: CallSender,
  lanes: string,
  lane: string,
  entryId: string | undefined,
): Promise<EntryInOrder | undefined> {
  if (!lane.startsWith(LANES_FROM)) return undefined
  const [first = null] = await ask(sender, [['hmget', lanes, lane]])
  return { key: keyOfLane(lane).key, isBehind: replyAsText(replyItems(first)[0]) !== entryId }
}

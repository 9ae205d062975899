import { PARKED_CONSUMER } from '../../core/keys.ts'
import { awaitedIn } from './memory-awaited-letters.ts'
import type { MemoryConsumerGroup, MemoryStream, StoredLanes } from './memory-server.ts'

/** All that waits behind the first of its lane, if all of it may start after it, as `redis/order/take-of-lanes.ts` has it; `undefined`: the first is taken alone. */
export function followersInMemory(
  lanes: StoredLanes,
  group: MemoryConsumerGroup,
  stream: MemoryStream,
  waiting: readonly (readonly [id: string, count: number])[],
  first: string,
): readonly string[] | undefined {
  const { lane } = lanes.members.get(first) ?? {}
  if (lane === undefined || awaitedIn(lanes, lane) !== undefined) return undefined
  const ids = waiting.map(([id]) => id)
  const mayAllStart = ids.every((id) => {
    const pending = group.pending.get(id)
    const member = lanes.members.get(id)
    const isHere = pending?.owner === PARKED_CONSUMER && pending.deliveryCount === 0 && stream.get(id) !== undefined
    return isHere && member?.lane === lane && !member.isSuspect
  })
  return mayAllStart ? ids : undefined
}

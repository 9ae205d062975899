import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import { countInDueScore, dueScore, TAKEN_SCORE } from './memory-group-base.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'

/** Gives a group that was made again what was set aside in its last life, as the script does. @returns How many had been trimmed. */
export function healInMemory(calls: MemoryGroupBase, group: MemoryConsumerGroup): number {
  const { healing } = calls.state
  if (healing === undefined) return 0
  let lost = 0
  const now = Math.floor(calls.now)
  for (const [id, score] of calls.dueTimes) {
    const is = again(calls, group, healing, id, countInDueScore(score))
    if (is === 'lost') lost++
    if (is === 'lost' || is === 'above') calls.dueTimes.delete(id)
    else if (is === 'made' && score >= TAKEN_SCORE) calls.dueTimes.set(id, dueScore(now, countInDueScore(score)))
  }
  for (const [, ids] of calls.waiting)
    for (const [id, count] of ids) {
      const is = again(calls, group, healing, id, count)
      if (is === 'lost') lost++
      if (is === 'lost' || is === 'above') ids.delete(id)
    }
  delete calls.state.healing
  return lost
}

/** Makes an entry of an index pending that is not, if it is not above the mark and still in the stream. */
function again(calls: MemoryGroupBase, group: MemoryConsumerGroup, mark: string, id: string, count: number) {
  if (group.pending.has(id)) return 'pending'
  if (compareEntryIds(id, mark) > 0) return 'above'
  if (!calls.stream.get(id)) return 'lost'
  group.hand(id, { owner: PARKED_CONSUMER }, count, calls.now)
  return 'made'
}

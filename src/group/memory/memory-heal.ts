import { compareEntryIds } from '../../core/entry.ts'
import { PARKED } from '../../core/keys.ts'
import type { MemoryCalls } from './memory-calls.ts'
import { countIn, RUNNING, scoreOf } from './memory-calls.ts'
import type { GroupState } from './memory-server.ts'

/** Gives a group that was made again what was set aside in its last life, as the script does. @returns How many had been trimmed. */
export function heal(calls: MemoryCalls, group: GroupState): number {
  const { healing } = calls.state
  if (healing === undefined) return 0
  let lost = 0
  const now = Math.floor(calls.now)
  for (const [id, score] of calls.dueTimes) {
    const is = again(calls, group, healing, id, countIn(score))
    if (is === 'lost') lost++
    if (is === 'lost' || is === 'above') calls.dueTimes.delete(id)
    else if (is === 'made' && score >= RUNNING) calls.dueTimes.set(id, scoreOf(now, countIn(score)))
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
function again(calls: MemoryCalls, group: GroupState, mark: string, id: string, count: number) {
  if (group.pending.has(id)) return 'pending'
  if (compareEntryIds(id, mark) > 0) return 'above'
  if (!calls.stream.get(id)) return 'lost'
  group.hand(id, { owner: PARKED }, count, calls.now)
  return 'made'
}

import { compareEntryIds, entryIdBefore } from '../../core/entry.ts'
import type { BlockerReason } from '../../core/janitor-report.ts'
import { consumerKeys } from '../../core/keys.ts'
import { parseRegistration } from '../../core/registration.ts'
import { MAX_INDEXED } from '../redis/scripts/done-by-groups.ts'
import type { MemoryConsumerGroup, MemoryServer } from './memory-server.ts'

/** What a group has done, and why no more. */
export interface DoneByGroup {
  readonly name: string
  id: string
  reason: BlockerReason
  readonly isRegistered: boolean
}

export function doneBy(
  server: MemoryServer,
  stream: string,
  name: string,
  group: MemoryConsumerGroup | undefined,
  registration: string | undefined,
): DoneByGroup {
  const keys = consumerKeys(stream, name)
  const state = server.states.get(keys.state)
  const mark = state?.mark?.includes('-') ? state.mark : state?.mark && `${state.mark}-0`
  const done: DoneByGroup = {
    name,
    isRegistered: registration !== undefined,
    ...(group ? { id: group.lastDeliveredId, reason: 'unread' } : { id: mark ?? '0-0', reason: 'lost' }),
  }
  const lower = (id: string, reason: BlockerReason) => {
    if (compareEntryIds(id, done.id) < 0) Object.assign(done, { id, reason })
  }
  const [oldest] = group?.ids ?? []
  if (oldest !== undefined) lower(entryIdBefore(oldest), 'pending')
  if (group && mark !== undefined) lower(mark, 'mark')
  if (!group || state?.healing !== undefined) {
    const ids = [
      ...(server.dueTimes.get(keys.due)?.keys() ?? []),
      ...[...(server.waiting.get(keys.waiting)?.values() ?? [])].flatMap((ofCondition) => [...ofCondition.keys()]),
    ]
    if (ids.length > MAX_INDEXED) lower('0-0', 'healing')
    else for (const id of ids) lower(entryIdBefore(id), 'healing')
  }
  const keepMs = registration === undefined ? 0 : (parseRegistration(registration)?.retentionMs ?? 0)
  if (keepMs > 0) lower(entryIdBefore(`${Math.max(0, Math.floor(server.clock.now()) - keepMs)}-0`), 'retention')
  return done
}

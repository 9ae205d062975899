import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { isLeftOverConsumer } from '../consumer-names.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'

/** Takes off what was trimmed while it was set aside: what is below the stream's first entry. */
export function takeOffTrimmedInMemory(calls: MemoryGroupBase, group: MemoryConsumerGroup): number {
  const [first] = calls.stream.entries
  const isBelow = (id: string) => first === undefined || compareEntryIds(id, first.id) < 0
  const lost = group.ids.filter((id) => group.pending.get(id)?.owner === PARKED_CONSUMER && isBelow(id))
  if (lost.length > 0) for (const [, ids] of calls.waiting) for (const id of ids.keys()) if (isBelow(id)) ids.delete(id)
  for (const id of lost) calls.drop(group, id)
  return lost.length
}

/** Removes consumer names that nobody holds any more. */
export function removeConsumersInMemory(calls: MemoryGroupBase, group: MemoryConsumerGroup, minIdleMs: number): void {
  const { keys, settings } = calls.address
  const owners = new Set([...group.pending.values()].map(({ owner }) => owner))
  for (const [consumerName, usedAt] of group.consumers) {
    const isIdle = calls.now - usedAt >= minIdleMs && !owners.has(consumerName)
    const isHeld = calls.server.holder(keys.slot(consumerName)) !== undefined
    if (isIdle && !isHeld && isLeftOverConsumer(consumerName, settings.maxPollers)) group.consumers.delete(consumerName)
  }
}

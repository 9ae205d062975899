import { compareEntryIds } from '../../../core/entry.ts'
import { formatCount, formatDurationRoughly, formatNumber } from '../../../core/words.ts'
import type { GroupInfo } from '../../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../../group/redis/commands/xinfo-stream.ts'
import { defineCheck } from '../check.ts'
import type { PendingTotals } from '../facts.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, infoResult, unknownResult, warningResult } from '../finding.ts'

const KEEP_MORE = 'raise maxLength or retentionMs of every publisher of the stream'
const GO_FASTER = 'poll faster (scaleOut, pollers, concurrency, batchSize)'

/** How near to the end at which a stream is trimmed something may be that is not done, as a part of what the stream keeps. */
const NEAR = 0.2

/** Shorter streams say nothing of a rate. */
const ENOUGH = 100

/** Trimming takes what no group has read, and what is pending, without a word. */
export const retentionCheck = defineCheck({
  check: 'retention',
  scope: 'group',
  needs: ['stream', 'groups', 'pending'],
  look({ stream, groups, pending }, { group }) {
    const made = groups.find(({ name }) => name === group)
    if (!made || typeof stream === 'string') return []
    const lost = [...pendingTrimmed(stream, pending), ...unreadTrimmed(stream, made)]
    return lost.length > 0 ? lost : nearTheEnd(stream, made, pending)
  },
})

function pendingTrimmed({ firstId }: StreamInfo, { count: pending, oldestId }: PendingTotals): CheckResult[] {
  if (oldestId === undefined || (firstId !== undefined && compareEntryIds(oldestId, firstId) >= 0)) return []
  return [
    errorResult(
      `${formatCount(pending, 'entry is', 'entries are')} pending, from ${oldestId} on, and the stream begins at ${firstId ?? 'its next entry'}: what is ` +
        'before that was trimmed or deleted, and is lost',
      `${KEEP_MORE}, or ${GO_FASTER}; claimers report such entries as lost`,
    ),
  ]
}

/** Entries that are gone, less those that the group had read: what is left over it never saw. */
function unreadTrimmed(
  { length, firstId, lastGeneratedId, entriesAdded }: StreamInfo,
  { lastDeliveredId, entriesRead }: GroupInfo,
): CheckResult[] {
  const gone = entriesAdded === undefined ? 0 : entriesAdded - length
  const isBehind = firstId === undefined || compareEntryIds(lastDeliveredId, firstId) < 0
  if (gone === 0 || !isBehind) return []
  const fix = `${KEEP_MORE}, or ${GO_FASTER}`
  if (entriesRead !== undefined) {
    if (gone <= entriesRead) return []
    return [
      errorResult(
        `${formatCount(gone - entriesRead, 'entry was', 'entries were')} trimmed or deleted before the group read them: ${formatNumber(gone)} are gone, ${formatNumber(entriesRead)} were read`,
        fix,
      ),
    ]
  }
  if (compareEntryIds(lastDeliveredId, lastGeneratedId) >= 0) return []
  if (lastDeliveredId === '0-0')
    return [
      warningResult(
        `The group has read nothing yet, and ${formatCount(gone, 'entry is', 'entries are')} gone already`,
        fix,
      ),
    ]
  return [
    unknownResult(
      `The stream begins at ${firstId ?? 'its next entry'}, after the last read entry, ${lastDeliveredId}: the server cannot know what was between`,
      'the server knows again once the group has read all; until then compare ids with the publisher’s',
    ),
  ]
}

function nearTheEnd(
  { length, firstId, lastId, lastGeneratedId, entriesAdded }: StreamInfo,
  { lastDeliveredId }: GroupInfo,
  { oldestId }: PendingTotals,
): CheckResult[] {
  const isAllRead = compareEntryIds(lastDeliveredId, lastGeneratedId) >= 0
  const slowest = oldestId ?? (isAllRead ? undefined : lastDeliveredId)
  if (slowest === undefined || firstId === undefined || lastId === undefined) return []
  if (length < ENOUGH || entriesAdded === length) return []
  const [from, to, at] = [firstId, lastId, slowest].map((id) => Number.parseInt(id, 10)) as [number, number, number]
  const keptMs = to - from
  if (keptMs <= 0 || at - from >= NEAR * keptMs) return []
  const seen =
    `The slowest entry, ${slowest}, is ${formatDurationRoughly(Math.max(0, at - from))} from the end at which the stream is trimmed; it keeps ${formatCount(length, 'entry', 'entries')}, ` +
    `${formatDurationRoughly(keptMs)} at ${formatNumber((1_000 * length) / keptMs)} a second`
  const fix = `${GO_FASTER}, or ${KEEP_MORE}`
  return [entriesAdded === undefined ? infoResult(`${seen}, if it is trimmed at all`, fix) : warningResult(seen, fix)]
}

import { compareEntryIds } from '../../../core/entry.ts'
import { isOwnedBy } from '../../../core/keys.ts'
import { formatCount } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import type { GroupInfo } from '../../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../../group/redis/commands/xinfo-stream.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, infoResult, warningResult } from '../finding.ts'
import { listFirstNames, quoteForShell } from '../text.ts'

/** Which entries a group never gets because of where it starts. */
export const groupStartCheck = defineCheck({
  check: 'group-start',
  scope: 'group',
  needs: ['stream', 'groups', 'mark', 'keysOf'],
  look({ stream, groups, mark, keysOf }, { stream: key, group, consumer }) {
    if (keysOf !== undefined && !isOwnedBy(key, keysOf))
      return [
        errorResult(
          `The keys of this group belong to stream ${quotedValue(keysOf)}: both names share a hash tag`,
          'rename the stream or the group; nothing is read until then',
        ),
      ]
    const startAt = consumer?.settings.startAt
    const made = groups.find(({ name }) => name === group)
    if (made) return typeof stream === 'string' ? [] : ofGroup(key, made, stream, mark, startAt)
    if (mark !== undefined)
      return [
        warningResult(
          `The group is gone; it had got to ${mark}`,
          'poll: it is made again there, or at 0 if the stream was emptied. A flush, a failover or an expiry took it: see persistence',
        ),
      ]
    const names = consumer ? [] : groups.map(({ name }) => name)
    return ofMissing(typeof stream === 'string' ? 0 : stream.length, startAt, names)
  },
})

/** @param names Groups that are there, where the missing one's name was typed. */
function ofMissing(length: number, startAt: string | undefined, names: readonly string[]): CheckResult[] {
  if (startAt === undefined || startAt === '0')
    return [
      infoResult(
        `There is no such group yet; the first poll makes it, before all of ${formatCount(length, 'entry', 'entries')}`,
        names.length === 0 ? 'poll' : `poll, or compare the name: the stream has ${listFirstNames(names)}`,
      ),
    ]
  if (length === 0)
    return [infoResult(`There is no such group yet; the first poll makes it at ${quotedValue(startAt)}`, 'poll')]
  return [
    warningResult(
      `There is no such group yet; the first poll makes it at ${quotedValue(startAt)}, and what is before that of ` +
        `${formatCount(length, 'entry', 'entries')} is never read`,
      'set startAt to "0" if it is to be',
    ),
  ]
}

/** The server counts what a group has read from its start on, or, where that was not the beginning, not before it has read all. */
function ofGroup(
  key: string,
  { name, entriesRead, lastDeliveredId }: GroupInfo,
  { firstId, entriesAdded, length }: StreamInfo,
  mark: string | undefined,
  startAt: string | undefined,
): CheckResult[] {
  const isMidStream = entriesAdded !== undefined && entriesRead === undefined && lastDeliveredId !== '0-0'
  if (!isMidStream || firstId === undefined || compareEntryIds(firstId, lastDeliveredId) > 0) return []
  const seen = `The group was made in mid-stream: of ${formatCount(length, 'entry', 'entries')} those up to ${lastDeliveredId} may never have been read by it`
  const fix = `if they are to be, without a poller running: XGROUP SETID ${quoteForShell(key)} ${quoteForShell(name)} 0 (what was handled already is handled again)`
  // where our own state lies beside it, it was made as declared, or recreated
  const isWanted = mark !== undefined || (startAt !== undefined && startAt !== '0')
  return [isWanted ? infoResult(seen, fix) : warningResult(seen, fix)]
}

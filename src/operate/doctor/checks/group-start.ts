import { compareEntryIds } from '../../../core/entry.ts'
import { isOwnedBy } from '../../../core/keys.ts'
import { count } from '../../../core/words.ts'
import { quoted } from '../../../errors.ts'
import type { GroupInfo } from '../../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../../group/redis/commands/xinfo-stream.ts'
import { check } from '../check.ts'
import type { Verdict } from '../finding.ts'
import { error, info, warning } from '../finding.ts'
import { word } from '../text.ts'

/** Which entries a group never gets because of where it starts. */
export const groupStart = check({
  check: 'group-start',
  scope: 'group',
  needs: ['stream', 'groups', 'mark', 'keysOf'],
  look({ stream, groups, mark, keysOf }, { stream: key, group, consumer }) {
    if (keysOf !== undefined && !isOwnedBy(key, keysOf))
      return [
        error(
          `The keys of this group belong to stream ${quoted(keysOf)}: both names share a hash tag`,
          'rename the stream or the group; nothing is read until then',
        ),
      ]
    const startAt = consumer?.settings.startAt
    const made = groups.find(({ name }) => name === group)
    if (made) return typeof stream === 'string' ? [] : ofGroup(key, made, stream, mark, startAt)
    if (mark !== undefined)
      return [
        warning(
          `The group is gone; it had got to ${mark}`,
          'poll: it is made again there, or at 0 if the stream was emptied. A flush, a failover or an expiry took it: see persistence',
        ),
      ]
    return ofMissing(typeof stream === 'string' ? 0 : stream.length, startAt)
  },
})

function ofMissing(length: number, startAt: string | undefined): Verdict[] {
  if (startAt === undefined || startAt === '0')
    return [
      info(
        `There is no such group yet; the first poll makes it, before all of ${count(length, 'entry', 'entries')}`,
        'poll',
      ),
    ]
  if (length === 0) return [info(`There is no such group yet; the first poll makes it at ${quoted(startAt)}`, 'poll')]
  return [
    warning(
      `There is no such group yet; the first poll makes it at ${quoted(startAt)}, and what is before that of ` +
        `${count(length, 'entry', 'entries')} is never read`,
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
): Verdict[] {
  const isMidStream = entriesAdded !== undefined && entriesRead === undefined && lastDeliveredId !== '0-0'
  if (!isMidStream || firstId === undefined || compareEntryIds(firstId, lastDeliveredId) > 0) return []
  const seen = `The group was made in mid-stream: of ${count(length, 'entry', 'entries')} those up to ${lastDeliveredId} may never have been read by it`
  const fix = `if they are to be, without a poller running: XGROUP SETID ${word(key)} ${word(name)} 0 (what was handled already is handled again)`
  // where our own state lies beside it, it was made as declared, or recreated
  const isWanted = mark !== undefined || (startAt !== undefined && startAt !== '0')
  return [isWanted ? info(seen, fix) : warning(seen, fix)]
}

import { formatCount, formatDuration, formatNumber } from '../core/words.ts'
import type { JanitorInspection, KeepingInspection, StreamInspection } from '../operate/inspect/inspection.ts'
import { printableName } from './text/printable.ts'

/** From so long on, whoever keeps entries that are due to go is named. */
const BLOCKS_MS = 60 * 60_000

/** Who owns the groups, and what janitors did, as lines for a terminal. */
export function keepingLines(keeping: KeepingInspection | undefined): string[] {
  if (!keeping) return []
  const { registered, janitor } = keeping
  const owners = Object.entries(registered).map(([group, { owner, objective, retentionMs, deadLetters }]) => {
    const parts = [
      `owner ${printableName(owner)}`,
      objective?.maxLag === undefined ? undefined : `lag up to ${formatNumber(objective.maxLag)}`,
      objective?.maxAgeMs === undefined ? undefined : `age up to ${formatDuration(objective.maxAgeMs)}`,
      retentionMs === undefined ? undefined : `keeps ${formatDuration(retentionMs)}`,
      deadLetters?.owner === undefined ? undefined : `dead letters of ${printableName(deadLetters.owner)}`,
      deadLetters?.retentionMs === undefined ? undefined : `kept ${formatDuration(deadLetters.retentionMs)}`,
    ]
    return `registered ${printableName(group)}: ${parts.filter((part) => part !== undefined).join(', ')}`
  })
  if (!janitor) return owners
  const { sinceRunMs, archived, trimmed, archivedToId } = janitor
  const upTo = archivedToId === undefined ? '' : `, ${formatNumber(archived)} archived, up to ${archivedToId}`
  return [
    ...owners,
    `a janitor ran ${formatDuration(sinceRunMs)} ago: ${formatCount(trimmed, 'entry', 'entries')} trimmed in all${upTo}`,
  ]
}

/** What of it needs a look. */
export function keepingNotes({ keeping, groups }: Pick<StreamInspection, 'keeping' | 'groups'>): string[] {
  if (!keeping) return []
  const { registered, unregistered, lost, janitor } = keeping
  const isUsed = Object.keys(registered).length > 0
  const behind = groups.flatMap(({ group, lag = 0, undeliveredAgeMs = 0, oldestPending }) => {
    const { maxLag = Infinity, maxAgeMs = Infinity } = registered[group]?.objective ?? {}
    const ageMs = Math.max(undeliveredAgeMs, oldestPending?.ageMs ?? 0)
    const name = printableName(group)
    return [
      ...(lag > maxLag ? [`${name} is behind its objective: lag ${formatNumber(lag)} > ${formatNumber(maxLag)}`] : []),
      ...(ageMs > maxAgeMs
        ? [`${name} is behind its objective: age ${formatDuration(ageMs)} > ${formatDuration(maxAgeMs)}`]
        : []),
    ]
  })
  return [
    ...(isUsed ? unregistered.map((name) => `${printableName(name)} is not registered`) : []),
    ...lost.map((name) => `${printableName(name)} is registered, and there is no such group`),
    ...behind,
    ...Object.entries(janitor?.trimmedAhead ?? {}).map(
      ([group, entries]) =>
        `${formatCount(entries, 'entry was', 'entries were')} trimmed before ${printableName(group)} had done them`,
    ),
    ...blockersOf(janitor)
      .filter(([, ms]) => ms >= BLOCKS_MS)
      .map(([who, ms]) => `${who} keeps entries from being trimmed, for ${formatDuration(ms)}`),
  ]
}

function blockersOf(janitor: JanitorInspection | undefined): (readonly [string, number])[] {
  const { blockers = {}, floors = {}, withoutGroupsMs } = janitor ?? {}
  return [
    ...Object.entries(blockers).map(([group, ms]) => [printableName(group), ms] as const),
    ...Object.entries(floors).map(([name, ms]) => [`floor ${printableName(name)}`, ms] as const),
    ...(withoutGroupsMs === undefined ? [] : [['that there is no group', withoutGroupsMs] as const]),
  ]
}

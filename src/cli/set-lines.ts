import { formatCount, formatDuration, formatNumber } from '../core/words.ts'
import type { SetGroupInspection, SetInspection } from '../operate/inspect/inspection.ts'
import { printable, printableName } from './text/printable.ts'
import type { Paint, TableCell, TableColumn } from './text/text.ts'
import { tableLines } from './text/text.ts'

const UNKNOWN: TableCell = { text: '?', as: 'yellow' }
const NONE: TableCell = { text: '-', as: 'dim' }

const right = (title: string): TableColumn => ({ title, align: 'right' })
const COLUMNS: readonly TableColumn[] = [
  { title: 'group' },
  right('lag'),
  right('pending'),
  right('in hand'),
  right('set aside'),
  right('oldest pending'),
  right('dead letters'),
]

/** A set of streams as one: what its streams say, added up. */
export function setLines({ name, streams, length, groups }: SetInspection, colour: Paint): string[] {
  const entries = length === undefined ? 'entries ?' : formatCount(length, 'entry', 'entries')
  const head = `${colour('bold', printableName(name))}  a set of ${streams.length} streams, ${entries}`
  if (groups.length === 0) return [head, `  ${colour('dim', 'no groups')}`]
  const notes = groups.flatMap(({ group, streams: having, unknown }) => [
    ...(having < streams.length
      ? [`${printableName(group)}: only ${having} of ${streams.length} streams have it`]
      : []),
    ...Object.values(unknown).map((reason) => `${printableName(group)}: ${printable(reason)}`),
  ])
  return [
    head,
    ...tableLines(COLUMNS, groups.map(cellsOf), colour).map((line) => `  ${line}`),
    ...[...new Set(notes)].map((note) => `  ${colour('yellow', `! ${note}`)}`),
  ]
}

function cellsOf(group: SetGroupInspection): TableCell[] {
  const { lag, pending, inHand, parked, oldestPendingMs, deadLetters } = group
  const count = (value: number | undefined) => (value === undefined ? UNKNOWN : formatNumber(value))
  return [
    printableName(group.group),
    count(lag),
    formatNumber(pending),
    count(inHand),
    count(parked),
    oldestPendingMs === undefined ? NONE : formatDuration(oldestPendingMs),
    deadLetters ? { text: formatNumber(deadLetters), as: 'red' } : count(deadLetters),
  ]
}

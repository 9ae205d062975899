import { formatBytes, formatNumber } from '../core/words.ts'
import type {
  Analysis,
  FieldAnalysis,
  FrequencyAnalysis,
  FrequencyRow,
  PendingAnalysis,
  SizeAnalysis,
  TypeRow,
} from '../operate/analyze/analysis.ts'
import { formatMs } from './analysis-times.ts'
import { barText } from './text/bars.ts'
import { fitColumns } from './text/columns.ts'
import { printable } from './text/printable.ts'
import { type Paint, type TableColumn, tableLines } from './text/text.ts'

/** Columns that a table has, beside its indent. */
const COLUMNS = 78
const BAR_COLUMNS = 20
/** Of a name that a line begins with. */
const NAME_COLUMNS = 40
/** Of the beginning of a long value. */
const LONG_COLUMNS = 30
/** Digits of a digest that tell two long values apart. */
const DIGEST = 8

const right = (title: string): TableColumn => ({ title, align: 'right' })

/** Values with counts, shares and bars. Names come last: one that is wider than it seems moves nothing. */
export function frequencyLines(table: FrequencyAnalysis, colour: Paint): string[] {
  const { rows, others, distinct } = table
  if (rows.length === 0 && others.count === 0) return []
  const total = rows.reduce((sum, { count }) => sum + count, others.count)
  const isExact = distinct !== undefined
  const columns = [right('entries'), ...(isExact ? [] : [right('too high by')]), right('share'), { title: '' }]
  const cells = rows.map(({ count, error, share }) => [
    formatNumber(count),
    ...(isExact ? [] : [error > 0 ? `≤ ${formatNumber(error)}` : '0']),
    shareText(share),
    barText(share, BAR_COLUMNS),
  ])
  if (others.count > 0) {
    const share = total > 0 ? (others.count / total) * sumOf(rows, others.count) : 0
    cells.push([formatNumber(others.count), ...(isExact ? [] : ['']), shareText(share), barText(share, BAR_COLUMNS)])
  }
  const names = [...rows.map(nameFitter), ...(others.count > 0 ? [() => othersText(table)] : [])]
  return withNames(tableLines(columns, cells, colour), names)
}

/** Of shares that are given, what all of them together are of the whole: shares are of all entries, also of those that have no value. */
function sumOf(rows: readonly FrequencyRow[], others: number): number {
  const [row] = rows
  const count = rows.reduce((sum, each) => sum + each.count, 0)
  return row && row.share > 0 ? Math.min(1, ((count + others) * row.share) / row.count) : 1
}

/** The same, with entries that have no such value. */
export function fieldLines(by: FieldAnalysis, colour: Paint): string[] {
  const { missing, unreadable } = by
  const lines = frequencyLines(by, colour)
  if (missing > 0) lines.push(`${formatNumber(missing)} without it`)
  if (unreadable > 0) lines.push(`${formatNumber(unreadable)} with a payload that is no JSON`)
  return lines
}

export function sizeLines({ payloadBytes, entryBytes }: Analysis, colour: Paint): string[] {
  const columns = [{ title: '' }, right('p50'), right('p99'), right('most'), right('mean')]
  const cells = (name: string, { p50, p99, max, mean }: SizeAnalysis) => [
    name,
    ...[p50, p99, max, Math.round(mean)].map(formatBytes),
  ]
  return tableLines(columns, [cells('payload', payloadBytes), cells('entry', entryBytes)], colour)
}

export function lagLines({ rows }: FrequencyAnalysis<TypeRow>, colour: Paint): string[] {
  const measured = rows.flatMap((row) => (row.lag ? [{ row, lag: row.lag }] : []))
  if (measured.length === 0) return []
  const cells = measured.map(({ lag: { p50Ms, p99Ms, maxMs, measured, ahead } }) => [
    ...[p50Ms, p99Ms, maxMs].map(formatMs),
    formatNumber(measured),
    formatNumber(ahead),
  ])
  const columns = [right('p50'), right('p99'), right('most'), right('entries'), right('ahead')]
  return withNames(tableLines(columns, cells, colour), measured.map(({ row }) => nameFitter(row))) // biome-ignore format: one line
}

export function pendingLines({ groups, types, noEvents }: PendingAnalysis, colour: Paint): string[] {
  const lines = groups
    .filter(({ pending }) => pending > 0)
    .map(({ group, pending, examined, trimmed }) => {
      const parts = [`${formatNumber(pending)} pending`]
      if (examined < pending) parts.push(`the oldest ${formatNumber(examined)} examined`)
      if (trimmed > 0) parts.push(`${formatNumber(trimmed)} of them trimmed from the stream`)
      return `${fitColumns(printable(group), NAME_COLUMNS)}: ${parts.join(', ')}`
    })
  if (noEvents > 0) lines.push(`${formatNumber(noEvents)} that are no events`)
  if (types.rows.length === 0) return lines
  const columns = [right('entries'), right('p50'), right('p99'), right('oldest')]
  const cells = types.rows.map(({ count, p50Ms, p99Ms, oldestMs }) => [formatNumber(count), ...[p50Ms, p99Ms, oldestMs].map(formatMs)]) // biome-ignore format: one line
  const others = types.others.count > 0 ? [`and ${formatNumber(types.others.count)} of other types`] : []
  return [...lines, ...withNames(tableLines(columns, cells, colour), types.rows.map(nameFitter)), ...others]
}

/** A table with a last column, which takes the room that is left. */
function withNames(lines: readonly string[], names: readonly NameFitter[]): string[] {
  const [titles = '', ...rows] = lines
  const width = rows.reduce((widest, row) => Math.max(widest, row.length), 0)
  const room = COLUMNS - width - 2
  return [titles, ...rows.map((row, n) => `${row.padEnd(width)}  ${fitColumns(names[n]?.(room) ?? '', room)}`)]
}

/** A name in so many columns. */
type NameFitter = (room: number) => string

/** Cuts a value, and keeps its size and digest, by which it differs from others that begin alike. */
function nameFitter({ value, bytes, sha256, isUtf8 }: FrequencyRow): NameFitter {
  const size = bytes === undefined ? '' : ` (${formatBytes(bytes)}, sha256 ${sha256?.slice(0, DIGEST)}…)`
  const more = size + (isUtf8 === false ? ' (no UTF-8)' : '')
  const name = printable(quotedIfSpaced(value))
  return (room) =>
    fitColumns(name, Math.max(1, Math.min(bytes === undefined ? room : LONG_COLUMNS, room - more.length))) + more
}

/** Nobody sees a space at an end, nor an empty text. */
function quotedIfSpaced(value: string): string {
  return value === '' || value !== value.trim() ? `"${value}"` : value
}

function othersText({ distinct, rows, others }: FrequencyAnalysis): string {
  if (distinct !== undefined) return `${formatNumber(distinct - rows.length)} others`
  return others.error > 0 ? `others, or up to ${formatNumber(others.error)} more` : 'others'
}

function shareText(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

import { stripVTControlCharacters } from 'node:util'
import { formatCount, formatNumber } from '../core/words.ts'
import type { Analysis, HourAnalysis } from '../operate/analyze/analysis.ts'
import { fieldLines, frequencyLines, lagLines, pendingLines, sizeLines } from './analysis-tables.ts'
import { zonedTimeFormatter } from './analysis-times.ts'
import { rateLines } from './rate-lines.ts'
import { barText } from './text/bars.ts'
import { columnsOf, fitColumns, wrapColumns } from './text/columns.ts'
import { printable, printableName } from './text/printable.ts'
import { type Paint, paint } from './text/text.ts'

/** Of a terminal that is as narrow as they come. */
const COLUMNS = 80
const BAR_COLUMNS = 50

/** An analysis as lines of at most 80 columns. */
export function analysisLines(analysis: Analysis, colour: Paint = paint): string[] {
  const { stream, state } = analysis
  const name = colour('bold', fitColumns(printableName(stream), COLUMNS - 30))
  if (state === 'missing') return [`${name}  no such stream`]
  const sections = analysis.read > 0 ? entrySections(analysis, colour) : []
  return [
    `${name}  ${lengthText(analysis)}`,
    ...rangeLines(analysis),
    ...noteLines(analysis, colour),
    ...[...sections, section('Pending entries, by age', pendingLines(analysis.pending, colour), colour)].flat(),
  ]
}

function entrySections(analysis: Analysis, colour: Paint): string[][] {
  const { types, noEvents, producers, by, hours } = analysis
  const { format } = zonedTimeFormatter(hours.timeZone)
  return [
    section('Event types', [...frequencyLines(types, colour), ...problemLines(noEvents.reasons)], colour),
    ...(by ? [section(`Values of ${fitColumns(printableName(by.field), 60)}`, fieldLines(by, colour), colour)] : []),
    section('Producers', frequencyLines(producers, colour), colour),
    section(`Hours of the day, ${hours.timeZone}`, hourLines(hours), colour),
    section('Entries per minute', rateLines(analysis, format), colour),
    section('Bytes', sizeLines(analysis, colour), colour),
    section('From occurredAt to the entry id', lagLines(types, colour), colour),
  ]
}

/** A heading and what is below it; nothing where that is nothing. */
function section(title: string, lines: readonly string[], colour: Paint): string[] {
  if (lines.length === 0) return []
  return ['', colour('bold', title), ...lines.flatMap(fitted).map((line) => `  ${line}`)]
}

/** A line as it is, or, where its numbers are too many, as several. */
function fitted(line: string): string[] {
  const plain = stripVTControlCharacters(line)
  return columnsOf(plain) <= COLUMNS - 2 ? [line] : wrapColumns(plain, COLUMNS - 2)
}

function lengthText({ length }: Analysis): string {
  return length === undefined ? 'entries ?' : formatCount(length, 'entry', 'entries')
}

function rangeLines({ firstId, lastId, hours, read, entries, sample }: Analysis): string[] {
  if (firstId === undefined || lastId === undefined) return ['nothing was read']
  const { formatId } = zonedTimeFormatter(hours.timeZone)
  const many = sample ? `${formatNumber(read)} of about ${formatNumber(entries)}` : formatNumber(read)
  return wrapColumns(`read ${many}, ${formatId(firstId)} to ${formatId(lastId)} ${hours.timeZone}`, COLUMNS)
}

function noteLines({ isComplete, stopped, sample, missed, unknown, clock }: Analysis, colour: Paint): string[] {
  const notes: string[] = []
  if (!isComplete) notes.push(`Stopped before the end: ${stopped}. What follows is of what was read until then`)
  if (sample)
    notes.push(
      `A sample at ${formatCount(sample.probes, 'place')}: counts are estimates, and a share of 50 % may be off by ${(100 * sample.margin).toFixed(1)} points`,
    )
  if (missed) notes.push(`${formatCount(missed, 'entry', 'entries')} went before they were read: trimmed or deleted`)
  for (const [name, reason] of Object.entries(unknown)) notes.push(`${name} unknown: ${reason}`)
  if (clock === 'local') notes.push('Ages are by the clock of this machine: the server does not report its own')
  return notes.flatMap((note) =>
    wrapColumns(printable(note), COLUMNS - 2).map((line, n) => colour('yellow', `${n === 0 ? '!' : ' '} ${line}`)),
  )
}

function problemLines(reasons: Readonly<Record<string, number>>): string[] {
  return Object.entries(reasons).flatMap(([reason, count]) =>
    wrapColumns(printableName(`no event, ${reason}: ${formatNumber(count)}`), COLUMNS - 2),
  )
}

function hourLines({ counts, undated }: HourAnalysis): string[] {
  const highest = Math.max(1, ...counts)
  const width = Math.max(...counts.map((count) => formatNumber(count).length))
  const lines = counts.map((count, hour) => {
    const bar = barText(count / highest, BAR_COLUMNS)
    return `${String(hour).padStart(2, '0')}  ${formatNumber(count).padStart(width)}  ${bar}`.trimEnd()
  })
  return undated > 0 ? [...lines, `${formatCount(undated, 'entry', 'entries')} of no date, by their ids`] : lines
}

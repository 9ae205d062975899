import { formatCount, formatNumber } from '../core/words.ts'
import type { Analysis, FrequencyAnalysis, TimelineAnalysis } from '../operate/analyze/analysis.ts'
import { zonedTimeFormatter } from './analysis-times.ts'
import { fitColumns } from './text/columns.ts'
import { printable } from './text/printable.ts'

const WIDTH = 720
const ROW = 22
const NAME_COLUMNS = 36
const TICKS = 6
/** 1,500 as 1.5k, and 0.25 as it is. */
const SHORT = "format(datum.value, datum.value < 1 ? '~g' : '~s')"
const DAY_MS = 86_400_000
const COLOURS = { bar: '#3b6ea8', others: '#b9c4d0', text: '#333333' }

/** A figure in the grammar of Vega-Lite, one chart below the other. @see https://vega.github.io/vega-lite/docs/spec.html */
export interface Figure {
  readonly $schema: string
  readonly vconcat: readonly object[]
}

/** An analysis as a figure: types, values of the field if one was counted, hours, and entries per minute over time. */
export function analysisFigure(analysis: Analysis): Figure & Record<string, unknown> {
  const { types, by, hours, timeline } = analysis
  const charts = [
    frequencyChart('Event types', types),
    ...(by ? [frequencyChart(`Values of ${nameText(by.field)}`, by)] : []),
    hourChart(hours.counts, hours.timeZone),
    ...(timeline ? [rateChart(timeline, hours.timeZone)] : []),
  ]
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: `Stream ${nameText(analysis.stream)}`, subtitle: subtitleOf(analysis), anchor: 'start', offset: 16 },
    background: 'white',
    padding: 20,
    spacing: 28,
    vconcat: charts,
    config: {
      font: 'DejaVu Sans, Arial, Helvetica, sans-serif',
      title: { fontSize: 18, subtitleFontSize: 12, subtitleColor: COLOURS.text, subtitlePadding: 6 },
      axis: { labelFontSize: 11, titleFontSize: 11, titleFontWeight: 'normal', labelLimit: 260, gridColor: '#e8e8e8' },
      view: { stroke: null },
    },
  }
}

/** Two lines: of one that is longer, Vega takes the picture for wider than it is. */
function subtitleOf({ read, entries, sample, isComplete, firstId, lastId, hours }: Analysis): string[] {
  if (firstId === undefined || lastId === undefined) return ['nothing was read']
  const { formatId } = zonedTimeFormatter(hours.timeZone)
  const many = sample
    ? `a sample of ${formatNumber(read)} of about ${formatNumber(entries)} entries`
    : formatCount(read, 'entry', 'entries')
  const partly = isComplete ? '' : ', stopped before the end'
  return [`${many}${partly}`, `${formatId(firstId)} to ${formatId(lastId)} ${hours.timeZone}`]
}

function frequencyChart(title: string, { rows, others }: FrequencyAnalysis): object {
  const values = rows.map(({ value, count }, n) => ({ name: `${n}`, label: nameText(value), count, kind: 'value' }))
  if (others.count > 0) values.push({ name: 'others', label: 'others', count: others.count, kind: 'others' })
  // two values may look the same once they are cut: bars go by number, and only their labels by name
  const labels = Object.fromEntries(values.map(({ name, label }) => [name, label]))
  const y = {
    field: 'name',
    type: 'nominal',
    sort: null,
    title: null,
    axis: { labelExpr: lookUp(labels), ticks: false, domain: false },
  }
  const x = {
    field: 'count',
    type: 'quantitative',
    title: 'entries',
    axis: { labelExpr: SHORT, tickCount: TICKS, tickMinStep: 1 },
  }
  const color = {
    field: 'kind',
    type: 'nominal',
    legend: null,
    scale: { domain: ['value', 'others'], range: [COLOURS.bar, COLOURS.others] },
  }
  return { ...chart(title, ROW * Math.max(1, values.length)), data: { values }, mark: 'bar', encoding: { y, x, color } }
}

function hourChart(counts: readonly number[], timeZone: string): object {
  const values = counts.map((count, hour) => ({ hour: String(hour).padStart(2, '0'), count }))
  const x = { field: 'hour', type: 'ordinal', title: `hour, ${timeZone}`, axis: { labelAngle: 0 } }
  const y = {
    field: 'count',
    type: 'quantitative',
    title: 'entries',
    axis: { labelExpr: SHORT, tickCount: 4, tickMinStep: 1 },
  }
  return {
    ...chart('Hours of the day', 140),
    data: { values },
    mark: { type: 'bar', color: COLOURS.bar },
    encoding: { x, y },
  }
}

function rateChart({ startMs, stepMs, counts }: TimelineAnalysis, timeZone: string): object {
  const perMinute = (count: number) => (60_000 * count) / stepMs
  // the end of a step is where the next one begins
  const values = [...counts, counts.at(-1) ?? 0].map((count, n) => ({
    at: startMs + n * stepMs,
    rate: perMinute(count),
  }))
  const every = Math.max(1, Math.ceil(values.length / TICKS))
  const ticks = values.filter((_, n) => n % every === 0).map(({ at }) => at)
  const { format } = zonedTimeFormatter(timeZone)
  // a day of the year and a time, or a date: the year of the former is in the title
  const [from, to] = stepMs < DAY_MS ? [5, 16] : [0, 10]
  const labels = Object.fromEntries(ticks.map((at) => [String(at), format(at).slice(from, to)]))
  const axis = {
    values: ticks,
    labelExpr: lookUp(labels),
    labelAngle: 0,
    labelFlush: true,
    labelOverlap: false,
    grid: false,
  }
  const scale = { zero: false, nice: false, domain: [values[0]?.at ?? 0, values.at(-1)?.at ?? 1] }
  const x = { field: 'at', type: 'quantitative', title: `time, ${timeZone}`, scale, axis }
  const y = {
    field: 'rate',
    type: 'quantitative',
    title: 'entries per minute',
    axis: { labelExpr: SHORT, tickCount: 4 },
  }
  return {
    ...chart('Entries per minute', 140),
    data: { values },
    mark: { type: 'area', interpolate: 'step-after', color: COLOURS.bar },
    encoding: { x, y },
  }
}

function chart(title: string, height: number): object {
  return { width: WIDTH, height, title: { text: title, anchor: 'start', frame: 'group', fontSize: 13 } }
}

/** An expression that gives the text of a tick, whatever the text holds: a space before it, since Vega leaves out names such as `toString` wherever they stand. */
function lookUp(labels: Readonly<Record<string, string>>): string {
  const spaced = Object.fromEntries(Object.entries(labels).map(([name, label]) => [name, ` ${label}`]))
  return `slice((${JSON.stringify(spaced)})[datum.value], 1)`
}

function nameText(text: string): string {
  return text === '' ? '""' : fitColumns(printable(text), NAME_COLUMNS)
}

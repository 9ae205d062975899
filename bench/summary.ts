import { availableParallelism } from 'node:os'
import { bytesAbove, cpuPerEvent, eventsPerSecond, FIGURES, type Figure, type FigureName, isMet } from './figures.ts'
import type { Measured } from './measure.ts'
import { median } from './median.ts'
import type { Round } from './rounds.ts'
import { SIDES, type SideName } from './sides.ts'

/** Medians over the rounds. */
export interface Summary {
  readonly ratios: Readonly<Partial<Record<FigureName, number>>>
  /** Of the poller; `undefined` if it took no part. */
  readonly commandsPerEvent: number | undefined
  readonly roundTripsPerEvent: number | undefined
}

const POLLER: SideName = 'millrace'
const MOST = { commandsPerEvent: 0.031, roundTripsPerEvent: 0.011 } as const
const MB = 1_048_576

/** Ratios are taken within a round and then their median, so that a machine that slows down for a while hurts both sides alike. */
export function summarize(rounds: readonly Round[], figures: readonly FigureName[]): Summary {
  const ratios = figures.map((name) => {
    const { ours, other, of }: Figure = FIGURES[name]
    const taken = rounds.filter((round) => round.has(ours))
    return [name, round4(medianOf(taken, (round) => of(get(round, ours)) / of(get(round, other))))] as const
  })
  const perEvent = (count: (measured: Measured) => number) =>
    rounds[0]?.has(POLLER) ? round4(medianOf(rounds, (round) => count(get(round, POLLER)))) : undefined
  return {
    ratios: Object.fromEntries(ratios),
    commandsPerEvent: perEvent(({ commands, count }) => commands / count),
    roundTripsPerEvent: perEvent(({ roundTrips = Number.NaN, count }) => roundTrips / count),
  }
}

/** What the table says, for people. */
export function printSummary(summary: Summary, rounds: readonly Round[], redisVersion: string): void {
  console.log(`Median of ${rounds.length} rounds; in each, all sides take their turn on one server`)
  printRows([['', 'events', 'events/s', 'µs of processor an event', 'MB above start'], ...sideRows(rounds)])
  console.log()
  printRows([['', 'is', 'meant', ''], ...figureRows(summary)])
  for (const name of ['commandsPerEvent', 'roundTripsPerEvent'] as const) {
    const value = summary[name]
    if (value !== undefined) console.log(`${name} ${value}, meant at most ${MOST[name]}: ${met(value <= MOST[name])}`)
  }
  console.log(`Commands are what INFO commandstats counts, those inside scripts too; round trips are the report's
${availableParallelism()} cores, Node.js ${process.version}, Redis ${redisVersion}`)
}

function sideRows(rounds: readonly Round[]): string[][] {
  return [...(rounds[0]?.keys() ?? [])].map((name) => {
    const taken = rounds.filter((round) => round.has(name))
    const of = (value: (measured: Measured) => number) => medianOf(taken, (round) => value(get(round, name)))
    return [
      SIDES[name].title,
      `${get(rounds[0] as Round, name).count}`,
      Math.round(of(eventsPerSecond)).toLocaleString('en-US'),
      of(cpuPerEvent).toFixed(2),
      (of(bytesAbove) / MB).toFixed(1),
    ]
  })
}

function figureRows({ ratios }: Summary): string[][] {
  return Object.entries(ratios).map(([name, ratio]) => {
    const figure: Figure = FIGURES[name as FigureName]
    const { bound, target, means } = figure
    const verdict = met(isMet(figure, ratio, target))
    return [`${name}: ${means}`, `${ratio.toFixed(2)} x`, `${bound} ${target}`, verdict]
  })
}

/** Columns as wide as their widest cell; the first is text, the others are numbers or start with one. */
function printRows(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? []
  for (const row of rows) {
    const cells = row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
    console.log(cells.join('  ').trimEnd())
  }
}

const get = (round: Round, name: SideName) => round.get(name) as Measured
const medianOf = (rounds: readonly Round[], value: (round: Round) => number) => median(rounds.map(value))
const met = (isReached: boolean) => (isReached ? 'met' : 'not met')
const round4 = (value: number) => Math.round(value * 10_000) / 10_000

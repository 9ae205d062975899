import { availableParallelism } from 'node:os'
import { median } from './measure.ts'
import type { Round, Sizes } from './rounds.ts'
import { LATENCY_MS } from './rounds.ts'

export interface Summary {
  /** Medians over the rounds. */
  readonly median: Round
  /** This package's events a second over the other's. */
  readonly ratios: { readonly raw: number; readonly raw2ms: number; readonly bullmq: number }
  readonly commandsPerEvent: number
}

/** What this package is meant to reach. */
const TARGETS = { raw: 0.7, raw2ms: 1.3, bullmq: 3, commandsPerEvent: 0.03 }

/** Ratios are taken within a round and then their median, so that a machine that slows down for a while hurts both sides alike. */
export function summarize(rounds: readonly Round[]): Summary {
  const medianOf = (value: (round: Round) => number) => round3(median(rounds.map(value)))
  return {
    median: {
      millrace: medianOf((round) => round.millrace),
      raw: medianOf((round) => round.raw),
      millraceDistant: medianOf((round) => round.millraceDistant),
      rawDistant: medianOf((round) => round.rawDistant),
      bullmq: medianOf((round) => round.bullmq),
      commandsPerEvent: medianOf((round) => round.commandsPerEvent),
      roundTripsPerEvent: medianOf((round) => round.roundTripsPerEvent),
    },
    ratios: {
      raw: medianOf((round) => round.millrace / round.raw),
      raw2ms: medianOf((round) => round.millraceDistant / round.rawDistant),
      bullmq: medianOf((round) => round.millrace / round.bullmq),
    },
    commandsPerEvent: medianOf((round) => round.commandsPerEvent),
  }
}

export function printTable({ median, ratios }: Summary, sizes: Sizes, rounds: number, redisVersion: string): void {
  const { raw, raw2ms, bullmq } = ratios
  const distant = `${LATENCY_MS} ms away`
  console.log(`Events a second, median of ${rounds} rounds; every round lets all take their turn on one server`)
  printRows([
    ['', 'events', 'events/s', 'millrace is', 'target'],
    ['millrace', `${sizes.local}`, rate(median.millrace)],
    ['hand-written ioredis loop', `${sizes.local}`, rate(median.raw), times(raw), atLeast(raw, TARGETS.raw)],
    ['bullmq', `${sizes.bullmq}`, rate(median.bullmq), times(bullmq), atLeast(bullmq, TARGETS.bullmq)],
    [`millrace, ${distant}`, `${sizes.distant}`, rate(median.millraceDistant)],
    [
      `hand-written, ${distant}`,
      `${sizes.distant}`,
      rate(median.rawDistant),
      times(raw2ms),
      atLeast(raw2ms, TARGETS.raw2ms),
    ],
  ])
  const commands = median.commandsPerEvent
  console.log(`
Millrace, per event: ${commands} commands (${atMost(commands, TARGETS.commandsPerEvent)}), ${median.roundTripsPerEvent} round trips
Commands are what INFO commandstats counts, those inside scripts too; round trips are the report's
Rates are compared, so the slower sides handle fewer events: a fifth over latency, a tenth with BullMQ
${availableParallelism()} cores, Node.js ${process.version}, Redis ${redisVersion}`)
}

/** Columns as wide as their widest cell; the first is text, the others are numbers or start with one. */
function printRows(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? []
  for (const row of rows) {
    const cells = row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
    console.log(cells.join('  ').trimEnd())
  }
}

const rate = (value: number) => Math.round(value).toLocaleString('en-US')
const times = (ratio: number) => `${ratio.toFixed(2)} x`
const met = (isMet: boolean) => (isMet ? 'met' : 'not met')
const atLeast = (value: number, target: number) => `>= ${target} ${met(value >= target)}`
const atMost = (value: number, target: number) => `<= ${target} ${met(value <= target)}`
const round3 = (value: number) => Math.round(value * 1_000) / 1_000

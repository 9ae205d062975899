import type { Measured } from './measure.ts'
import { SIDE_NAMES, type SideName } from './sides.ts'

/** A ratio of two sides, and what it is meant to be. */
export interface Figure {
  /** This package's side. */
  readonly ours: SideName
  /** What it is compared with. */
  readonly other: SideName
  /** What of a run is compared. */
  readonly of: (measured: Measured) => number
  readonly bound: 'at least' | 'at most'
  readonly target: number
  readonly means: string
}

export const eventsPerSecond = ({ count, elapsedMs }: Measured) => (count / elapsedMs) * 1_000
export const cpuPerEvent = ({ count, cpuMs }: Measured) => (cpuMs / count) * 1_000
export const bytesAbove = ({ startBytes, peakBytes }: Measured) => peakBytes - startBytes

/** Every figure by its name; the targets are what the package is meant to reach on a quiet machine. */
export const FIGURES = {
  raw: {
    ours: 'millrace',
    other: 'loop',
    of: eventsPerSecond,
    bound: 'at least',
    target: 1.15,
    means: 'events a second against a hand-written loop',
  },
  raw2ms: {
    ours: 'millraceFar',
    other: 'loopFar',
    of: eventsPerSecond,
    bound: 'at least',
    target: 1.75,
    means: 'the same, the server 2 ms away',
  },
  write5ms: {
    ours: 'millraceDurable',
    other: 'loopDurable',
    of: eventsPerSecond,
    bound: 'at least',
    target: 1.75,
    means: 'the same, 5 ms a write, as on a durable server',
  },
  bullmq: {
    ours: 'millrace',
    other: 'bullmq',
    of: eventsPerSecond,
    bound: 'at least',
    target: 5.7,
    means: 'events a second against BullMQ',
  },
  cpu: {
    ours: 'millrace',
    other: 'loop',
    of: cpuPerEvent,
    bound: 'at most',
    target: 1.12,
    means: 'processor time an event against the loop',
  },
  cpuObserved: {
    ours: 'observed',
    other: 'loop',
    of: cpuPerEvent,
    bound: 'at most',
    target: 1.45,
    means: 'the same with reportMetrics and reportLogs',
  },
  retry: {
    ours: 'claimer',
    other: 'millrace',
    of: eventsPerSecond,
    bound: 'at least',
    target: 0.8,
    means: "a claimer's retries a second against a poller's events",
  },
  publish: {
    ours: 'publisher',
    other: 'xadd',
    of: eventsPerSecond,
    bound: 'at least',
    target: 0.85,
    means: 'publishMany against pipelined XADD',
  },
  memory: {
    ours: 'many',
    other: 'few',
    of: bytesAbove,
    bound: 'at most',
    target: 1.1,
    means: 'peak memory above start, a hundred times as many events',
  },
} as const satisfies Record<string, Figure>

export type FigureName = keyof typeof FIGURES
export const FIGURE_NAMES = Object.keys(FIGURES) as FigureName[]

export function isMet({ bound }: Figure, value: number, limit: number): boolean {
  return bound === 'at least' ? value >= limit : value <= limit
}

/** The sides that figures need, each once, in the order of the table of sides. */
export function sidesOf(figures: readonly FigureName[]): SideName[] {
  const needed = new Set<SideName>(figures.flatMap((name) => [FIGURES[name].ours, FIGURES[name].other]))
  return SIDE_NAMES.filter((name) => needed.has(name))
}

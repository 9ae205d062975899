import { parseArgs } from 'node:util'
import { FIGURE_NAMES, type FigureName } from './figures.ts'
import type { Floors } from './floor.ts'

const USAGE = `Usage: npm run bench -- [--entries N] [--rounds N] [--short] [--only NAME[,NAME]] [--floor NAME=N[,NAME=N]] [--json]
Figures: ${FIGURE_NAMES.join(', ')}`

const SIZES = { full: { entries: '100000', rounds: '7' }, short: { entries: '30000', rounds: '11' } } as const

/** What to measure, and how. */
export interface BenchOptions {
  readonly entries: number
  readonly rounds: number
  readonly figures: readonly FigureName[]
  readonly floors: Floors
  readonly json: boolean
}

/** @throws {RangeError | TypeError} A wrong option; the message names it, and shows the usage. */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      entries: { type: 'string' },
      rounds: { type: 'string' },
      short: { type: 'boolean', default: false },
      only: { type: 'string' },
      floor: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const sizes = values.short ? SIZES.short : SIZES.full
  const floors = floorsOf(values.floor)
  const wanted = values.only?.split(',').map(figure)
  return {
    entries: whole('entries', values.entries ?? sizes.entries),
    rounds: whole('rounds', values.rounds ?? sizes.rounds),
    // a floor by itself asks for its figure only
    figures: FIGURE_NAMES.filter((name) =>
      wanted || floors.size > 0 ? wanted?.includes(name) || floors.has(name) : true,
    ),
    floors,
    json: values.json,
  }
}

function floorsOf(given: string | undefined): Floors {
  const floors = new Map<FigureName, number>()
  for (const part of given?.split(',') ?? []) {
    const [, name, floor] = /^(\w+)=(\d+(?:\.\d+)?)$/.exec(part) ?? []
    if (name === undefined) throw wrong(`--floor must be NAME=NUMBER, got ${part}`)
    floors.set(figure(name), Number(floor))
  }
  return floors
}

function figure(name: string): FigureName {
  if (FIGURE_NAMES.includes(name as FigureName)) return name as FigureName
  throw wrong(`there is no figure ${name}`)
}

function whole(name: string, value: string): number {
  if (/^[1-9]\d*$/.test(value)) return Number(value)
  throw wrong(`--${name} must be a whole number from 1, got ${value}`)
}

function wrong(rule: string): RangeError {
  return new RangeError(`Cannot run the benchmark: ${rule}. ${USAGE}`)
}

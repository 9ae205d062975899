import { paint, seconds } from '../paint.ts'
import type { Gauges } from './observer.ts'
import type { Counts, FunctionTally, Tally } from './tally.ts'

/** What the screen shows. */
export interface Picture {
  /** `publishing`, `draining`, `done`. */
  readonly phase: string
  readonly elapsedMs: number
  readonly tally: Tally
  readonly gauges: Gauges
}

/** Shows pictures one after the other; `last` is shown in any case. */
export interface Screen {
  show(picture: Picture): void
  last(picture: Picture): void
}

const LINE_EVERY_MS = 1_000
const TABLE_WIDTH = 80

/** A table that is refreshed in place on a terminal, a line a second otherwise. */
export function createScreen(stdout: NodeJS.WriteStream): Screen {
  return stdout.isTTY && stdout.columns >= TABLE_WIDTH ? tableScreen(stdout) : lineScreen(stdout)
}

function tableScreen(stdout: NodeJS.WriteStream): Screen {
  let height = 0
  function show(picture: Picture): void {
    const lines = tableOf(picture)
    const back = height > 0 ? `\x1b[${height}A` : ''
    // each line clears what is left of the one before it
    stdout.write(back + lines.map((line) => `${line}\x1b[K\n`).join(''))
    height = lines.length
  }
  return { show, last: show }
}

function lineScreen(stdout: NodeJS.WriteStream): Screen {
  let nextMs = 0
  function last(picture: Picture): void {
    const cells = cellsOf(picture)
    const line = (texts: readonly string[]) => texts.map((text, n) => text.padStart(widthOf(cells[n]))).join('  ')
    if (nextMs === 0) stdout.write(`${line(cells.map(([title]) => title))}\n`)
    stdout.write(`${line(cells.map(([, value]) => value))}\n`)
  }
  return {
    last,
    show(picture) {
      if (picture.elapsedMs < nextMs) return
      last(picture)
      nextMs = picture.elapsedMs + LINE_EVERY_MS
    },
  }
}

/** A column of the table: its title, and its number for one function; `undefined` where it has none. */
interface Column {
  readonly title: string
  readonly of: (row: FunctionTally) => number
}

const count = (title: string, name: keyof Counts): Column => ({ title, of: ({ counts }) => counts[name] })

const COLUMNS: readonly Column[] = [
  { title: 'invocations', of: ({ invocations }) => invocations },
  count('read', 'read'),
  count('claimed', 'claimed'),
  count('acked', 'acked'),
  count('retried', 'retried'),
  count('dead-lettered', 'deadLettered'),
]

/** What both functions did, a row each: aligned lines without a line's end. */
export function functionTable({ poller, claimer }: Tally): string[] {
  const cells = (of: (column: Column) => string) =>
    COLUMNS.map((column) => of(column).padStart(column.title.length + 2)).join('')
  const row = (name: string, tally: FunctionTally) => name.padEnd(8) + cells(({ of }) => `${of(tally)}`)
  return [paint('dim', ' '.repeat(8) + cells(({ title }) => title)), row('poller', poller), row('claimer', claimer)]
}

function tableOf({ phase, elapsedMs, tally, gauges }: Picture): string[] {
  const shown = gaugesOf(tally, gauges).map(([name, value, width]) => `${paint('dim', name)} ${value.padEnd(width)}`)
  return [
    '',
    `${paint('bold', phase.padEnd(12))}${seconds(elapsedMs)}`,
    '',
    ...functionTable(tally),
    '',
    shown.join('  '),
  ]
}

function gaugesOf(tally: Tally, { backlog, pending, oldestPendingMs }: Gauges): [string, string, number][] {
  return [
    ['published', `${tally.publishedCount()}`, 6],
    ['backlog', `${backlog}`, 5],
    ['pending', `${pending}`, 5],
    ['oldest pending', seconds(oldestPendingMs), 7],
  ]
}

type Cell = readonly [title: string, value: string]

const CELL_WIDTH = 7
const widthOf = (cell: Cell | undefined) => Math.max(CELL_WIDTH, cell?.[0].length ?? 0)

function cellsOf({ elapsedMs, tally, gauges }: Picture): Cell[] {
  const { read, acked, retried, claimed, deadLettered } = tally.counts
  return [
    ['time', seconds(elapsedMs)],
    ['published', `${tally.publishedCount()}`],
    ['read', `${read}`],
    ['acked', `${acked}`],
    ['retried', `${retried}`],
    ['claimed', `${claimed}`],
    ['dead-lettered', `${deadLettered}`],
    ['backlog', `${gauges.backlog}`],
    ['pending', `${gauges.pending}`],
    ['oldest pending', seconds(gauges.oldestPendingMs)],
  ]
}

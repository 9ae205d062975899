import type { Life } from './fleet.ts'
import type { Fault } from './journal.ts'
import type { DatedNote, ReportNumbers } from './notes.ts'
import type { Holdings } from './observer.ts'
import type { Delayed, Published } from './publish.ts'
import type { Interval } from './time.ts'
import { overlap } from './time.ts'

/** One invocation, as its process noted it. */
export interface Invocation {
  readonly number: number
  readonly startedAt: number
  /** `undefined`: the process ended before it did. */
  readonly endedAt?: number
  readonly report?: ReportNumbers
  readonly failure?: string
}

/** One call of the handler. */
export interface Call {
  readonly entryId: string
  readonly deliveryCount: number
  readonly process: Process
  readonly invocation: Invocation
  readonly startedAt: number
  /** How and when it ended; absent if its process did before it. */
  readonly ending?: 'succeeded' | 'failed'
  readonly endedAt?: number
  /** Milliseconds that its failure asked to wait. */
  readonly waitMs?: number
  /** Whether it failed since its signal was aborted. */
  readonly timedOut?: boolean
}

/** Why a process could do nothing for its entries meanwhile. */
export interface Hindrance extends Interval {
  readonly why:
    | 'its process was frozen'
    | 'its event loop stood still'
    | 'its connection was stalled'
    | 'the server was down'
}

/** A process with all that is known of it. */
export interface Process extends Life {
  readonly invocations: readonly Invocation[]
  readonly calls: readonly Call[]
  readonly hindrances: readonly Hindrance[]
  /** When its connection broke. */
  readonly cuts: readonly number[]
  /** A poison ended or blocked it, and said so before. */
  readonly isPoisoned: boolean
}

/** All that the account goes by. */
export interface Evidence {
  readonly published: readonly Published[]
  readonly delayed: readonly Delayed[]
  readonly processes: readonly Process[]
  readonly holdings: Holdings
  /** When the group, or its only event type, was paused. */
  readonly pauses: readonly Interval[]
  /** From a server's time, which is in entry ids, to the processes' clock. */
  readonly serverEpochMs: number
}

export interface Records {
  readonly lives: readonly Life[]
  readonly notes: ReadonlyMap<string, readonly DatedNote[]>
  readonly faults: readonly Fault[]
  /** When the process that holds the proxies stood still. */
  readonly standstills: readonly Interval[]
  /** When the server did not answer. */
  readonly silences: readonly Interval[]
}

export function pausesOf(faults: readonly Fault[]): Interval[] {
  return faults.filter(({ kind }) => kind.endsWith(' paused'))
}

/** Puts together what each process noted, and what was done to it. */
export function processesOf(records: Records): Process[] {
  return records.lives.map((life) => asProcess(life, records.notes.get(life.name) ?? [], records))
}

function asProcess(life: Life, notes: readonly DatedNote[], { faults, standstills, silences }: Records): Process {
  const span = { from: life.startedAt, to: life.diedAt }
  const hits = faults.filter((fault) => overlap(fault, span) && reaches(fault, life))
  const calls: Call[] = []
  const process: Process = {
    ...life,
    invocations: invocationsOf(notes),
    calls,
    hindrances: [
      ...hits.flatMap(hindranceOf),
      ...notes.flatMap((note) => standstillOf(note, life)),
      ...silences.map((one) => ({ ...one, why: 'the server was down' as const })),
      ...(life.isProxied ? standstills : []).map((one) => ({ ...one, why: 'its event loop stood still' as const })),
    ],
    cuts: hits.filter(({ kind }) => CUTTING.test(kind)).flatMap(({ from, to }) => (from === to ? [from] : [from, to])),
    isPoisoned: notes.some(({ note }) => note === 'dying'),
  }
  calls.push(...callsOf(notes, process))
  return process
}

const CUTTING = /^(server|connection|cut)/

function reaches({ seat, kind }: Fault, life: Life): boolean {
  if (seat === undefined) return true
  return seat === life.seat && (life.isProxied || kind.startsWith('process'))
}

const HINDRANCES: Readonly<Record<string, Hindrance['why']>> = {
  'process frozen': 'its process was frozen',
  'connection stalled': 'its connection was stalled',
  'server killed': 'the server was down',
  'server restarted': 'the server was down',
}

function hindranceOf({ kind, from, to }: Fault): Hindrance[] {
  const why = HINDRANCES[kind]
  return why ? [{ why, from, to }] : []
}

function standstillOf(note: DatedNote, { diedAt }: Life): Hindrance[] {
  const why = 'its event loop stood still'
  if (note.note === 'stood') return [{ why, from: note.from, to: note.at }]
  return note.note === 'dying' ? [{ why, from: note.at, to: diedAt }] : []
}

function invocationsOf(notes: readonly DatedNote[]): Invocation[] {
  const invocations = new Map<number, Invocation>()
  for (const note of notes) {
    if (note.note === 'invoked') invocations.set(note.invocation, { number: note.invocation, startedAt: note.at })
    if (note.note !== 'ended') continue
    const { at, report, failure, invocation } = note
    const begun = invocations.get(invocation) as Invocation
    invocations.set(invocation, { ...begun, endedAt: at, ...(report && { report }), ...(failure && { failure }) })
  }
  return [...invocations.values()]
}

function callsOf(notes: readonly DatedNote[], process: Process): Call[] {
  const calls = new Map<number, Call>()
  const invocations = new Map(process.invocations.map((one) => [one.number, one]))
  for (const note of notes) {
    if (note.note === 'started') {
      const { entryId, deliveryCount, at } = note
      const invocation = invocations.get(note.invocation) as Invocation
      calls.set(note.call, { entryId, deliveryCount, process, invocation, startedAt: at })
    } else if (note.note === 'succeeded' || note.note === 'failed') {
      const wait = note.note === 'failed' && { waitMs: note.waitMs, timedOut: note.timedOut }
      calls.set(note.call, { ...(calls.get(note.call) as Call), ending: note.note, endedAt: note.at, ...wait })
    }
  }
  return [...calls.values()]
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../demo/random.ts'
import type { PrivateRedis } from '../tools/redis-server.ts'
import { orderedConsumer } from './consumer.ts'
import { Fleet } from './fleet.ts'
import { Journal } from './journal.ts'
import { KINDS } from './kinds.ts'
import type { DatedNote } from './notes.ts'
import { readNotes } from './notes.ts'
import type { Gauges, Holdings, StreamEntry } from './observer.ts'
import { Observer } from './observer.ts'
import { ORDERED, TIMING } from './settings.ts'
import { now } from './time.ts'

const { maxDeliveries, minIdleMs } = ORDERED.settings
/** Between an answer of the server and the handlers that start after it, on a busy machine. */
const REPLY_MS = 500

/** One call of a handler of the group that keeps order. */
interface OrderedCall {
  readonly entryId: string
  readonly process: string
  readonly deliveryCount: number
  readonly startedAt: number
  /** Left out: its process died before it ended. */
  readonly ending?: 'succeeded' | 'failed'
  readonly endedAt?: number
}

/** What became of the group that keeps order. */
export interface OrderedAccount {
  readonly entries: number
  readonly calls: number
  readonly deaths: number
  readonly letters: number
  readonly breaches: readonly { readonly rule: string; readonly detail: string }[]
}

/** A group of the soak's stream that keeps the order of keys, its processes, and what is done to them. */
export class OrderedGroup {
  readonly #fleet: Fleet
  readonly #observer: Observer
  readonly #journal: Journal
  readonly #dir: string

  private constructor(fleet: Fleet, observer: Observer, journal: Journal, dir: string) {
    this.#fleet = fleet
    this.#observer = observer
    this.#journal = journal
    this.#dir = dir
  }

  static async start(server: PrivateRedis, dir: string, random: (seat: number) => Random): Promise<OrderedGroup> {
    const journal = new Journal()
    const observer = new Observer(
      server.url,
      orderedConsumer(() => {}),
    )
    const fleet = await Fleet.start(ORDERED.actions, { server, dir, journal, timing: TIMING, isOrdered: true, random })
    return new OrderedGroup(fleet, observer, journal, dir)
  }

  gauges(): Promise<Gauges> {
    return this.#observer.gauges()
  }

  /** Kills, freezes and cuts off one process after the other, until it is stopped. */
  async injectFaults(random: Random, signal: AbortSignal): Promise<void> {
    const lasting = new Set<Promise<void>>()
    while (!signal.aborted) {
      await sleep(random.integer(...ORDERED.faultEveryMs), undefined, { signal }).catch(() => {})
      const seat = random.pick(this.#fleet.seats)
      if (signal.aborted) break
      const what = random.pick(['kill', 'kill', 'freeze', 'sever', 'stall'] as const)
      if (what === 'kill') seat.kill()
      else if (what === 'sever') seat.sever()
      else {
        const ms = random.integer(...ORDERED.freezeMs)
        const fault = what === 'freeze' ? seat.freeze(ms, signal) : seat.stall(Math.min(ms, 3_000), signal)
        lasting.add(fault.finally(() => lasting.delete(fault)))
      }
    }
    await Promise.all(lasting)
  }

  async stop(isUrgent: boolean): Promise<void> {
    await this.#fleet.stop(isUrgent)
  }

  close(): void {
    this.#observer.close()
  }

  /** @param archived Entries that a janitor took out of the stream. */
  async account(archived: readonly [string, string[]][] | undefined): Promise<OrderedAccount> {
    const holdings = await this.#observer.holdings(archived)
    const calls = [...readNotes(this.#dir, 'ordered')].flatMap(([name, notes]) => callsOf(name, notes))
    const halted = this.#journal.faults.filter(({ kind }) => kind === 'process frozen' || kind === 'connection stalled')
    const isHalted = ({ process, startedAt }: OrderedCall) =>
      halted.some(
        ({ seat, from, to }) =>
          process.startsWith(`ordered-${seat}-`) && from < startedAt && to > startedAt - minIdleMs - REPLY_MS,
      )
    return {
      entries: holdings.entries.length,
      calls: calls.length,
      deaths: this.#fleet.lives.filter(({ end }) => end !== 'stopped').length,
      letters: holdings.letters.length,
      breaches: breachesOf(holdings, calls, isHalted, Date.now() - now()),
    }
  }
}

function callsOf(process: string, notes: readonly DatedNote[]): OrderedCall[] {
  const calls = new Map<number, OrderedCall>()
  for (const note of notes) {
    if (note.note === 'started')
      calls.set(note.call, { entryId: note.entryId, process, deliveryCount: note.deliveryCount, startedAt: note.at })
    if (note.note !== 'succeeded' && note.note !== 'failed') continue
    const call = calls.get(note.call)
    if (call) calls.set(note.call, { ...call, ending: note.note, endedAt: note.at })
  }
  return [...calls.values()]
}

/**
 * What does not hold of order.
 *
 * @param isHalted Whether a call's process may have been given its entry long before: what it starts then may be another's by now.
 */
export function breachesOf(
  { entries, letters, pending, backlog }: Holdings,
  calls: readonly OrderedCall[],
  isHalted: (call: OrderedCall) => boolean,
  serverEpochMs: number,
): OrderedAccount['breaches'] {
  const byEntry = Map.groupBy(calls, ({ entryId }) => entryId)
  const lettersOf = Map.groupBy(letters, ({ entryId }) => entryId)
  const lettersAt = new Map(letters.map(({ id, entryId }) => [entryId, Number(id.split('-')[0]) - serverEpochMs]))
  const open = new Set([...pending.map(({ id }) => id), ...entries.slice(entries.length - backlog).map(({ id }) => id)])
  const succeeded = (id: string) => byEntry.get(id)?.some(({ ending }) => ending === 'succeeded') ?? false
  /** When it was decided, at the earliest. */
  const decidedAt = ({ id, kind }: StreamEntry): number => {
    const ends = (byEntry.get(id) ?? []).flatMap(({ ending, endedAt = Infinity, deliveryCount }) => {
      const isLast = deliveryCount >= maxDeliveries || KINDS[kind]?.fate === 'non-retryable'
      return ending === 'succeeded' || (ending === 'failed' && isLast) ? [endedAt] : []
    })
    return Math.min(...ends, lettersAt.get(id) ?? Infinity)
  }
  const overtakes = [...Map.groupBy(entries, ({ key }) => key)].flatMap(([key, own]) => {
    if (key === undefined) return []
    let before = Number.NEGATIVE_INFINITY
    return own.flatMap((entry) => {
      const early = (byEntry.get(entry.id) ?? []).filter((call) => call.startedAt < before && !isHalted(call))
      before = Math.max(before, decidedAt(entry))
      return early.map(({ process }) => `${entry.id} of ${key}, by ${process}`)
    })
  })
  const rules: Readonly<Record<string, readonly string[]>> = {
    'in order: an entry starts once all before it of its key is decided': overtakes,
    'in order: no entry is lost': entries
      .filter(({ id }) => !succeeded(id) && !lettersOf.has(id) && !open.has(id))
      .map(({ id, kind }) => `${id}: ${kind}`),
    'in order: nothing is left in the end': [...open],
    'in order: no entry is dead-lettered twice': [...lettersOf].flatMap(([id, own]) => (own.length > 1 ? [id] : [])),
    'in order: no entry is called more than maxDeliveries times': [...byEntry].flatMap(([id, own]) =>
      own.length > maxDeliveries ? [`${id}: ${own.length} calls`] : [],
    ),
  }
  return Object.entries(rules).flatMap(([rule, details]) => details.map((detail) => ({ rule, detail })))
}

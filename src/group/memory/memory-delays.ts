import type { Field } from '../../core/entry.ts'
import { delayKeys } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import type { StreamTrim } from '../connection.ts'
import type { CancelAnswer, Delaying, EventDelay, PromotedPage } from '../delays.ts'
import { MAX_CANCELLATIONS, MAX_EVENT_DELAY_MS } from '../redis/scripts/delays.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from '../redis/scripts/script.ts'
import type { MemoryMarkers } from './memory-markers.ts'

const HOUR_MS = 3_600_000

/** An event that waits. */
interface DelayedEvent {
  readonly due: number
  readonly fields: readonly Field[]
  readonly trim: StreamTrim
  readonly groups: readonly string[]
}

/** How an event ended, and until when that is remembered. */
interface Ended {
  readonly until: number
  /** When it was due, if it was promoted; `undefined`: it was cancelled. */
  readonly promoted: number | undefined
  /** Nonces of who cancelled an event of that id, newest first. */
  readonly cancelledBy: readonly string[]
}

interface DelayedOfStream {
  readonly waiting: Map<string, DelayedEvent>
  readonly ended: Map<string, Ended>
}

/** What holds the streams, and gives the time. */
interface StreamsBeside {
  readonly clock: { now(): number }
  readonly markers: MemoryMarkers
  stream(key: string): {
    add(fields: readonly Field[], nowMs: number): string
    trim(trim: StreamTrim, nowMs: number): number
  }
}

/** Delays events in memory, as the scripts do on a server. */
export class MemoryDelays implements Delaying {
  readonly #server: StreamsBeside
  readonly #streams = new Map<string, DelayedOfStream>()

  constructor(server: StreamsBeside) {
    this.#server = server
  }

  /** Delays an event. @returns When it is due, or the refusal. */
  add(stream: string, delay: EventDelay, { trim, groups, ...event }: Omit<DelayedEvent, 'due'>): number | Error {
    const { eventId } = delay
    const due = this.dueOf(stream, delay)
    if (due instanceof Error) return due
    const first = this.waits(stream, eventId)?.due ?? this.wasPromoted(stream, eventId)
    if (first !== undefined) return first
    // the bytes are those of this moment
    const fields = event.fields.map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
    this.#of(stream).waiting.set(eventId, { due, fields, trim, groups })
    return due
  }

  /** When an event would be due, or the refusal. */
  dueOf(stream: string, delay: EventDelay): number | Error {
    const now = this.#now
    const due = 'delayMs' in delay ? now + Math.ceil(delay.delayMs) : Math.max(0, delay.deliverAt)
    if (due - now <= MAX_EVENT_DELAY_MS) return this.#refusal(stream) ?? due
    return new RedisReplyError('ERR deliverAt must be within 366 days by the clock of the server')
  }

  /** The event of that id that waits. */
  waits(stream: string, eventId: string): { readonly due: number } | undefined {
    return this.#of(stream).waiting.get(eventId)
  }

  /** When the event of that id was due that was promoted within the last hour or two. */
  wasPromoted(stream: string, eventId: string): number | undefined {
    return this.#endedAs(stream, eventId)?.promoted
  }

  async cancel(
    stream: string,
    eventId: string,
    nonce: string,
    before: readonly string[] = [],
    markersOf: string = stream,
  ): Promise<CancelAnswer> {
    const refusal = this.#refusal(stream)
    if (refusal) throw refusal
    const ended = this.#endedAs(stream, eventId)
    if (ended?.cancelledBy.includes(nonce)) return 'cancelled'
    const waiting = this.waits(stream, eventId)
    if (waiting) {
      this.#of(stream).waiting.delete(eventId)
      this.#noteEnded(stream, eventId, undefined, [nonce])
      this.#server.markers.remove(markersOf, eventId, waiting)
      return 'cancelled'
    }
    if (ended === undefined) return 'unknown'
    if (ended.promoted !== undefined) return 'too-late'
    return before.some((call) => ended.cancelledBy.includes(call)) ? 'cancelled' : 'already-cancelled'
  }

  async promote(key: string): Promise<PromotedPage> {
    const nowMs = this.#now
    const refusal = this.#refusal(key)
    if (refusal) return { promoted: 0, unreadable: 0, nowMs, nextDueAt: undefined, groups: [], refusal }
    const { waiting } = this.#of(key)
    const due = this.waiting(key).filter((event) => event.due <= nowMs)
    const page = due.slice(0, MAX_ENTRIES_PER_SCRIPT_CALL)
    const groups = new Set<string>()
    for (const { eventId, fields, trim, ...event } of page) {
      const stream = this.#server.stream(key)
      stream.add(fields, nowMs)
      stream.trim(trim, nowMs)
      waiting.delete(eventId)
      this.#noteEnded(key, eventId, event.due)
      for (const group of event.groups) groups.add(group)
    }
    const nextDueAt = this.nextDueAt(key)
    return { promoted: page.length, unreadable: 0, nowMs, nextDueAt, groups: [...groups], refusal: undefined }
  }

  /** What waits, in due order. */
  waiting(stream: string): readonly (DelayedEvent & { readonly eventId: string })[] {
    return [...this.#of(stream).waiting]
      .map(([eventId, event]) => ({ ...event, eventId }))
      .sort((a, b) => a.due - b.due || (a.eventId < b.eventId ? -1 : 1))
  }

  /** When the first of them is due: the flag of runs. `undefined`: nothing is delayed. */
  nextDueAt(stream: string): number | undefined {
    return this.waiting(stream)[0]?.due
  }

  /** Streams `orders` and `{orders}` share the keys of delayed events: these belong to the one of which an event waits. */
  #refusal(stream: string): RedisReplyError | undefined {
    const keyOf = (name: string) => delayKeys(name).delayed
    const owner = [...this.#streams].find(
      ([name, { waiting }]) => name !== stream && waiting.size > 0 && keyOf(name) === keyOf(stream),
    )
    return owner && new RedisReplyError(`ERR the keys of delayed events belong to stream ${owner[0]}`)
  }

  #endedAs(stream: string, eventId: string): Ended | undefined {
    const ended = this.#of(stream).ended.get(eventId)
    return ended && ended.until > this.#now ? ended : undefined
  }

  #noteEnded(stream: string, eventId: string, promoted: number | undefined, cancelledBy: readonly string[] = []): void {
    const all = [...cancelledBy, ...(this.#endedAs(stream, eventId)?.cancelledBy ?? [])]
    const until = (Math.floor(this.#now / HOUR_MS) + 2) * HOUR_MS
    this.#of(stream).ended.set(eventId, { until, promoted, cancelledBy: all.slice(0, MAX_CANCELLATIONS) })
  }

  #of(stream: string): DelayedOfStream {
    const found = this.#streams.get(stream) ?? { waiting: new Map(), ended: new Map() }
    this.#streams.set(stream, found)
    return found
  }

  get #now(): number {
    return Math.floor(this.#server.clock.now())
  }
}

import type { Entry } from '../../core/entry.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import { parseXrange, xrange } from '../../group/redis/commands/xrange.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import { isError, isRequestTooLarge } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import { sleepUnlessAborted } from '../until-aborted.ts'
import { RecentPageSize } from './recent-page-size.ts'

/** How often an answer that did not come is asked for again, with less in it. */
const MOST_ATTEMPTS = 3
/** Parts of a second that reading at a rate goes in. */
const STEPS_PER_SECOND = 4

export interface PageReaderOptions {
  readonly sender: CallSender
  readonly stream: string
  /** Entries per second at most. */
  readonly rate?: number | undefined
  readonly signal: AbortSignal
}

/** The first and the last id of a range. */
export type IdPair = readonly [from: string, to: string]

export interface PageOfPlace {
  readonly entries: readonly Entry[]
  readonly asked: number
}

/** Reads a stream's entries, as many at once as fit into a page, and no faster than it may. */
export class PageReader {
  readonly signal: AbortSignal
  readonly #sender: CallSender
  readonly #stream: string
  readonly #size = new RecentPageSize()
  readonly #rate: number
  #freeAt = performance.now()

  constructor({ sender, stream, rate = Infinity, signal }: PageReaderOptions) {
    this.#sender = sender
    this.#stream = stream
    this.#rate = rate
    this.signal = signal
  }

  /** Entries that may be asked for at once. */
  get room(): number {
    return Math.min(this.#size.count, Math.max(1, Math.ceil(this.#rate / STEPS_PER_SECOND)))
  }

  /**
   * The first entries between two ids, and whether there are no more.
   *
   * @throws {RedisConnectionError} No reply came, also not for fewer entries.
   * @throws {RedisReplyError} The server refused it.
   */
  async read(from: string, to: string): Promise<{ entries: Entry[]; isLast: boolean }> {
    const { count, pages } = await this.#ask((room) => [xrange(this.#stream, from, to, room)])
    const [entries = []] = pages
    return { entries, isLast: entries.length < count }
  }

  /** The first entries of each of some ranges, and how many were asked for: of as many ranges as there is room for, at least one. */
  async readPlaces(places: readonly IdPair[], perPlace: number): Promise<PageOfPlace[]> {
    const mostOf = (room: number) => Math.max(1, Math.min(perPlace, room))
    const { count, pages } = await this.#ask((room) => {
      const some = places.slice(0, Math.max(1, Math.floor(room / mostOf(room))))
      return some.map(([from, to]) => xrange(this.#stream, from, to, mostOf(room)))
    })
    return pages.map((entries) => ({ entries, asked: mostOf(count) }))
  }

  async #ask(callsFor: (room: number) => RedisCall[]): Promise<{ count: number; pages: Entry[][] }> {
    for (let attempt = 1; ; attempt++) {
      const waitMs = this.#freeAt - performance.now()
      if (waitMs > 0) await sleepUnlessAborted(waitMs, this.signal)
      const count = this.room
      try {
        const pages = answered(await this.#sender.send(callsFor(count))).map(parseXrange)
        this.#took(pages.flat())
        return { count, pages }
      } catch (error) {
        if (attempt === MOST_ATTEMPTS || this.signal.aborted || !mayBeTooMuch(error)) throw error
        this.#size.shrink()
      }
    }
  }

  #took(entries: readonly Entry[]): void {
    this.#size.saw(entries)
    if (this.#rate < Infinity)
      this.#freeAt = Math.max(performance.now(), this.#freeAt) + (1_000 * entries.length) / this.#rate
  }
}

function answered(replies: readonly RedisReply[]): readonly RedisReply[] {
  const refusal = replies.find(isError)
  if (refusal !== undefined) throw refusal
  return replies
}

/** Whether fewer entries may be answered: those were too large, or took too long. */
function mayBeTooMuch(error: unknown): boolean {
  return error instanceof RedisConnectionError || (error instanceof RedisReplyError && isRequestTooLarge(error))
}

import type { Entry } from '../../core/entry.ts'
import { parseEntryId } from '../../core/entry.ts'
import { untilAborted } from '../until-aborted.ts'
import type { PageReader } from './page-reader.ts'
import type { WeightedEntries } from './read-range.ts'

/** Entries that are read at each place, where there are places enough. */
const PER_PROBE = 10

/** Equal parts of a span of time; each is read at its beginning. */
export class SampledSpans {
  readonly #firstMs: number
  readonly #lastMs: number
  readonly #count: number
  /** Entries that are read of each. */
  readonly perProbe: number
  /** Sums over the spans that have been read, for the margin. */
  #probes = 0
  #weights = 0
  #squares = 0

  /** @param entries How many are to be read, about. */
  constructor(firstMs: number, lastMs: number, entries: number) {
    this.#firstMs = firstMs
    this.#lastMs = lastMs
    // no span is shorter than what tells two ids apart
    this.#count = Math.max(1, Math.min(Math.ceil(entries / PER_PROBE), lastMs - firstMs + 1))
    this.perProbe = Math.ceil(entries / this.#count)
  }

  /** Ids between which the n-th span lies; `undefined` after the last one. */
  place(n: number): readonly [from: string, to: string] | undefined {
    if (n >= this.#count) return undefined
    return [idOf(this.#startOf(n)), idOf(this.#startOf(n + 1) - 1)]
  }

  /**
   * How many entries each that was read at a span stands for: all that are in it, if there were no more than were asked for, else as many as would be in it if
   * they went on as they began.
   */
  weightOf(n: number, entries: readonly Entry[], asked: number): number {
    const weight = entries.length < asked ? 1 : this.#density(n, entries) / entries.length
    const all = weight * entries.length
    this.#probes++
    this.#weights += all
    this.#squares += all * all
    return weight
  }

  /** Entries that are read where each span has enough. */
  get expected(): number {
    return this.#count * this.perProbe
  }

  get probes(): number {
    return this.#probes
  }

  /** Two standard errors of a share of one half, each span being one observation. */
  get margin(): number {
    return this.#squares > 0 ? Math.min(1, 1.96 * Math.sqrt(0.25 * (this.#squares / this.#weights ** 2))) : 1
  }

  /** Entries of a span by those at its beginning. */
  #density(n: number, entries: readonly Entry[]): number {
    const startMs = this.#startOf(n)
    const spanMs = this.#startOf(n + 1) - startMs
    const tookMs = Number(parseEntryId((entries.at(-1) as Entry).id).ms) - startMs + 1
    // the last entry ended the time that was measured, and so is not counted in it
    const counted = Math.max(1, entries.length - 1)
    return Math.max(entries.length, (counted * spanMs) / tookMs)
  }

  #startOf(n: number): number {
    return this.#firstMs + Math.floor(((this.#lastMs - this.#firstMs + 1) * n) / this.#count)
  }
}

/** The highest that an id can have. */
const LAST_MS = 2n ** 64n - 1n

/** An id as text, also of numbers that JavaScript writes with an exponent, or rounds up. */
function idOf(ms: number): string {
  const exact = BigInt(Math.max(0, ms))
  return String(exact < LAST_MS ? exact : LAST_MS)
}

/** Yields the entries at the beginnings of spans, until the signal. */
export async function* sampleRange(reader: PageReader, spans: SampledSpans): AsyncGenerator<WeightedEntries> {
  for (let n = 0; ; ) {
    const places = Array.from({ length: 10 }, (_, more) => spans.place(n + more)).filter((place) => place !== undefined)
    if (places.length === 0) return
    const pages = await untilAborted(reader.readPlaces(places, spans.perProbe), reader.signal)
    if (pages === undefined) return
    for (const { entries, asked } of pages) yield { entries, weight: spans.weightOf(n++, entries, asked) }
  }
}

import type { Field } from '../core/entry.ts'
import { entryBytes } from '../core/entry.ts'

/** What a batch is bounded by. */
export interface BatchLimits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxBatchingWindowMs: number
}

/** An event with its entry. */
interface Gathered {
  readonly delivery: { readonly fields: readonly Field[] }
}

/** A gathering without its private members, by which TypeScript tells those of two builds of this package apart. */
export type AnyGathering<Item extends Gathered> = Pick<Gathering<Item>, keyof Gathering<Item>>

/** The events of one route that wait to be handed over together. */
export class Gathering<Item extends Gathered> {
  readonly #limits: BatchLimits
  readonly #waiting: { readonly item: Item; readonly bytes: number; readonly dueAt: number }[] = []
  #bytes = 0

  constructor(limits: BatchLimits) {
    this.#limits = limits
  }

  add(item: Item, now: number): void {
    const bytes = entryBytes(item.delivery.fields)
    this.#waiting.push({ item, bytes, dueAt: now + this.#limits.maxBatchingWindowMs })
    this.#bytes += bytes
  }

  /** When the first has waited long enough; `undefined` where none waits. */
  get dueAt(): number | undefined {
    return this.#waiting[0]?.dueAt
  }

  isDue(now: number): boolean {
    const { maxEvents, maxBytes } = this.#limits
    return this.#waiting.length >= maxEvents || this.#bytes >= maxBytes || now >= (this.dueAt ?? Infinity)
  }

  get hasWindow(): boolean {
    return this.#limits.maxBatchingWindowMs > 0
  }

  /** Takes the first ones out, as many as fit into a batch; one alone fits always. */
  take(): Item[] {
    const { maxEvents, maxBytes } = this.#limits
    let count = 0
    let bytes = 0
    for (const next of this.#waiting) {
      if (count === maxEvents || (count > 0 && bytes + next.bytes > maxBytes)) break
      bytes += next.bytes
      count++
    }
    this.#bytes -= bytes
    return this.#waiting.splice(0, count).map(({ item }) => item)
  }
}

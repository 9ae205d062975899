/** What a batch is bounded by. */
export interface BatchLimits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxBatchingWindowMs: number
}

/** An event whose entry has so many bytes of names and values. */
export interface Gathered {
  readonly bytes: number
}

/** The events of one batch route that wait to be handed over together. */
export interface Gathering<Item extends Gathered> {
  /** Whether an event may wait for those of a later read. */
  readonly hasWindow: boolean
  /** When the first has waited long enough, on the clock of `add`; `undefined` where none waits. */
  readonly dueAt: number | undefined
  /** Events that wait. */
  readonly size: number
  add(item: Item, now: number): void
  /** Whether a batch is full, or its first event has waited long enough. */
  isDue(now: number): boolean
  /** Takes the first ones out, as many as fit into a batch; a single one always fits. */
  take(): Item[]
}

export function createGathering<Item extends Gathered>(limits: BatchLimits): Gathering<Item> {
  return new BoundedGathering(limits)
}

class BoundedGathering<Item extends Gathered> implements Gathering<Item> {
  readonly #limits: BatchLimits
  readonly #waiting: { readonly item: Item; readonly bytes: number; readonly dueAt: number }[] = []
  #bytes = 0

  constructor(limits: BatchLimits) {
    this.#limits = limits
  }

  get hasWindow(): boolean {
    return this.#limits.maxBatchingWindowMs > 0
  }

  get size(): number {
    return this.#waiting.length
  }

  get dueAt(): number | undefined {
    return this.#waiting[0]?.dueAt
  }

  add(item: Item, now: number): void {
    const { bytes } = item
    this.#waiting.push({ item, bytes, dueAt: now + this.#limits.maxBatchingWindowMs })
    this.#bytes += bytes
  }

  isDue(now: number): boolean {
    const { maxEvents, maxBytes } = this.#limits
    return this.#waiting.length >= maxEvents || this.#bytes >= maxBytes || now >= (this.dueAt ?? Infinity)
  }

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

/** What a batch is bounded by. */
export interface BatchLimits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxWindowMs: number
}

/** Events that wait to be handed over together. */
export class Gathering<Item> {
  readonly #limits: BatchLimits
  #items: { readonly item: Item; readonly bytes: number }[] = []
  #bytes = 0
  #since = 0

  constructor(limits: BatchLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#items.length
  }

  get isFull(): boolean {
    return this.#items.length >= this.#limits.maxEvents || this.#bytes >= this.#limits.maxBytes
  }

  /** When the first of them has waited for as long as any may. */
  get endsAt(): number {
    return this.#since + this.#limits.maxWindowMs
  }

  add(item: Item, bytes: number, now: number): void {
    if (this.#items.length === 0) this.#since = now
    this.#items.push({ item, bytes })
    this.#bytes += bytes
  }

  /** Takes the first ones out, as many as fit into a batch; one alone fits always. */
  take(): Item[] {
    const { maxEvents, maxBytes } = this.#limits
    let count = 0
    let bytes = 0
    for (const next of this.#items) {
      if (count === maxEvents || (count > 0 && bytes + next.bytes > maxBytes)) break
      bytes += next.bytes
      count++
    }
    this.#bytes -= bytes
    return this.#items.splice(0, count).map(({ item }) => item)
  }
}

import type { BatchCall, Batches, BatchHost, BatchItem, BatchPlace } from '../route.ts'

/** What a batch is bounded by. */
export interface BatchLimits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxBatchingWindowMs: number
}

/** Gathers the events of one route until there are enough of them, or the first has waited long enough. */
export class GatheredBatches<Item> implements Batches<Item> {
  readonly #host: BatchHost<Item>
  readonly #limits: BatchLimits
  readonly #call: (place: BatchPlace, items: readonly BatchItem[]) => BatchCall
  readonly #items: { readonly item: Item; readonly bytes: number; readonly waitsUntil: number }[] = []
  #bytes = 0

  constructor(
    host: BatchHost<Item>,
    limits: BatchLimits,
    call: (place: BatchPlace, items: readonly BatchItem[]) => BatchCall,
  ) {
    this.#host = host
    this.#limits = limits
    this.#call = call
  }

  add(item: Item, bytes: number): void {
    this.#items.push({ item, bytes, waitsUntil: this.#host.now() + this.#limits.maxBatchingWindowMs })
    this.#bytes += bytes
  }

  flush(atOnce: number): number | undefined {
    const now = this.#host.now()
    while (this.#isDue(now)) {
      if (!this.#host.mayStart()) for (const item of this.#take()) this.#host.release(item)
      else if (this.#host.running < atOnce) this.#host.handOver(this.#take(), this.#call)
      else return undefined
    }
    return this.#mayLinger ? this.#items[0]?.waitsUntil : undefined
  }

  #isDue(now: number): boolean {
    const { maxEvents, maxBytes } = this.#limits
    const [first] = this.#items
    if (!first) return false
    const isFull = this.#items.length >= maxEvents || this.#bytes >= maxBytes
    if (isFull || !this.#host.mayWait()) return true
    return this.#mayLinger ? now >= first.waitsUntil : !this.#host.isPreparing
  }

  get #mayLinger(): boolean {
    return this.#host.mayLinger && this.#limits.maxBatchingWindowMs > 0
  }

  /** Takes the first ones out, as many as fit into a batch; one alone fits always. */
  #take(): Item[] {
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

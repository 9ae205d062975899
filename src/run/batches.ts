import { entryBytes } from '../core/entry.ts'
import type { BatchCall, Batches, BatchHost, BatchItem, BatchPlace, BatchRun } from '../route.ts'
import { released } from './settlement.ts'

/** Calls a batch handler. */
export type CallBatch = (place: BatchPlace, items: readonly BatchItem[], remainingMs: () => number) => BatchCall

/** What a batch is bounded by. */
export interface BatchLimits {
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxBatchingWindowMs: number
}

/** Gathers the events of one route until there are enough of them, or the first has waited long enough. */
export class GatheredBatches<Item extends BatchItem> implements Batches<Item> {
  readonly #host: BatchHost<Item>
  readonly #run: BatchRun
  readonly #limits: BatchLimits
  readonly #call: CallBatch
  readonly #items: { readonly item: Item; readonly bytes: number; readonly waitsUntil: number }[] = []
  #bytes = 0

  constructor(host: BatchHost<Item>, run: BatchRun, limits: BatchLimits, call: CallBatch) {
    this.#host = host
    this.#run = run
    this.#limits = limits
    this.#call = call
  }

  add(item: Item): void {
    const bytes = entryBytes(item.delivery.fields)
    this.#items.push({ item, bytes, waitsUntil: this.#run.parts.clock.monotonic() + this.#limits.maxBatchingWindowMs })
    this.#bytes += bytes
  }

  flush(atOnce: number): number | undefined {
    const now = this.#run.parts.clock.monotonic()
    while (this.#isDue(now)) {
      if (!this.#run.mayStart()) for (const { delivery, end } of this.#take()) end(released(delivery))
      else if (this.#host.running < atOnce) this.#handOver(this.#take())
      else return undefined
    }
    return this.#mayLinger ? this.#items[0]?.waitsUntil : undefined
  }

  #handOver(items: readonly Item[]): void {
    this.#host.handOver(items, (remainingMs) => this.#call(this.#run.parts, items, remainingMs))
  }

  #isDue(now: number): boolean {
    const { maxEvents, maxBytes } = this.#limits
    const [first] = this.#items
    if (!first) return false
    const isFull = this.#items.length >= maxEvents || this.#bytes >= maxBytes
    if (isFull || !this.#run.mayWait()) return true
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

import { type BatchLimits, createGathering, type Gathered, type Gathering } from './gathering.ts'

/** An event that knows which delivery it is at. */
interface Counted extends Gathered {
  readonly deliveryCount: number
}

/**
 * Gathers events so that a batch that failed as a whole comes again in parts: those of one delivery count share a call, half as many at each
 * delivery, and at the last each is alone. The count is all that has to be known of a failed batch, and the server keeps it: the parts get smaller
 * whichever run takes them, and whatever became of the process.
 *
 * @param maxDeliveries Of these events.
 */
export function createBisectingGathering<Item extends Counted>(
  limits: BatchLimits,
  maxDeliveries: number,
): Gathering<Item> {
  return new BisectingGathering(limits, maxDeliveries)
}

/** Events per call at a delivery; 1 or more. */
function partSize(maxEvents: number, deliveryCount: number, maxDeliveries: number): number {
  return deliveryCount >= maxDeliveries ? 1 : Math.max(1, Math.ceil(maxEvents / 2 ** (deliveryCount - 1)))
}

class BisectingGathering<Item extends Counted> implements Gathering<Item> {
  readonly #limits: BatchLimits
  readonly #maxDeliveries: number
  /** By delivery count; none is empty. */
  readonly #parts = new Map<number, Gathering<Item>>()

  constructor(limits: BatchLimits, maxDeliveries: number) {
    this.#limits = limits
    this.#maxDeliveries = maxDeliveries
  }

  get hasWindow(): boolean {
    return this.#limits.maxBatchingWindowMs > 0
  }

  get dueAt(): number | undefined {
    return this.#first?.[1].dueAt
  }

  get size(): number {
    let size = 0
    for (const part of this.#parts.values()) size += part.size
    return size
  }

  add(item: Item, now: number): void {
    const { deliveryCount } = item
    const part = this.#parts.get(deliveryCount) ?? this.#partOf(deliveryCount)
    this.#parts.set(deliveryCount, part)
    part.add(item, now)
  }

  isDue(now: number): boolean {
    return this.#first !== undefined && (this.#full !== undefined || this.#first[1].isDue(now))
  }

  take(): Item[] {
    const taken = this.#full ?? this.#first
    if (!taken) return []
    const [deliveryCount, part] = taken
    const items = part.take()
    if (part.dueAt === undefined) this.#parts.delete(deliveryCount)
    return items
  }

  #partOf(deliveryCount: number): Gathering<Item> {
    const maxEvents = partSize(this.#limits.maxEvents, deliveryCount, this.#maxDeliveries)
    return createGathering({ ...this.#limits, maxEvents })
  }

  /** The part whose first event waits longest. */
  get #first(): [number, Gathering<Item>] | undefined {
    let first: [number, Gathering<Item>] | undefined
    for (const part of this.#parts) if (dueAt(part) < dueAt(first)) first = part
    return first
  }

  /** A part that is due whatever the time is. */
  get #full(): [number, Gathering<Item>] | undefined {
    return [...this.#parts].find(([, part]) => part.isDue(Number.NEGATIVE_INFINITY))
  }
}

function dueAt(part: readonly [number, { readonly dueAt: number | undefined }] | undefined): number {
  return part?.[1].dueAt ?? Infinity
}

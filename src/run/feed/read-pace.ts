import type { Clock } from '../../clock.ts'
import type { StreamReader } from './stream-reader.ts'

/** A read whose handlers leave no room for longer than that is followed by a smaller one: what is due waits behind what was read. */
const SLOW_MS = 500

/** How many entries a read of a listening poller may bring: while handlers are quick more each time, up to a batch; where they are slow, no more than run side by side. */
export class ReadPace {
  readonly #clock: Clock
  readonly #reader: StreamReader
  readonly #concurrency: number
  #addedAt: number | undefined

  constructor(clock: Clock, reader: StreamReader, concurrency: number) {
    this.#clock = clock
    this.#reader = reader
    this.#concurrency = concurrency
    reader.atMost = concurrency
  }

  /** What was read is with the pool. */
  added(): void {
    this.#addedAt = this.#clock.monotonic()
  }

  /** There is room again. */
  hasRoom(): void {
    if (this.#addedAt === undefined) return
    const isQuick = this.#clock.monotonic() - this.#addedAt < SLOW_MS
    if (!isQuick) this.#reader.atMost = this.#concurrency
    else if (this.#reader.isFull) this.#reader.atMost *= 2
    this.#addedAt = undefined
  }
}

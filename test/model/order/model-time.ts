import { setImmediate } from 'node:timers/promises'
import type { Chance } from './chance.ts'

interface Timer {
  readonly at: number
  readonly rank: number
  callback: (() => void) | undefined
}

const MOST_STEPS = 300_000

/** Time that goes on as soon as nothing is left to do: what waits for the same moment comes in an order of chance. Answers of a real server take none of it. */
export class ModelTime {
  nowMs = Date.UTC(2030, 0, 1)
  /** Moments at which something was called back. */
  steps = 0
  readonly #chance: Chance
  /** A heap. */
  readonly #timers: Timer[] = []
  #busy = 0

  constructor(chance: Chance) {
    this.#chance = chance
  }

  after(ms: number, callback: () => void): () => void {
    const timer: Timer = { at: this.nowMs + Math.max(0, Math.ceil(ms)), rank: this.#chance.next(), callback }
    this.#push(timer)
    return () => {
      timer.callback = undefined
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve))
  }

  /** Waits for a server that is none of this time. */
  async real<T>(call: Promise<T>): Promise<T> {
    this.#busy++
    try {
      return await call
    } finally {
      this.#busy--
    }
  }

  /** Lets time go on until that is over. @throws {Error} Nothing is left that could end it. */
  async until<T>(what: Promise<T>): Promise<T> {
    let isOver = false
    const over = () => {
      isOver = true
    }
    what.then(over, over)
    for (;;) {
      await this.#quiet()
      if (isOver) return await what
      const timer = this.#pop()
      if (!timer) throw new Error('nothing is left to wait for')
      if (!timer.callback) continue
      this.nowMs = timer.at
      if (++this.steps > MOST_STEPS) throw new Error('it goes on for ever')
      timer.callback()
    }
  }

  async #quiet(): Promise<void> {
    do await setImmediate()
    while (this.#busy > 0)
  }

  #push(timer: Timer): void {
    const heap = this.#timers
    let at = heap.push(timer) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!isBefore(timer, heap[above] as Timer)) break
      heap[at] = heap[above] as Timer
      at = above
    }
    heap[at] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#timers
    const first = heap[0]
    const last = heap.pop()
    if (!first || !last || heap.length === 0) return first
    let at = 0
    for (;;) {
      let next = 2 * at + 1
      if (next >= heap.length) break
      if (next + 1 < heap.length && isBefore(heap[next + 1] as Timer, heap[next] as Timer)) next++
      if (!isBefore(heap[next] as Timer, last)) break
      heap[at] = heap[next] as Timer
      at = next
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.rank < b.rank)
}

import type { Clock } from 'millrace'
import type { ModelTime } from './model-time.ts'

/** What becomes of a request: carried out without an answer, or not at all, or in part, after its caller gave up, or twice. */
export type Fault = 'unanswered' | 'never' | 'part' | 'late' | 'twice'

/** A process that may freeze at any moment, and go on as a zombie, or die. */
export class Process {
  readonly name: string
  readonly action: 'poll' | 'claim'
  /** Lives of the group before it began. */
  readonly bornIn: number
  readonly isOrdered: boolean
  readonly clock: Clock
  isDead = false
  isOver = false
  isFrozen = false
  /** Something was done to it, or to a request of it: what it had decided may be undone. */
  isTroubled = false
  /** What it has shown of leases. */
  readonly tokens = new Set<string>()
  /** Entries whose outcome it knows. */
  readonly decided = new Set<string>()
  /** Handlers that run: entry id → delivery. */
  readonly running = new Map<string, number>()
  /** When their time is over. */
  readonly #over = new Map<string, number>()
  readonly #time: ModelTime
  #held: (() => void)[] = []

  constructor(name: string, action: 'poll' | 'claim', time: ModelTime, bornIn: number, isOrdered: boolean) {
    this.name = name
    this.action = action
    this.bornIn = bornIn
    this.isOrdered = isOrdered
    this.#time = time
    const now = () => time.nowMs
    this.clock = { now, monotonic: now, after: (ms, callback) => time.after(ms, () => this.when(callback)) }
  }

  runs(entryId: string, deliveryCount: number, forMs: number): void {
    this.running.set(entryId, deliveryCount)
    this.#over.set(entryId, this.#time.nowMs + forMs)
  }

  /** Its handler's time was over while the process was frozen: its run has decided about it before the handler ends. */
  isOverdue(entryId: string): boolean {
    return this.isTroubled && this.#time.nowMs >= (this.#over.get(entryId) ?? Infinity)
  }

  /** Does it as soon as the process can: never, once it is dead. */
  when(callback: () => void): void {
    if (this.isDead) return
    if (this.isFrozen) this.#held.push(callback)
    else callback()
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve))
  }

  freeze(forMs: number): void {
    this.isFrozen = true
    this.isTroubled = true
    this.#time.after(forMs, () => {
      this.isFrozen = false
      // each at a moment of its own, as what was due runs on
      for (const callback of this.#held.splice(0)) this.#time.after(0, () => this.when(callback))
    })
  }

  die(): void {
    this.isDead = true
    this.#held = []
  }
}

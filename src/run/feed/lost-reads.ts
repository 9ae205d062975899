import type { Clock } from '../../clock.ts'
import type { Settler } from '../settler.ts'

/** For so long after an answer was lost each read is preceded by a hand-back: the lost one may be carried out late. */
const DOUBT_MS = 5_000

/** Sees to it that what a lost answer brought is handed back, before anything else is read. */
export class LostReads {
  readonly #clock: Clock
  readonly #settler: Settler
  #lostAt: number
  #owesHandBack = true

  constructor(clock: Clock, settler: Settler) {
    this.#clock = clock
    this.#settler = settler
    this.#lostAt = clock.monotonic()
  }

  /** An answer was lost. */
  lost(): void {
    this.#lostAt = this.#clock.monotonic()
    this.#owesHandBack = true
  }

  /** Whether something may have to be handed back. */
  get mayOwe(): boolean {
    return this.#settler.isReadInDoubt && this.#owesHandBack
  }

  /** @throws {RedisConnectionError} No reply came. */
  async handBack(): Promise<void> {
    const isLast = this.#clock.monotonic() >= this.#lostAt + DOUBT_MS
    await this.#settler.handBack()
    if (isLast) this.#owesHandBack = false
  }
}

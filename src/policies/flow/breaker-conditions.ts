import type { TakeDueRequest } from '../../group/group.ts'
import type { GateOfRun, PolledConditions } from '../../run/policy-engine.ts'
import type { KnownBreakers } from './known-breakers.ts'

/** How soon is asked again past a probe's time, while another entry may be the probe; doubled each time. */
const AGAIN_MS = { first: 250, last: 4_000 }

/** What is known of a time of the server differs from request to request by less than that. */
const SAME_MS = 50

/** What waits for circuit breakers, as a poller takes it: all of it where one is closed, the next entry where a probe is due. */
export class BreakerConditions implements PolledConditions {
  readonly #gate: Pick<GateOfRun, 'comesBack'>
  readonly #breakers: Pick<KnownBreakers, 'probeAt'>
  readonly #now: () => number
  #seen: readonly string[] = []
  /** The probe's time past which was asked, how often, and when it is asked again. */
  #probeAt = Infinity
  #asked = 0
  #againAt = 0

  /** @param now On the monotonic clock. */
  constructor(gate: Pick<GateOfRun, 'comesBack'>, breakers: Pick<KnownBreakers, 'probeAt'>, now: () => number) {
    this.#gate = gate
    this.#breakers = breakers
    this.#now = now
  }

  see(conditions: readonly string[]): void {
    this.#seen = conditions
    const { probeAt } = this.#breakers
    const now = this.#now()
    if (!this.#isSame(probeAt)) this.#asked = 0
    this.#probeAt = probeAt
    if (probeAt <= now + SAME_MS) this.#againAt = now + Math.min(AGAIN_MS.last, AGAIN_MS.first * 2 ** this.#asked++)
  }

  over(): TakeDueRequest['conditions'] {
    const conditions: TakeDueRequest['conditions'][number][] = []
    for (const condition of this.#seen) {
      const back = this.#gate.comesBack(condition)
      if (back) conditions.push(typeof back === 'object' ? { condition, ...back } : condition)
    }
    return conditions
  }

  dueAt(): number {
    if (this.over().some((one) => typeof one === 'string')) return Number.NEGATIVE_INFINITY
    const { probeAt } = this.#breakers
    return this.#asked > 0 && this.#isSame(probeAt) ? this.#againAt : probeAt
  }

  #isSame(probeAt: number): boolean {
    return probeAt === this.#probeAt || Math.abs(probeAt - this.#probeAt) < SAME_MS
  }
}

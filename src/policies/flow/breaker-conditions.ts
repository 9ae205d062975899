import type { TakeDueRequest } from '../../group/group.ts'
import type { GateOfRun, PolledConditions } from '../../run/policy-engine.ts'
import type { KnownBreakers } from './known-breakers.ts'

/** What waits for circuit breakers, as a poller takes it: all of it where one is closed, the next entry where a probe is due. */
export class BreakerConditions implements PolledConditions {
  readonly #gate: Pick<GateOfRun, 'comesBack'>
  readonly #breakers: KnownBreakers
  #seen: readonly string[] = []

  constructor(gate: Pick<GateOfRun, 'comesBack'>, breakers: KnownBreakers) {
    this.#gate = gate
    this.#breakers = breakers
  }

  see(conditions: readonly string[]): void {
    this.#seen = conditions
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
    return this.over().length > 0 ? Number.NEGATIVE_INFINITY : this.#breakers.probeAt
  }
}

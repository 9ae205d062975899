import { RUNS_PER_QUEUE } from '../../core/gates.ts'

/** An entry that waits, or several of which the first and the last are known. */
interface WaitingRun {
  readonly first: number
  last: number
  count: number
}

/** Who waits for a turn of a rate limit, in the order of entry ids, as `scripts/limits.ts` has it. */
export class TurnQueue {
  readonly #runs: WaitingRun[]

  /** @param text As `toString` wrote it. */
  constructor(text: string) {
    this.#runs = text
      .split(' ')
      .filter(Boolean)
      .map((run) => {
        const [, first = run, last = first, count = 1] = /^(\d+):(\d+):(\d+)$/.exec(run) ?? []
        return { first: Number(first) || 0, last: Number(last) || 0, count: Number(count) }
      })
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0
  }

  /** How many stand before that entry. */
  before(id: string): number {
    return this.#standing(orderOf(id)).before
  }

  join(id: string, isKnown: boolean): void {
    const order = orderOf(id)
    const { at, isIn } = this.#standing(order)
    if (isIn) (this.#runs[at] as WaitingRun).count += isKnown ? 0 : 1
    else this.#runs.splice(at, 0, { first: order, last: order, count: 1 })
    if (this.#runs.length > RUNS_PER_QUEUE) this.#mergeTwo()
  }

  /** @returns Whether it stood there. */
  leave(id: string): boolean {
    const { at, isIn } = this.#standing(orderOf(id))
    const run = this.#runs[at]
    if (!isIn || !run) return false
    run.count--
    if (run.count < 1) this.#runs.splice(at, 1)
    return true
  }

  /** So many are gone that stood first. */
  drop(entries: number): void {
    for (let left = entries; left > 0; ) left -= this.#runs.shift()?.count ?? left
  }

  #standing(order: number): { before: number; at: number; isIn: boolean } {
    let before = 0
    for (const [at, { first, last, count }] of this.#runs.entries()) {
      if (order <= last) return { before, at, isIn: order >= first }
      before += count
    }
    return { before, at: this.#runs.length, isIn: false }
  }

  /** Of the neighbours that are far behind, those with the fewest entries. */
  #mergeTwo(): void {
    const far = this.#runs.splice(RUNS_PER_QUEUE / 2 - 1)
    const counts = far.slice(1).map(({ count }, n) => count + (far[n] as WaitingRun).count)
    const fewest = Math.min(...counts)
    const best = counts.indexOf(fewest)
    const [one, other] = far.slice(best) as [WaitingRun, WaitingRun]
    far.splice(best, 2, { first: one.first, last: other.last, count: fewest })
    this.#runs.push(...far)
  }

  toString(): string {
    return this.#runs
      .map(({ first, last, count }) => (first === last && count === 1 ? `${first}` : `${first}:${last}:${count}`))
      .join(' ')
  }
}

/** An entry id as a number. */
function orderOf(id: string): number {
  const [, ms = 0, seq = 0] = /(\d+)-(\d+)$/.exec(id) ?? []
  return Math.min(Number(ms), 9_000_000_000_000) * 1_000 + Math.min(Number(seq), 999)
}

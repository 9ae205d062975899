import { RUNS_PER_QUEUE } from '../../core/gates.ts'

/** An entry that waits, or several of which the first and the last are known. */
interface WaitingRun {
  readonly first: number
  last: number
  count: number
  /** When the first of them comes back, in milliseconds since 1970. */
  at: number
  /** And when the last of them that asked, the same. */
  latest: number
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
        const [, ...several] = /^(\d+):(\d+):(\d+)@(\d+):(\d+)$/.exec(run) ?? []
        const [, one, comesAt] = /^(\d+)@(\d+)$/.exec(run) ?? []
        const [first = one, last = first, count = 1, at = comesAt, latest = at] = several
        const [from = 0, to = 0, many = 0, soonest = 0, then = 0] = [first, last, count, at, latest].map((n) =>
          Number(n ?? 0),
        )
        return { first: from, last: to, count: many, at: soonest, latest: then }
      })
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0
  }

  /** How many stand before that entry. */
  before(id: string): number {
    return this.#standing(orderOf(id)).before
  }

  /** How many of them are due by then. */
  dueBefore(id: string, time: number): number {
    const due = this.#runs.slice(0, this.#standing(orderOf(id)).at).filter(({ at }) => at <= time)
    return due.reduce((sum, { count }) => sum + count, 0)
  }

  /** When the last one asked that is taken together with that entry; `undefined`: its own place is known. */
  latestBeside(id: string): number | undefined {
    const { at, isIn } = this.#standing(orderOf(id))
    const run = isIn ? this.#runs[at] : undefined
    return run && run.first !== run.last ? run.latest : undefined
  }

  join(id: string, isKnown: boolean, comesAt: number, now: number): void {
    const order = orderOf(id)
    const { at, isIn } = this.#standing(order)
    const run = isIn ? this.#runs[at] : undefined
    if (run) {
      const isOne = run.first === run.last
      if (isOne || run.at < now) run.at = comesAt
      run.latest = isOne ? comesAt : Math.max(run.latest, comesAt)
      run.count += isKnown ? 0 : 1
    } else this.#runs.splice(at, 0, { first: order, last: order, count: 1, at: comesAt, latest: comesAt })
    if (this.#runs.length > RUNS_PER_QUEUE) this.#mergeTwo()
  }

  /** @param apart Milliseconds: of several, the next comes back that much later. @returns Whether it stood there. */
  leave(id: string, apart: number): boolean {
    const { at, isIn } = this.#standing(orderOf(id))
    const run = this.#runs[at]
    if (!isIn || !run) return false
    run.count--
    run.at += apart
    if (run.count < 1) this.#runs.splice(at, 1)
    return true
  }

  /** Those before that entry are gone that were due by then. */
  dropDue(id: string, time: number): void {
    const before = this.#runs.splice(0, this.#standing(orderOf(id)).at)
    this.#runs.unshift(...before.filter(({ at }) => at > time))
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
    const at = Math.min(one.at, other.at)
    const latest = Math.max(one.latest, other.latest)
    far.splice(best, 2, { first: one.first, last: other.last, count: fewest, at, latest })
    this.#runs.push(...far)
  }

  toString(): string {
    const texts = this.#runs.map(({ first, last, count, at, latest }) => {
      const time = at.toFixed(0)
      return first === last && count === 1
        ? `${first}@${time}`
        : `${first}:${last}:${count}@${time}:${latest.toFixed(0)}`
    })
    return texts.join(' ')
  }
}

/** An entry id as a number. */
function orderOf(id: string): number {
  const [, ms = 0, seq = 0] = /(\d+)-(\d+)$/.exec(id) ?? []
  return Math.min(Number(ms), 9_000_000_000_000) * 1_000 + Math.min(Number(seq), 999)
}

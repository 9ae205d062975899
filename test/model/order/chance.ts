/** Chance from a seed. */
export class Chance {
  #a: number

  constructor(seed: number) {
    this.#a = (seed * 2_654_435_761) >>> 0
  }

  next(): number {
    this.#a = (this.#a + 0x6d2b79f5) | 0
    let t = Math.imul(this.#a ^ (this.#a >>> 15), 1 | this.#a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  is(chance: number): boolean {
    return this.next() < chance
  }

  of<T>(some: readonly T[]): T {
    return some[this.int(0, some.length - 1)] as T
  }
}

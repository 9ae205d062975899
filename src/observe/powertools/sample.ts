/** So many values are kept, however many there are. */
const KEPT = 2_000

/** How something is spread. Its size is bounded: of many values every other is kept, then every fourth, and so on. */
export class BoundedSample {
  #kept: number[] = []
  #every = 1
  #seen = 0
  #least = Infinity
  #most = -Infinity

  add(value: number): void {
    this.#least = Math.min(this.#least, value)
    this.#most = Math.max(this.#most, value)
    if (this.#seen++ % this.#every > 0 || this.#kept.push(value) < KEPT) return
    this.#kept = this.#kept.filter((_value, n) => n % 2 === 0)
    this.#every *= 2
  }

  /** The values, or as many evenly spaced quantiles as there may be, the least and the most among them. @param count 2 or more. */
  values(count: number): readonly number[] {
    if (this.#seen <= count) return this.#kept
    const sorted = this.#kept.sort((a, b) => a - b)
    const step = (sorted.length - 1) / (count - 1)
    const quantiles = Array.from({ length: count }, (_none, n) => sorted[Math.round(n * step)] as number)
    quantiles[0] = this.#least
    quantiles[count - 1] = this.#most
    return quantiles
  }
}

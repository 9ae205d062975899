/** What a quantile may be off by: 2 % of itself. */
export const QUANTILE_ERROR = 0.02

/** Buckets grow by this factor, so that the middle of each is off by no more than the error. */
const LOG_FACTOR = Math.log((1 + QUANTILE_ERROR) / (1 - QUANTILE_ERROR))
const FIRST_BUCKETS = 128

/**
 * Collects whole numbers from 0 on in buckets that grow with them: quantiles within `QUANTILE_ERROR`, 0 and the highest one exactly. Holds at
 * most 920 buckets, since no number is above 2^53.
 *
 * @see https://www.vldb.org/pvldb/vol12/p2195-masson.pdf DDSketch
 */
export class LogHistogram {
  /** Of all that was added. */
  total = 0
  max = 0
  #min = Infinity
  #sum = 0
  #belowOne = 0
  #buckets = new Float64Array(0)

  add(value: number, weight = 1): void {
    const bounded = Math.min(Math.max(0, value), Number.MAX_SAFE_INTEGER)
    this.total += weight
    this.#sum += bounded * weight
    this.max = Math.max(this.max, bounded)
    this.#min = Math.min(this.#min, bounded)
    if (bounded < 1) this.#belowOne += weight
    else this.#addToBucket(Math.ceil(Math.log(bounded) / LOG_FACTOR), weight)
  }

  get mean(): number {
    return this.total > 0 ? this.#sum / this.total : 0
  }

  /** The number that a share of all are not above; 0 where there are none. */
  quantile(share: number): number {
    let left = share * this.total - this.#belowOne
    if (left <= 0) return 0
    for (const [bucket, weight] of this.#buckets.entries()) {
      left -= weight
      // what fractions of weights leave behind is not a number more
      if (weight > 0 && left <= 1e-9 * this.total)
        return Math.min(this.max, Math.max(this.#min, Math.round(middleOf(bucket))))
    }
    return this.max
  }

  #addToBucket(bucket: number, weight: number): void {
    if (bucket >= this.#buckets.length) this.#grow(bucket)
    this.#buckets[bucket] = (this.#buckets[bucket] as number) + weight
  }

  #grow(bucket: number): void {
    let length = Math.max(FIRST_BUCKETS, this.#buckets.length)
    while (length <= bucket) length *= 2
    const buckets = new Float64Array(length)
    buckets.set(this.#buckets)
    this.#buckets = buckets
  }
}

/** What is at most the error away from all that is in a bucket. */
function middleOf(bucket: number): number {
  const factor = Math.exp(LOG_FACTOR)
  return (2 * factor ** bucket) / (1 + factor)
}

/** Fewer windows to compare with, and nothing is said: two days of the hour. */
export const MIN_SAMPLES = 24
/** How many times the usual deviation is unusual. */
export const THRESHOLD = 6
/** Deviations of this share of the level are usual, however regular the past was: a day is not like the other. */
const TOLERANCE = 0.075
/** The median of absolute deviations is that part of a normal distribution's standard deviation. */
const MAD_TO_SIGMA = 1.4826

/**
 * Compares a count with those of the past by median and median absolute deviation, which former anomalies do not move.
 *
 * A count's chance deviation grows with its root, so that roots are compared: chance alone is 1 then. It is the least that counts as usual: a past without any
 * deviation (all nights without a purchase) makes no anomaly of the first one.
 *
 * @returns The median, and the robust z-score: how many usual deviations the value lies above it, or below. Nothing where there is too little past.
 */
export function judge(value: number, samples: readonly number[]) {
  if (samples.length < MIN_SAMPLES) return undefined
  const roots = samples.map(root)
  const middle = median(roots)
  const mad = median(roots.map((one) => Math.abs(one - middle)))
  const z = (root(value) - middle) / Math.max(MAD_TO_SIGMA * mad, TOLERANCE * middle, 1)
  return { expected: median(samples), z, isAnomaly: Math.abs(z) >= THRESHOLD }
}

/** The `Anscombe` transform: what it makes of counts has a standard deviation of 1, for all but the smallest. */
const root = (count: number) => 2 * Math.sqrt(Math.max(0, count) + 3 / 8)

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  if (sorted.length === 0) return Number.NaN
  return ((sorted[Math.ceil(half) - 1] as number) + (sorted[Math.floor(half)] as number)) / 2
}

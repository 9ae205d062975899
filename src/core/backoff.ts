/** How long a failed entry waits for its next delivery. */
export interface Backoff {
  /** Milliseconds before the second delivery; no more than a `maxMs` beside it. Default 1,000. */
  readonly firstMs: number
  /** Each further wait is that many times the one before; >= 1. Default 2. */
  readonly factor: number
  /** No wait is longer, jitter included. Default 60,000; capped at 24 hours. */
  readonly maxMs: number
}

/** The longest wait there is: 24 hours. */
export const MAX_DELAY_MS = 86_400_000

const JITTER = 0.2

/**
 * Milliseconds until the next delivery of an entry that failed.
 *
 * Jitter only lengthens the wait, by up to a fifth, so that entries which failed together do not return together.
 *
 * @param deliveryCount Deliveries so far; 1 or more, of any size.
 * @param random From 0 to 1.
 */
export function backoffDelayMs(backoff: Backoff, deliveryCount: number, random: number): number {
  const growth = backoff.factor ** Math.max(0, deliveryCount - 1)
  const wait = backoff.firstMs * Math.min(growth, Number.MAX_VALUE) * (1 + JITTER * random)
  return capDelayMs(Math.min(wait, backoff.maxMs))
}

/** A whole number of milliseconds from 0 to 24 hours. */
export function capDelayMs(delayMs: number): number {
  return Math.ceil(Math.min(Math.max(delayMs, 0), MAX_DELAY_MS))
}

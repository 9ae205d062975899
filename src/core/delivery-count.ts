/**
 * The highest delivery count that is told apart, 2^53: Lua and JavaScript round what is above it, each in its own way. It is above every
 * `maxDeliveries`.
 */
export const MAX_DELIVERY_COUNT = 2 ** 53

/**
 * A delivery count as a server answers it. One beyond 2^53 counts as that; so does a negative one, which is what a server answers beyond
 * 2^63 - 1. XNACK FATAL (Redis 8.8) and XCLAIM's RETRYCOUNT set such counts.
 */
export function clampDeliveryCount(answered: number): number {
  return answered >= 0 && answered <= MAX_DELIVERY_COUNT ? answered : MAX_DELIVERY_COUNT
}

/** How fast two clocks may drift apart. */
const DRIFT = 1e-4

/**
 * What the server's clock says, as far as a run knows: each answer that has its time narrows down by how much that clock is ahead of our monotonic one.
 * All times are in milliseconds, the server's since 1970.
 */
export class ServerTime {
  #least = Number.NEGATIVE_INFINITY
  #most = Number.POSITIVE_INFINITY
  #at = 0

  /** A request was sent, and answered with the server's time. */
  note(serverNow: number, sentAt: number, repliedAt: number): void {
    const drift = DRIFT * (repliedAt - this.#at)
    const least = Math.max(this.#least - drift, serverNow - repliedAt)
    const most = Math.min(this.#most + drift, serverNow - sentAt)
    // somebody set a clock
    const isSet = least > most
    this.#least = isSet ? serverNow - repliedAt : least
    this.#most = isSet ? serverNow - sentAt : most
    this.#at = repliedAt
  }

  /** The server had that time already. */
  noteAtLeast(serverNow: number, now: number): void {
    this.#least = Math.max(this.#least, serverNow - now)
    this.#at = now
  }

  /** By how much it may be wrong; Infinity before the first answer. */
  get uncertaintyMs(): number {
    return this.#most - this.#least
  }

  /** When the server has reached that time for certain, on our clock. */
  surelyAt(serverTime: number): number {
    return serverTime - this.#least
  }

  /** Up to when the server has not passed that time for certain, on our clock. */
  surelyUntil(serverTime: number): number {
    return serverTime - this.#most
  }

  /** The server's time by then, at least; `undefined` before the first answer. */
  at(ours: number): number | undefined {
    return this.#least === Number.NEGATIVE_INFINITY ? undefined : ours + this.#least
  }
}

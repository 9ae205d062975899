/** When an event is to be in its stream, by the server's clock: so many milliseconds from now, or at a time in milliseconds since 1970. */
export type EventDelay = { readonly eventId: string } & ({ readonly delayMs: number } | { readonly deliverAt: number })

/** Which of some entries are delayed, one for each in order, and the groups to wake when these are promoted. */
export interface DelayedEntries {
  readonly delays: readonly (EventDelay | undefined)[]
  readonly groups: readonly string[]
}

/** What became of a delayed event that was to be cancelled. */
export type CancelAnswer = 'cancelled' | 'already-cancelled' | 'too-late' | 'unknown'

/** What one call promoted. */
export interface PromotedPage {
  readonly promoted: number
  /** Records that turned out to be unreadable, and were set aside. */
  readonly unreadable: number
  /** The server's time, and when the next event is due, both in milliseconds since 1970; `undefined`: none is left. */
  readonly nowMs: number
  readonly nextDueAt: number | undefined
  /** Groups that their publishers wake. */
  readonly groups: readonly string[]
  /** Why what is due was not all promoted: it stays delayed. */
  readonly refusal: Error | undefined
}

/** Delayed events, beside what adds them: that is `AppendEntries`. Each method is one step on the server. */
export interface Delaying {
  /**
   * @param nonce Of this call: sent again it answers the same, and cancels nothing that was published meanwhile.
   * @param markersOf As `OnceWithin` has it. Default: the stream.
   * @param before Of calls of the same caller whose answers were lost: if it was one of them, this answers `cancelled` too.
   */
  cancel(
    stream: string,
    eventId: string,
    nonce: string,
    before?: readonly string[],
    markersOf?: string,
  ): Promise<CancelAnswer>
  /** Promotes a page of what is due, in due order. */
  promote(stream: string): Promise<PromotedPage>
}

/** What promotes delayed events; made by `promoteDelays`. */
export interface DelayPromoter {
  /**
   * Promotes a page of what is due on a stream, in due order, and wakes the pollers of its groups. Exactly once, whoever else promotes.
   *
   * @throws {RedisConnectionError} No reply came: what was due is promoted or delayed still.
   * @throws {RedisReplyError} The server refused the call as a whole.
   */
  promote(request: PromotionRequest): Promise<Promotion>
}

/** Where something may be due. */
export interface PromotionRequest {
  /** A connection, as from `connectIoredis(url)`. */
  readonly redis: object
  readonly stream: string
  /** Milliseconds in which an answer is still of use, and a poller may be woken. Default: no end. */
  readonly remainingMs?: (() => number) | undefined
  /** A group that is not woken: its poller asks. Default: none. */
  readonly ownGroup?: string | undefined
}

/** What one call promoted. Times are the server's, in milliseconds since 1970. */
export interface Promotion {
  readonly promoted: number
  readonly nowMs: number
  /** When the next event is due, which may be now; left out where none is left. */
  readonly nextDueAt?: number | undefined
  /** Records that turned out to be unreadable, and were set aside: `millrace status` counts them. */
  readonly unreadable: number
  /** What the server refused: it stays delayed, and to go on at once would change nothing. */
  readonly refusals: readonly Error[]
  /** Resolves once pollers were woken, or there is no more time for it. */
  readonly woken?: Promise<void> | undefined
}

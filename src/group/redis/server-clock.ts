import type { Clock } from '../../clock.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import { parseTime } from './commands/time.ts'
import type { ReplyOrConnectionError } from './transport.ts'

/** How long an answer of the server is relied on; what has passed since is counted on the monotonic clock. */
const FRESH_MS = 60_000

/** What a connection knows of its server's clock. The client's own date is never asked. */
export class ServerClock {
  readonly #clock: Pick<Clock, 'monotonic'>
  #answer: { readonly ms: number; readonly at: number } | undefined
  #isRefused = false

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** Nothing is known, or not lately: TIME is to be sent. */
  get isStale(): boolean {
    return !this.#answer || this.#clock.monotonic() - this.#answer.at >= FRESH_MS
  }

  /** Milliseconds since 1970 that it is on the server at least; `undefined` until the server said. */
  now(): number | undefined {
    return this.#answer && this.#answer.ms + (this.#clock.monotonic() - this.#answer.at)
  }

  /** Takes in the reply to a TIME. A server that refuses it is warned of once, by a warning of the process. */
  learn(reply: ReplyOrConnectionError): void {
    if (reply instanceof RedisConnectionError) return
    if (!(reply instanceof RedisReplyError)) this.#answer = { ms: parseTime(reply), at: this.#clock.monotonic() }
    else if (!this.#isRefused) {
      this.#isRefused = true
      process.emitWarning(
        `Cannot trim by retentionMs: the server does not report its time (${reply.message}); allow the command TIME`,
        'MillraceWarning',
      )
    }
  }
}

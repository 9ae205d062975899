import { answerWithin, type Clock } from '../clock.ts'
import { CALL_MS } from '../core/call-limits.ts'
import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { wrongUseError } from '../core/options.ts'
import type { LambdaContext } from '../define/handler.ts'

/** How a poller that cannot keep up calls further ones; `invokeSelf` of `millrace/lambda` makes one. */
export interface ScaleOut {
  /** Entries that one poller is left to deal with, 1 or more: there are as many pollers as the entries that wait are times that many, as `maxPollers` allows. */
  readonly entriesPerPoller: number
  /**
   * Calls one more poller; resolves once the call was accepted.
   *
   * @param hop How many calls led to that one. Its event has to say so: `{ millrace: { hop } }`.
   * @param context Lambda's, of the poller that calls.
   */
  call(hop: number, context: Partial<LambdaContext>, signal: AbortSignal): Promise<void>
}

/** A chain of calls is no longer than this; the schedule goes on from there. Lambda itself ends a chain at 16. */
export const MAX_POLLER_HOPS = 8

/** The pollers that one invocation may still call. */
export class FurtherPollers {
  readonly entriesPerPoller: number
  readonly #scaleOut: ScaleOut
  readonly #hop: number
  readonly #context: Partial<LambdaContext>
  readonly #clock: Clock

  /** @param hop How many calls led to this invocation; 0 for one that a schedule or a publisher woke. */
  constructor(scaleOut: ScaleOut, hop: number, context: Partial<LambdaContext>, clock: Clock) {
    this.entriesPerPoller = scaleOut.entriesPerPoller
    this.#scaleOut = scaleOut
    this.#hop = hop
    this.#context = context
    this.#clock = clock
  }

  mayCall(leftMs: number): boolean {
    return this.#hop < MAX_POLLER_HOPS && leftMs >= CALL_MS.min
  }

  /** @throws {Error} The call was refused, or took too long; whatever becomes of it then. */
  async call(leftMs: number): Promise<void> {
    const abort = new AbortController()
    try {
      const calling = this.#scaleOut.call(this.#hop + 1, this.#context, abort.signal)
      await answerWithin(this.#clock, Math.min(CALL_MS.max, leftMs), calling, (error) => abort.abort(error))
    } catch (error) {
      const { name, message } = errorTexts(error)
      throw new Error(`Cannot call a further poller: ${name}: ${message}`, { cause: error })
    }
  }
}

/** @throws {TypeError} Not a way to call further pollers. */
export function assertScaleOut(action: string, scaleOut: ScaleOut): void {
  if (typeof scaleOut?.call === 'function' && scaleOut.entriesPerPoller >= 1) return
  throw wrongUseError(action, 'scaleOut must come from invokeSelf of millrace/lambda')
}

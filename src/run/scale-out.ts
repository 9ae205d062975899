import { numberFrom, object } from '../core/options.ts'
import type { LambdaContext } from '../handler.ts'

/** How a poller that cannot keep up calls further ones; `invokeSelf` of `millrace/lambda` makes one. */
export interface ScaleOut {
  /** Entries that one poller is left to deal with, 1 or more: there are as many pollers as the entries that wait are times that many, as slots allow. */
  readonly backlog: number
  /**
   * Calls one more poller; resolves once the call was accepted.
   *
   * @param hop How many calls led to that one. Its event has to say so: `{ millrace: { hop } }`.
   * @param context Lambda's, of the poller that calls.
   */
  call(hop: number, context: Partial<LambdaContext>, signal: AbortSignal): Promise<void>
}

/** A chain of calls is no longer than this; the schedule goes on from there. Lambda itself ends a chain at 16. */
export const MAX_HOPS = 8

const CALL_TIMEOUT_MS = 2_000

/** The pollers that one invocation may still call. */
export class FurtherPollers {
  readonly backlog: number
  readonly #scaleOut: ScaleOut
  readonly #hop: number
  readonly #context: Partial<LambdaContext>

  /** @param hop How many calls led to this invocation; 0 for one that a schedule or a publisher woke. */
  constructor(scaleOut: ScaleOut, hop: number, context: Partial<LambdaContext>) {
    this.backlog = scaleOut.backlog
    this.#scaleOut = scaleOut
    this.#hop = hop
    this.#context = context
  }

  get mayCall(): boolean {
    return this.#hop < MAX_HOPS
  }

  /** @throws {Error} The call was refused, or took too long. */
  async call(remainingMs: number): Promise<void> {
    const signal = AbortSignal.timeout(Math.max(1, Math.min(CALL_TIMEOUT_MS, Math.floor(remainingMs))))
    await this.#scaleOut.call(this.#hop + 1, this.#context, signal).catch((error: Error) => {
      throw new Error(`Cannot call a further poller: ${error.name}: ${error.message}`, { cause: error })
    })
  }
}

/** @throws {TypeError | RangeError} Not a way to call further pollers. */
export function assertScaleOut(action: string, scaleOut: ScaleOut): void {
  object(action, 'scaleOut', scaleOut)
  numberFrom(action, 'scaleOut.backlog', scaleOut.backlog, 1, Number.POSITIVE_INFINITY)
  if (typeof scaleOut.call === 'function') return
  throw new TypeError(`Cannot ${action}: scaleOut must come from invokeSelf of millrace/lambda`)
}

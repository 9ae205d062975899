import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { ignoreRejection, promiseIfThenable } from '../core/thenable.ts'
import type { OnDeadLetter } from '../define/consumer.ts'
import type { DeadLetterNotice } from '../define/observe.ts'
import { quotedValue } from '../errors.ts'
import type { DeadLetterSettlement } from '../group/group.ts'
import type { RunParts } from './parts.ts'

/** What bounds the notices of a run: however many dead letters there are, they cost no more than this. */
const NOTICES = {
  /** Under way side by side. */
  atOnce: 10,
  /** A run; of what is beyond them only the number is reported. */
  aRun: 1_000,
  /** Milliseconds for one. */
  timeoutMs: 5_000,
  /** Milliseconds that the run's end waits for what is left. */
  endMs: 10_000,
} as const

/** Reports dead letters once they are written. Nothing that goes wrong with it is more than a warning: the first by itself, the others as a number. */
export class DeadLetterNotices {
  readonly #parts: RunParts
  readonly #onDeadLetter: OnDeadLetter | undefined
  #queue: DeadLetterNotice[] = []
  /** What gives up each notice that is under way. */
  readonly #sending = new Map<Promise<void>, (reason: Error) => void>()
  #taken = 0
  #failed = 0
  #untold = 0
  #emptied: (() => void) | undefined

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#onDeadLetter = parts.consumer.onDeadLetter
  }

  send(letter: DeadLetterSettlement): void {
    const { observers, invocation } = this.#parts
    const notice = noticeOf(letter, this.#parts)
    observers?.tell('deadLettered', { invocation, notice })
    if (!this.#onDeadLetter) return
    if (this.#taken >= NOTICES.aRun) {
      this.#untold++
      return
    }
    this.#taken++
    this.#queue.push(notice)
    this.#fill()
  }

  /** The server refused it. */
  refused(letter: DeadLetterSettlement): void {
    const { observers, invocation } = this.#parts
    observers?.tell('deadLetterRefused', { invocation, notice: noticeOf(letter, this.#parts) })
  }

  /** Resolves once all are sent, or that long is over: those that are not are aborted. */
  async end(withinMs: number): Promise<void> {
    if (this.#sending.size > 0) {
      const over = Promise.withResolvers<void>()
      this.#emptied = over.resolve
      const cancel = this.#parts.clock.after(Math.max(0, Math.min(withinMs, NOTICES.endMs)), over.resolve)
      await over.promise
      cancel()
    }
    this.#untold += this.#queue.length
    this.#queue = []
    for (const giveUp of this.#sending.values()) giveUp(new Error('the run has to end'))
    await Promise.all(this.#sending.keys())
    this.#warnOfOthers()
  }

  #fill(): void {
    while (this.#sending.size < NOTICES.atOnce) {
      const notice = this.#queue.shift()
      if (!notice) break
      const late = Promise.withResolvers<never>()
      const sending: Promise<void> = this.#call(notice, late).finally(() => {
        this.#sending.delete(sending)
        this.#fill()
      })
      this.#sending.set(sending, late.reject)
    }
    if (this.#sending.size === 0) this.#emptied?.()
  }

  async #call(notice: DeadLetterNotice, late: PromiseWithResolvers<never>): Promise<void> {
    const { clock, observers, invocation } = this.#parts
    const abort = new AbortController()
    late.promise.catch((reason: unknown) => abort.abort(reason))
    const text = `no answer within ${NOTICES.timeoutMs} ms`
    const cancel = clock.after(NOTICES.timeoutMs, () => late.reject(new Error(text)))
    try {
      const answer: unknown = this.#onDeadLetter?.(notice, { signal: abort.signal })
      await Promise.race([promiseIfThenable(answer) ?? answer, late.promise])
    } catch (error) {
      ignoreRejection(error)
      observers?.tell('deadLetterNoticeFailed', { invocation, notice, error })
      if (this.#failed++ > 0) return
      // its message is the user's own, and may quote what the handler's error said
      warn(`onDeadLetter failed for entry ${notice.entryId}: ${errorTexts(error).name}`)
    } finally {
      cancel()
    }
  }

  #warnOfOthers(): void {
    const others = this.#untold + Math.max(0, this.#failed - 1)
    const { stream, group } = this.#parts.consumer
    if (others > 0)
      warn(
        `onDeadLetter failed for, or was not called for, ${others} more dead letters of group ${quotedValue(group)} on stream ${quotedValue(stream)}`,
      )
    this.#untold = 0
    this.#failed = 0
  }
}

/** `undefined` where nobody asked for notices. */
export function createDeadLetterNotices(parts: RunParts): DeadLetterNotices | undefined {
  return parts.observers || parts.consumer.onDeadLetter ? new DeadLetterNotices(parts) : undefined
}

function noticeOf({ id, deliveryCount, outcome }: DeadLetterSettlement, { consumer }: RunParts): DeadLetterNotice {
  const { stream, group, keys } = consumer
  const { reason, error, eventId, eventType, traceparent } = outcome.letter
  const { name, message } = errorTexts(error)
  // frozen: it goes from one observer to the next
  return Object.freeze({
    stream,
    group,
    deadLetters: keys.deadLetters,
    entryId: id,
    deliveryCount,
    reason,
    error: name === '' ? undefined : Object.freeze({ name, message }),
    eventId: cut(eventId),
    eventType: cut(eventType),
    traceparent: cut(traceparent),
  })
}

/** Characters of a text of the entry's own: a megabyte would make a notice that no function and no log takes. The letter has all of it. */
const MOST_TEXT = 1_000

function cut(text: string | undefined): string | undefined {
  return text === undefined || text.length <= MOST_TEXT ? text : `${text.slice(0, MOST_TEXT)}…`
}

function warn(message: string): void {
  process.emitWarning(message, 'MillraceWarning')
}

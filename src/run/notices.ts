import type { OnDeadLetter } from '../consumer.ts'
import { describeError } from '../core/dead-letter.ts'
import type { Letter } from '../group/group.ts'
import type { DeadLetterNotice } from '../observe.ts'
import type { RunParts } from './parts.ts'

/** Tells of dead letters once they are written. Nothing that goes wrong with it is more than a warning. */
export class Notices {
  readonly #parts: RunParts
  readonly #onDeadLetter: OnDeadLetter | undefined
  readonly #abort = new AbortController()
  readonly #sending = new Set<Promise<void>>()

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#onDeadLetter = parts.consumer.onDeadLetter
  }

  send(letter: Letter): void {
    const { observers, invocation } = this.#parts
    const notice = noticeOf(letter, this.#parts)
    observers?.tell('deadLettered', { invocation, notice })
    if (!this.#onDeadLetter) return
    const sending = this.#call(this.#onDeadLetter, notice).finally(() => this.#sending.delete(sending))
    this.#sending.add(sending)
  }

  /** The server refused it. */
  refused(letter: Letter): void {
    const { observers, invocation } = this.#parts
    observers?.tell('deadLetterRefused', { invocation, notice: noticeOf(letter, this.#parts) })
  }

  /** Resolves once all are sent, or that long is over: those that are not are aborted. */
  async end(withinMs: number): Promise<void> {
    if (this.#sending.size === 0) return
    const over = Promise.withResolvers<void>()
    const cancel = this.#parts.clock.after(Math.max(0, withinMs), () => {
      this.#abort.abort(new Error('the run has to end'))
      over.resolve()
    })
    await Promise.race([Promise.all(this.#sending), over.promise])
    cancel()
  }

  async #call(onDeadLetter: OnDeadLetter, notice: DeadLetterNotice): Promise<void> {
    try {
      await onDeadLetter(notice, { signal: this.#abort.signal })
    } catch (error) {
      this.#parts.observers?.tell('deadLetterNoticeFailed', { invocation: this.#parts.invocation, notice, error })
      // its message is the user's own, and may quote what the handler's error said
      const { name } = describeError(error)
      process.emitWarning(`onDeadLetter failed for entry ${notice.entryId}: ${name}`, 'MillraceWarning')
    }
  }
}

/** `undefined` where nobody is to be told. */
export function createNotices(parts: RunParts): Notices | undefined {
  return parts.observers || parts.consumer.onDeadLetter ? new Notices(parts) : undefined
}

function noticeOf({ id, deliveryCount, outcome }: Letter, { consumer }: RunParts): DeadLetterNotice {
  const { stream, group, keys } = consumer
  const { reason, error, eventId, eventType, traceparent } = outcome.letter
  const { name, message } = describeError(error)
  return {
    stream,
    group,
    deadLetters: keys.deadLetters,
    entryId: id,
    deliveryCount,
    reason,
    error: name === '' ? undefined : { name, message },
    eventId,
    eventType,
    traceparent,
  }
}

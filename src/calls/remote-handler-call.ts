import type { InvokeCommandOutput } from '@aws-sdk/client-lambda'
import type { BatchContext, BatchResponse } from '../define/batch-handler.ts'
import {
  BatchItemFailedError,
  FunctionFailedError,
  NonRetryableError,
  quotedValue,
  UnavailableError,
} from '../errors.ts'
import { entriesErrorOfCall, judgeCall, singleEventRefusedError } from './call-failure.ts'
import { CallTimeLimit } from './call-time-limit.ts'
import { failedEntries } from './function-answer.ts'
import type { FunctionTarget } from './function-target.ts'
import { invokeNow } from './invoke-now.ts'
import type { RequestRecord } from './request-chunks.ts'
import { MAX_REQUEST_BYTES, requestJson } from './request-chunks.ts'

export type BatchItemFailure = NonNullable<BatchResponse['batchItemFailures']>[number]

/** An answer is waited for a little less than the handler's time, so that what was answered counts: a tenth less, at most that. */
const MARGIN_MS = 100

/**
 * Requests that are halved in one call, for each halving that it takes to single out an event: enough for some events that are refused. Where
 * nearly all are, what is left is handed back, and the invocation fails.
 */
const SPLITS_PER_HALVING = 8

/** A request that began nothing, and the error of its event once it is alone. */
interface Refused {
  readonly alone: Error
  /** Of all its events, where too many requests were refused; left out where each of them must be told apart. */
  readonly together?: Error
}

/** What a handler is called for once: requests to a function that share the handler's time. */
export class RemoteHandlerCall {
  readonly #target: FunctionTarget
  readonly #requestId: string
  readonly #limit: CallTimeLimit
  #splitsLeft: number

  readonly #isInOrder: boolean

  /** @param how.events How many there are in all its requests. @param how.isInOrder Requests are sent one after the other. */
  constructor(
    target: FunctionTarget,
    context: BatchContext,
    { events, timeoutMs = Infinity, isInOrder }: { events: number; timeoutMs: number | undefined; isInOrder: boolean },
  ) {
    this.#isInOrder = isInOrder
    const remainingMs = context.getRemainingTimeInMillis()
    const ms = Math.max(0, Math.min(timeoutMs, remainingMs - Math.min(MARGIN_MS, remainingMs / 10)))
    const text = `no answer within ${Math.floor(ms)} ms; whether it ran is not known`
    this.#target = target
    this.#splitsLeft = SPLITS_PER_HALVING * Math.ceil(Math.log2(events + 1))
    this.#requestId = context.awsRequestId
    this.#limit = new CallTimeLimit(
      ms,
      context.signal,
      () => new FunctionFailedError(target.name, 'TimeoutError', text),
    )
  }

  /**
   * Sends a request, and answers which of its items failed, and with what. A request that Lambda refuses for what is in it is halved until it
   * is known which item that is: nothing has begun. So is one that is refused and nobody knows why, as long as that singles out few.
   */
  async failuresOf(items: readonly RequestRecord[]): Promise<readonly BatchItemFailure[]> {
    const failed = (entryIds: readonly string[], error: unknown) =>
      entryIds.map((itemIdentifier) => ({ itemIdentifier, error }))
    const { name } = this.#target
    const entryIds = items.map(({ entryId }) => entryId)
    let refused: Refused
    try {
      const sent = await this.#send(requestJson(items))
      if (!('alone' in sent))
        return failed(
          failedEntries(name, sent, entryIds),
          new BatchItemFailedError(`${called(name)} named it as failed`),
        )
      refused = sent
    } catch (error) {
      return failed(entryIds, error)
    }
    if (items.length === 1) return failed(entryIds, refused.alone)
    if (refused.together && this.#splitsLeft-- <= 0) return failed(entryIds, refused.together)
    const middle = Math.ceil(items.length / 2)
    const halves = [items.slice(0, middle), items.slice(middle)]
    return this.failuresOfAll(halves)
  }

  /** The same of several requests. In order, nothing is sent behind a failure: what comes after it may be of its key. What was not sent failed at no delivery. */
  async failuresOfAll(requests: readonly (readonly RequestRecord[])[]): Promise<readonly BatchItemFailure[]> {
    if (!this.#isInOrder) return (await Promise.all(requests.map((request) => this.failuresOf(request)))).flat()
    const failed: BatchItemFailure[] = []
    for (const request of requests) {
      if (failed.length > 0) failed.push(...this.#unsent(request))
      else failed.push(...(await this.failuresOf(request)))
    }
    return failed
  }

  #unsent(request: readonly RequestRecord[]): readonly BatchItemFailure[] {
    const error = new UnavailableError(`${called(this.#target.name)} was not sent this event: one before it failed`)
    return request.map(({ entryId: itemIdentifier }) => ({ itemIdentifier, error }))
  }

  /** To be called when all is answered. */
  end(): void {
    this.#limit.stop()
  }

  async #send(request: string): Promise<InvokeCommandOutput | Refused> {
    const { name } = this.#target
    let wasSent = false
    const { signal } = this.#limit
    const onSent = () => {
      wasSent = true
    }
    try {
      return await this.#limit.hold(() =>
        invokeNow(this.#target, request, { signal, requestId: this.#requestId, onSent }),
      )
    } catch (error) {
      if (error === signal.reason) throw error
      const failure = judgeCall(error, wasSent)
      if (failure === 'unacceptable') return { alone: unsendableEventError(name) }
      if (failure === 'refused')
        return {
          alone: singleEventRefusedError(name, error),
          together: entriesErrorOfCall(name, 'misconfigured', error),
        }
      throw entriesErrorOfCall(name, failure, error)
    }
  }
}

/** The error of an event that a request cannot hold, or that Lambda cannot read. */
export function unsendableEventError(name: string): NonRetryableError {
  return new NonRetryableError(
    `${called(name)} cannot be given this event: a request has at most ${MAX_REQUEST_BYTES} bytes of JSON`,
  )
}

function called(name: string): string {
  return `Function ${quotedValue(name)}`
}

import type { Field } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { Event } from '../define/event.ts'
import type { HandlerContext } from '../define/handler.ts'
import type { RunContext } from '../define/route.ts'
import type { Delivery } from '../group/delivery.ts'
import type { CallEffects } from './call-effects.ts'
import type { RunParts } from './parts.ts'

/** A handler's context. The signal and the copy of the fields are made when they are first asked for: most handlers never do. */
export class EntryContext implements HandlerContext {
  // no fields: the constructor sets them all, and what is made for every call would have each set twice
  declare readonly functionName: string
  declare readonly functionVersion: string
  declare readonly invokedFunctionArn: string
  declare readonly memoryLimitInMB: string
  declare readonly awsRequestId: string
  declare readonly logGroupName: string
  declare readonly logStreamName: string
  declare callbackWaitsForEmptyEventLoop: boolean
  declare readonly stream: string
  declare readonly group: string
  declare readonly consumerName: string
  declare readonly entryId: string
  declare readonly deliveryCount: number
  declare readonly maxDeliveries: number
  declare readonly idempotencyKey: string
  declare readonly getRemainingTimeInMillis: () => number
  readonly #delivery: Delivery
  #fields: readonly Field[] | undefined
  #abort: AbortController | undefined
  #aborted: Error | undefined
  readonly #keys: ConsumerKeys
  /** `null`: its call has ended. */
  #effects: CallEffects | null | undefined

  constructor(
    surroundings: RunContext,
    maxDeliveries: number,
    extras: object | undefined,
    delivery: Delivery,
    event: Event,
    remainingMs: () => number,
    keys: ConsumerKeys,
  ) {
    this.functionName = surroundings.functionName
    this.functionVersion = surroundings.functionVersion
    this.invokedFunctionArn = surroundings.invokedFunctionArn
    this.memoryLimitInMB = surroundings.memoryLimitInMB
    this.awsRequestId = surroundings.awsRequestId
    this.logGroupName = surroundings.logGroupName
    this.logStreamName = surroundings.logStreamName
    this.callbackWaitsForEmptyEventLoop = surroundings.callbackWaitsForEmptyEventLoop
    this.stream = surroundings.stream
    this.group = surroundings.group
    this.consumerName = surroundings.consumerName
    this.entryId = delivery.id
    this.deliveryCount = delivery.deliveryCount
    this.maxDeliveries = maxDeliveries
    this.idempotencyKey = `${surroundings.group}:${event.eventId}`
    this.getRemainingTimeInMillis = remainingMs
    this.#delivery = delivery
    this.#keys = keys
    if (extras) Object.assign(this, extras)
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController()
      if (this.#aborted) this.#abort.abort(this.#aborted)
    }
    return this.#abort.signal
  }

  // the client's Buffers share memory with the entry's neighbours
  get fields(): readonly Field[] {
    this.#fields ??= this.#delivery.fields.map(([name, value]) => [copy(name), copy(value)])
    return this.#fields
  }

  /** Ends the handler's time: its signal is aborted, also one it has yet to ask for. */
  static abort(context: EntryContext, reason: Error): void {
    context.#aborted = reason
    context.#abort?.abort(reason)
  }

  /** What collects the effects of its call, made when it is first asked for; `null` once that has ended, `undefined` if it is no context of a call. */
  static effects(context: object, make: (keys: ConsumerKeys) => CallEffects): CallEffects | null | undefined {
    if (!(#keys in context)) return undefined
    if (context.#effects === undefined) context.#effects = make(context.#keys)
    return context.#effects
  }

  /** Its call has ended. @returns What was collected, if anything was asked for. */
  static endEffects(context: EntryContext): CallEffects | undefined {
    const effects = context.#effects
    context.#effects = null
    effects?.end()
    return effects ?? undefined
  }
}

function copy(bytes: Buffer | string): Buffer | string {
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes)
}

/** What every handler of a run learns about where it runs. */
export function sharedBatchContext({ consumer, slot, lambda = {}, extras }: RunParts): RunContext {
  return {
    ...extras,
    functionName: lambda.functionName ?? '',
    functionVersion: lambda.functionVersion ?? '',
    invokedFunctionArn: lambda.invokedFunctionArn ?? '',
    memoryLimitInMB: lambda.memoryLimitInMB ?? '',
    awsRequestId: lambda.awsRequestId ?? '',
    logGroupName: lambda.logGroupName ?? '',
    logStreamName: lambda.logStreamName ?? '',
    callbackWaitsForEmptyEventLoop: lambda.callbackWaitsForEmptyEventLoop ?? false,
    stream: consumer.stream,
    group: consumer.group,
    consumerName: slot.consumerName,
  }
}

/** Members that are set one by one. What this package says of an entry is among them: nothing in Lambda's context takes its place. */
const SET_MEMBERS = new Set([
  'functionName',
  'functionVersion',
  'invokedFunctionArn',
  'memoryLimitInMB',
  'awsRequestId',
  'logGroupName',
  'logStreamName',
  'callbackWaitsForEmptyEventLoop',
  'getRemainingTimeInMillis',
  'stream',
  'group',
  'consumerName',
  'entryId',
  'deliveryCount',
  'maxDeliveries',
  'idempotencyKey',
  'signal',
  'fields',
])

/** What else is in Lambda's context, such as what a middleware put there; `undefined` if nothing is. */
export function lambdaContextExtras(lambda: object | undefined): object | undefined {
  const extras = Object.entries(lambda ?? {}).filter(([name]) => !SET_MEMBERS.has(name))
  return extras.length > 0 ? Object.fromEntries(extras) : undefined
}

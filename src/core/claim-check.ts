import { hash } from 'node:crypto'
import { quotedValue } from '../errors.ts'
import type { DecodedEvent, TwoWayCodec } from './codec.ts'
import { envelopeCodec } from './codec.ts'
import { assertInteger, assertKnownOptions, assertNumber, wrongUseError } from './options.ts'
import { PayloadGoneError, PayloadStoreError } from './payload-errors.ts'
import { isPlainObject } from './plain-object.ts'

/** Where `claimCheck` keeps payloads: `s3Store` of `millrace/s3`, `memoryStore` of `millrace/testing`, or one of your own. */
export interface PayloadStore {
  /**
   * Keeps bytes under a key, for `retentionMs` at least, from now on. The same key is put again, with the same bytes, whenever an event with that payload is published.
   *
   * @param options.retentionMs `undefined`: for ever.
   */
  put(
    key: string,
    bytes: Uint8Array,
    options: { readonly retentionMs: number | undefined; readonly signal: AbortSignal },
  ): Promise<void>
  /** An answer of another kind is a failure of the store. @param options.maxBytes Longer ones need not be read: they are not what was put. @returns What was put; `undefined`: there is nothing under that key. */
  get(
    key: string,
    options: { readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<Uint8Array | undefined>
}

/** How `claimCheck` goes about it. */
export interface ClaimCheckOptions {
  readonly store: PayloadStore
  /** Bytes of a payload's JSON above which it goes to the store, 0 or more. Default 65,536. */
  readonly overBytes?: number
  /** Bytes that a payload may have at most: more is refused by `publish`, and never fetched. Default 67,108,864. */
  readonly maxBytes?: number
  /**
   * Milliseconds for which the store keeps a payload, from its last publication: at least as long as its entry stays in the stream, delays included, which is checked where the publisher has `retentionMs`. The
   * store may delete it after that, and a dead letter that is redriven later finds none. Default: for ever.
   */
  readonly retentionMs?: number
  /** Milliseconds that putting one payload may take, 1 or more. Fetching has the handler's time. Default 10,000. */
  readonly putTimeoutMs?: number
  /** How entries are read and written. Default `envelopeCodec`. */
  readonly codec?: TwoWayCodec
}

/** Payloads that are put side by side. */
const PUTS_AT_ONCE = 16

/** What an entry says in place of its payload: what it is known by, and how long it is. */
interface ClaimCheckReference {
  readonly digest: string
  readonly bytes: number
}

/**
 * A codec that keeps large payloads out of Redis, for publishers and consumers: such a payload is put into a store first, and its entry says where it is (Enterprise Integration Patterns: Claim Check). Its
 * key is the SHA-256 of its bytes, which are checked when they are fetched. Nothing is ever deleted from the store by this package.
 *
 * A consumer fetches a payload within the handler's time, once it is known that the event is for the group and has a route. A payload that is gone, or is another one, makes a dead letter, `malformed`; a store that
 * fails is a failure like a handler's, and is retried.
 *
 * @throws {TypeError | RangeError} A bad option; the message names the rule and the value.
 * @see https://www.enterpriseintegrationpatterns.com/patterns/messaging/StoreInLibrary.html
 */
export function claimCheck(options: ClaimCheckOptions): TwoWayCodec {
  const { store, codec, ...numbers } = resolveClaimCheck(options)
  const { overBytes, maxBytes, retentionMs, putTimeoutMs } = numbers
  const inTurn = limitAtOnce(PUTS_AT_ONCE)
  return {
    ...(codec.typeField !== undefined && { typeField: codec.typeField }),
    decode: (fields, entryId) => codec.decode(fields, entryId),
    encode: (event) => codec.encode(event),
    offload(event, given) {
      const { type, payload } = event
      const bytes = Buffer.from(given.json)
      // what an entry says in place of a payload must be none
      if (bytes.length <= overBytes && referenceIn(payload) === undefined) return undefined
      const action = `publish ${quotedValue(type)}`
      if (bytes.length > maxBytes)
        throw wrongUseError(action, `its payload must have at most ${maxBytes} bytes, got ${bytes.length}`, RangeError)
      assertOutlives(action, given.keptMs, retentionMs)
      const digest = hash('sha256', bytes)
      return {
        event: { ...event, payload: { claimCheck: `sha256:${digest}:${bytes.length}` } },
        store: () =>
          inTurn(async () => {
            const signal = AbortSignal.timeout(putTimeoutMs)
            await askStore('keep', type, signal, () => store.put(digest, bytes, { retentionMs, signal }))
          }),
      }
    },
    assertKeeps: (action, keptMs) => assertOutlives(action, keptMs, retentionMs),
    load(event, { signal }) {
      const reference = referenceIn(event.payload)
      return reference ? fetchPayload(store, event, reference, maxBytes, signal) : event
    },
  }
}

async function fetchPayload(
  store: PayloadStore,
  event: DecodedEvent,
  { digest, bytes }: ClaimCheckReference,
  maxBytes: number,
  signal: AbortSignal,
): Promise<DecodedEvent | PayloadGoneError> {
  if (bytes > maxBytes)
    return new PayloadGoneError(event.type, digest, `it has ${bytes} bytes, and maxBytes is ${maxBytes}`)
  const found = await askStore('fetch', event.type, signal, async () => {
    const answer = (await store.get(digest, { maxBytes: bytes, signal })) ?? undefined
    // of another kind, as text or an ArrayBuffer, it may be the payload all the same
    if (answer === undefined || answer instanceof Uint8Array) return answer
    throw new TypeError('get of a store must answer a Uint8Array or undefined')
  })
  if (found === undefined) return new PayloadGoneError(event.type, digest, 'the store has none')
  if (found.length !== bytes || hash('sha256', found) !== digest)
    return new PayloadGoneError(event.type, digest, 'what the store has is another one')
  try {
    return { ...event, payload: JSON.parse(Buffer.from(found).toString()) as unknown }
  } catch {
    // what JSON.parse says would quote it
    return new PayloadGoneError(event.type, digest, 'what the store has is no JSON')
  }
}

/** Bounds what a store of somebody's does: also where it throws at once, or ignores its signal. */
async function askStore<T>(
  verb: 'keep' | 'fetch',
  type: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const over = Promise.withResolvers<never>()
  const stop = () => over.reject(signal.reason as Error)
  signal.addEventListener('abort', stop)
  try {
    signal.throwIfAborted()
    return await Promise.race([work(), over.promise])
  } catch (error) {
    throw new PayloadStoreError(verb, type, error)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function referenceIn(payload: unknown): ClaimCheckReference | undefined {
  if (typeof payload !== 'object' || payload === null || !isPlainObject(payload)) return undefined
  const [[name, text] = [], ...others] = Object.entries(payload) as [string, unknown][]
  if (name !== 'claimCheck' || typeof text !== 'string' || others.length > 0) return undefined
  const [, digest, bytes] = /^sha256:([0-9a-f]{64}):(\d{1,15})$/.exec(text) ?? []
  return digest === undefined ? undefined : { digest, bytes: Number(bytes) }
}

function assertOutlives(action: string, keptMs: number, retentionMs = Infinity): void {
  if (keptMs <= retentionMs) return
  throw wrongUseError(
    action,
    `retentionMs of claimCheck must be >= the time for which an entry is kept, delay included, got ${retentionMs} and ${keptMs}`,
    RangeError,
  )
}

function resolveClaimCheck(options: ClaimCheckOptions) {
  const action = 'make claimCheck'
  assertKnownOptions(action, options, ['store', 'overBytes', 'maxBytes', 'retentionMs', 'putTimeoutMs', 'codec'])
  const { store, overBytes = 65_536, maxBytes = 67_108_864, retentionMs, putTimeoutMs = 10_000 } = options
  const { codec = envelopeCodec } = options
  if (typeof store?.put !== 'function' || typeof store.get !== 'function')
    throw wrongUseError(action, 'store must have put and get, as s3Store has')
  assertInteger(action, 'overBytes', overBytes, 0)
  assertInteger(action, 'maxBytes', maxBytes, 1)
  if (retentionMs !== undefined) assertNumber(action, 'retentionMs', retentionMs, 1, Number.MAX_SAFE_INTEGER)
  assertInteger(action, 'putTimeoutMs', putTimeoutMs, 1, 2 ** 31 - 1)
  if (typeof codec?.decode !== 'function' || typeof codec.encode !== 'function')
    throw wrongUseError(action, 'codec must have decode and encode')
  if (codec.offload || codec.load) throw wrongUseError(action, 'codec must keep its payloads in the entry')
  return { store, overBytes, maxBytes, retentionMs, putTimeoutMs, codec }
}

/** Runs work, at most so many side by side, in the order in which it came. */
function limitAtOnce(most: number) {
  let running = 0
  const waiting: (() => void)[] = []
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      // the place goes to the next one
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}

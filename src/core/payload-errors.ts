import { MillraceError, quotedValue } from '../errors.ts'

/** In a dead letter, `malformed`: the payload that an entry refers to is gone from the store of `claimCheck`, or is another one. */
export class PayloadGoneError extends MillraceError {
  override readonly name = 'PayloadGoneError'
  readonly code = 'ERR_PAYLOAD_GONE'
  readonly eventType: string
  /** The key in the store: the SHA-256 of the payload. */
  readonly key: string

  constructor(eventType: string, key: string, what: string) {
    super(`Cannot fetch the payload of ${quotedValue(eventType)}, ${key}: ${what}`)
    this.eventType = eventType
    this.key = key
  }
}

/** The store of `claimCheck` refused, or could not be reached: nothing was published, or the entry is retried. */
export class PayloadStoreError extends MillraceError {
  override readonly name = 'PayloadStoreError'
  readonly code = 'ERR_PAYLOAD_STORE'
  readonly eventType: string

  constructor(verb: 'keep' | 'fetch', eventType: string, cause: unknown) {
    super(`Cannot ${verb} the payload of ${quotedValue(eventType)}: its store failed`, { cause })
    this.eventType = eventType
  }
}

import { MillraceError, quotedValue } from '../errors.ts'

/** An aggregate of a stream; without an id it is the stream itself. */
export interface AggregateName {
  readonly stream: string
  readonly aggregateType?: string | undefined
  readonly aggregateId?: string | undefined
}

/** An error that names its aggregate. */
abstract class AggregateRelatedError extends MillraceError {
  readonly stream: string
  readonly aggregateType: string | undefined
  readonly aggregateId: string | undefined

  constructor(of: AggregateName, message: string, options?: ErrorOptions) {
    super(message, options)
    this.stream = of.stream
    this.aggregateType = of.aggregateType
    this.aggregateId = of.aggregateId
  }
}

/** An aggregate was not at the version that `publish` expected: somebody published meanwhile. Nothing was written. Read it again, and decide again. */
export class VersionConflictError extends AggregateRelatedError {
  override readonly name = 'VersionConflictError'
  readonly code = 'ERR_VERSION_CONFLICT'
  readonly expectedVersion: number
  readonly actualVersion: number

  constructor(of: AggregateName, expected: number, actual: number) {
    super(of, `Cannot publish to ${nameOf(of)}: expectedVersion must be its version, ${actual}, got ${expected}`)
    this.expectedVersion = expected
    this.actualVersion = actual
  }
}

/** An event that `readEvents` was asked for is no longer in the stream: it was trimmed, or deleted. */
export class EventsTrimmedError extends AggregateRelatedError {
  override readonly name = 'EventsTrimmedError'
  readonly code = 'ERR_EVENTS_TRIMMED'
  /** The version of the first event that is gone. */
  readonly aggregateVersion: number

  constructor(of: AggregateName, version: number) {
    super(of, `Cannot read ${nameOf(of)}: the event of version ${version} is gone from the stream`)
    this.aggregateVersion = version
  }
}

/** An event that `readEvents` came upon cannot be read: no definition, no upcast, or a payload that its schema refuses. `cause` says which. */
export class UnreadableEventError extends AggregateRelatedError {
  override readonly name = 'UnreadableEventError'
  readonly code = 'ERR_EVENT_UNREADABLE'
  readonly aggregateVersion: number
  readonly entryId: string

  constructor(of: AggregateName, version: number, entryId: string, cause: Error) {
    const which = `the event of version ${version}, entry ${entryId}, is unreadable`
    // what a schema of the user's own throws may quote the payload
    const why = cause instanceof MillraceError ? cause.message : 'its schema threw'
    super(of, `Cannot read ${nameOf(of)}: ${which}: ${why}`, { cause })
    this.aggregateVersion = version
    this.entryId = entryId
  }
}

function nameOf({ stream, aggregateType, aggregateId }: AggregateName): string {
  if (aggregateId === undefined) return `stream ${quotedValue(stream)}`
  const what = aggregateType === undefined ? 'aggregate' : quotedValue(aggregateType)
  return `${what} ${quotedValue(aggregateId)} of stream ${quotedValue(stream)}`
}

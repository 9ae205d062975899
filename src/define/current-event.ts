import type { DecodedEvent } from '../core/codec.ts'
import { withOptionalTexts } from '../core/codec.ts'
import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { invalidPayloadError } from '../core/invalid-payload.ts'
import type { SchemaResult } from '../core/issues.ts'
import { oneIssue, readSchemaResult } from '../core/issues.ts'
import { ignoreRejection, promiseIfThenable } from '../core/thenable.ts'
import type { InvalidPayloadError } from '../errors.ts'
import type { Event, EventDefinition } from './event.ts'

/** Whether the definition is at that version, or lifts lead from it to there. */
export function isSupportedVersion(definition: EventDefinition, version: number): boolean {
  if (version > definition.version) return false
  for (let from = version; from < definition.version; from++) if (!definition.upcast[from]) return false
  return true
}

/**
 * An event as handlers get it: lifted from a supported version to its definition's, and checked by the schema; a promise where that is asynchronous.
 *
 * @returns What is wrong with its payload, where something is.
 */
export function toCurrentEvent(
  definition: EventDefinition,
  decoded: DecodedEvent,
  stream: string,
  entryId: string,
): Event | InvalidPayloadError | Promise<Event | InvalidPayloadError> {
  const { version = 1 } = decoded
  const source = { definition, decoded, stream, entryId, payload: undefined as unknown }
  try {
    source.payload = lift(definition, version, decoded.payload)
  } catch (error) {
    ignoreRejection(error)
    const { name, message } = errorTexts(error)
    return checkedEvent(source, oneIssue(`the upcast from version ${version} failed: ${name}: ${message}`))
  }
  const result: unknown = definition.payload['~standard'].validate(source.payload)
  let promise: Promise<unknown> | undefined
  try {
    promise = promiseIfThenable(result)
  } catch {
    return checkedEvent(source, readSchemaResult(undefined))
  }
  return promise ? laterEvent(source, promise) : checkedEvent(source, readSchemaResult(result))
}

/** What an event is made of once its payload was checked. */
interface EventSource {
  readonly definition: EventDefinition
  readonly decoded: DecodedEvent
  readonly stream: string
  readonly entryId: string
  /** Lifted to the definition's version. */
  readonly payload: unknown
}

// a function of its own: where a closure might be made, every call keeps what it would need
function laterEvent(source: EventSource, promise: Promise<unknown>): Promise<Event | InvalidPayloadError> {
  return promise.then((answer) => checkedEvent(source, readSchemaResult(answer)))
}

function checkedEvent(
  { definition, decoded, stream, entryId, payload }: EventSource,
  checked: SchemaResult,
): Event | InvalidPayloadError {
  if (checked.issues) return invalidPayloadError(definition, checked.issues, [decoded.payload, payload])
  const event = {
    type: decoded.type,
    version: definition.version,
    payload: checked.value,
    eventId: decoded.eventId || `${stream}:${entryId}`,
  }
  return withOptionalTexts(event, decoded)
}

function lift({ version: current, upcast }: EventDefinition, version: number, payload: unknown): unknown {
  let lifted = payload
  for (let from = version; from < current; from++) {
    lifted = upcast[from]?.(lifted as Record<string, unknown>)
    const promise = promiseIfThenable(lifted)
    promise?.catch(() => {})
    if (promise) throw new TypeError('it gave a promise, which an upcast must not')
  }
  return lifted
}

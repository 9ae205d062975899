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
  const { type, version = 1, eventId } = decoded
  let payload: unknown
  const finish = (checked: SchemaResult): Event | InvalidPayloadError => {
    if (checked.issues) return invalidPayloadError(definition, checked.issues, [decoded.payload, payload])
    const event = {
      type,
      version: definition.version,
      payload: checked.value,
      eventId: eventId || `${stream}:${entryId}`,
    }
    return withOptionalTexts(event, decoded)
  }
  try {
    payload = lift(definition, version, decoded.payload)
  } catch (error) {
    ignoreRejection(error)
    const { name, message } = errorTexts(error)
    return finish(oneIssue(`the upcast from version ${version} failed: ${name}: ${message}`))
  }
  const result: unknown = definition.payload['~standard'].validate(payload)
  let promise: Promise<unknown> | undefined
  try {
    promise = promiseIfThenable(result)
  } catch {
    return finish(readSchemaResult(undefined))
  }
  return promise ? promise.then((answer) => finish(readSchemaResult(answer))) : finish(readSchemaResult(result))
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

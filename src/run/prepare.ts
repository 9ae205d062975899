import type { DecodedEvent } from '../core/codec.ts'
import { withTexts } from '../core/codec.ts'
import { codecError } from '../core/codec-error.ts'
import { describeError } from '../core/dead-letter/dead-letter.ts'
import { readDecoded } from '../core/decoded-event.ts'
import type { Entry } from '../core/entry.ts'
import { invalidPayload } from '../core/invalid-payload.ts'
import type { Checked } from '../core/issues.ts'
import { readResult, wrong } from '../core/issues.ts'
import type { DeadLetterReason } from '../core/outcome.ts'
import { promiseOf, silence } from '../core/thenable.ts'
import type { Consumer } from '../define/consumer.ts'
import type { Event } from '../define/event.ts'
import type { Route } from '../define/route.ts'
import { NoRouteError, UnsupportedVersionError } from '../errors.ts'

/** An entry ready for its handler. */
export interface Prepared {
  readonly kind: 'prepared'
  readonly event: Event
  readonly route: Route
  readonly decoded: DecodedEvent
}

/** An entry that no retry can help: it never reaches a handler. */
export interface Rejected {
  readonly kind: 'rejected'
  readonly reason: DeadLetterReason
  readonly error: unknown
  /** What could still be read of it. */
  readonly decoded: DecodedEvent | undefined
}

/** Decodes an entry, finds its route, lifts its payload and checks it. Waits only for a schema that is asynchronous. */
export function prepare(entry: Entry, consumer: Consumer): Prepared | Rejected | Promise<Prepared | Rejected> {
  let decoded: DecodedEvent
  try {
    decoded = readDecoded(consumer.codec.decode(entry.fields, entry.id), consumer.settings.maxEntryBytes)
  } catch (error) {
    silence(error)
    return rejected('malformed', codecError(error, entry.fields))
  }
  const route = consumer.routes.get(decoded.type)
  if (!route) return rejected('unrouted', new NoRouteError(decoded.type), decoded)
  return check(entry, consumer, route, decoded)
}

function check(
  entry: Entry,
  { stream }: Consumer,
  route: Route,
  decoded: DecodedEvent,
): Prepared | Rejected | Promise<Prepared | Rejected> {
  const { type, version: current, payload: schema } = route.event
  const version = decoded.version ?? 1
  if (!isSupported(route, version)) {
    const reason = version > current ? 'newer-version' : 'unsupported-version'
    return rejected(reason, new UnsupportedVersionError(type, version, current), decoded)
  }
  let payload: unknown
  const finish = (checked: Checked): Prepared | Rejected => {
    if (checked.issues)
      return rejected('invalid', invalidPayload(route.event, checked.issues, [decoded.payload, payload]), decoded)
    return { kind: 'prepared', route, decoded, event: toEvent(decoded, current, checked.value, stream, entry.id) }
  }
  try {
    payload = lift(route, version, decoded.payload)
  } catch (error) {
    silence(error)
    const { name, message } = describeError(error)
    return finish(wrong(`the upcast from version ${version} failed: ${name}: ${message}`))
  }
  const result: unknown = schema['~standard'].validate(payload)
  let promise: Promise<unknown> | undefined
  try {
    promise = promiseOf(result)
  } catch {
    return finish(readResult(undefined))
  }
  return promise ? promise.then((answer) => finish(readResult(answer))) : finish(readResult(result))
}

/** Whether the definition is at that version, or lifts lead from it to there. */
function isSupported({ event }: Route, version: number): boolean {
  if (version > event.version) return false
  for (let from = version; from < event.version; from++) if (!event.upcast[from]) return false
  return true
}

function lift({ event }: Route, version: number, payload: unknown): unknown {
  let lifted = payload
  for (let from = version; from < event.version; from++) {
    lifted = event.upcast[from]?.(lifted as Record<string, unknown>)
    const promise = promiseOf(lifted)
    promise?.catch(() => {})
    if (promise) throw new TypeError('it gave a promise, which an upcast must not')
  }
  return lifted
}

function toEvent(decoded: DecodedEvent, version: number, payload: unknown, stream: string, entryId: string): Event {
  const { type, eventId } = decoded
  return withTexts({ type, version, payload, eventId: eventId || `${stream}:${entryId}` }, decoded)
}

function rejected(reason: DeadLetterReason, error: unknown, decoded?: DecodedEvent): Rejected {
  return { kind: 'rejected', reason, error, decoded }
}

import type { DecodedEvent } from '../core/codec.ts'
import { envelopeCodec } from '../core/codec.ts'
import { codecError } from '../core/codec-error.ts'
import { checkDecodedEvent } from '../core/decoded-event.ts'
import type { Entry } from '../core/entry.ts'
import type { DeadLetterReason } from '../core/outcome.ts'
import { ignoreRejection, isThenable } from '../core/thenable.ts'
import type { Consumer } from '../define/consumer.ts'
import { isSupportedVersion, toCurrentEvent } from '../define/current-event.ts'
import type { Event } from '../define/event.ts'
import type { BoundRoute } from '../define/route-settings.ts'
import { InvalidPayloadError, NoRouteError, quotedValue, UnsupportedVersionError } from '../errors.ts'
import { newerVersionCondition, unroutedCondition } from './awaited.ts'
import type { ExpiryCheck } from './expiry.ts'
import type { AwaitingEntry, IgnoredEntry, RejectedEntry } from './rejected.ts'
import { IGNORED_ENTRY } from './rejected.ts'

/** An entry ready for its handler. */
export interface PreparedEntry {
  readonly kind: 'prepared'
  readonly event: Event
  readonly route: BoundRoute
  readonly decoded: DecodedEvent
}

/** What became of an entry before its handler is called. */
export type PrepareResult = PreparedEntry | RejectedEntry | IgnoredEntry | AwaitingEntry

/**
 * Decodes an entry, finds its route, lifts its payload and checks it. Waits only for a schema that is asynchronous. Whether it is for the group comes before
 * whether it has expired, and both before what its payload must be.
 *
 * @param found Keeps the route as soon as it is known, also where the payload cannot be read.
 */
export function prepareEntry(
  entry: Entry,
  consumer: Consumer,
  expiry?: ExpiryCheck,
  found?: { route: BoundRoute | undefined },
): PrepareResult | Promise<PreparedEntry | RejectedEntry> {
  let decoded: DecodedEvent
  try {
    const { codec } = consumer
    const answer = codec.decode(entry.fields, entry.id)
    // what our own answers is an event, and no longer than its entry
    decoded = codec === envelopeCodec ? answer : checkDecodedEvent(answer, consumer.settings.maxEntryBytes)
  } catch (error) {
    ignoreRejection(error)
    return rejected('malformed', codecError(error, entry.fields))
  }
  if (consumer.filter && !consumer.filter.matches(decoded)) return IGNORED_ENTRY
  const route = consumer.routes.get(decoded.type)
  if (!route && consumer.settings.unrouted === 'ignore') return IGNORED_ENTRY
  if (!route && consumer.settings.unrouted === 'park')
    return { kind: 'awaiting', condition: unroutedCondition(decoded.type) }
  if (!route) return rejected('unrouted', new NoRouteError(decoded.type), decoded)
  if (found) found.route = route
  return expiry?.(entry.id, route, decoded) ?? check(entry, consumer, route, decoded)
}

/**
 * Whether the route's `when` wants the event.
 *
 * @throws {TypeError} It answered something else than true or false.
 * @throws {unknown} What it threw.
 */
export function isWantedByRoute({ route, event }: PreparedEntry): boolean {
  if (!route.when) return true
  const answer = route.when(event as never)
  if (typeof answer === 'boolean') return answer
  ignoreRejection(answer)
  const got = isThenable(answer) ? 'a promise' : typeof answer
  throw new TypeError(`when of ${quotedValue(event.type)} must answer true or false, got ${got}`)
}

function check(
  entry: Entry,
  { stream, settings }: Consumer,
  route: BoundRoute,
  decoded: DecodedEvent,
): PrepareResult | Promise<PreparedEntry | RejectedEntry> {
  const { type, version: current } = route.event
  const version = decoded.version ?? 1
  if (!isSupportedVersion(route.event, version)) {
    if (version > current && settings.newerVersion === 'park')
      return { kind: 'awaiting', condition: newerVersionCondition(type, version) }
    const reason = version > current ? 'newer-version' : 'unsupported-version'
    return rejected(reason, new UnsupportedVersionError(type, version, current), decoded)
  }
  const finish = (event: Event | InvalidPayloadError): PreparedEntry | RejectedEntry =>
    event instanceof InvalidPayloadError
      ? rejected('invalid', event, decoded)
      : { kind: 'prepared', route, decoded, event }
  const event = toCurrentEvent(route.event, decoded, stream, entry.id)
  return event instanceof Promise ? event.then(finish) : finish(event)
}

function rejected(reason: DeadLetterReason, error: unknown, decoded?: DecodedEvent): RejectedEntry {
  return { kind: 'rejected', reason, error, decoded }
}

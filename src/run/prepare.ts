import type { Codec, DecodedEvent } from '../core/codec.ts'
import { decodeEnvelope, envelopeCodec } from '../core/codec.ts'
import { codecError } from '../core/codec-error.ts'
import { checkDecodedEvent } from '../core/decoded-event.ts'
import type { AnsweredEntry, Entry } from '../core/entry.ts'
import { namesAndValuesOf } from '../core/entry.ts'
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
 * @param keeper Keeps the route as soon as it is known, also where the payload cannot be read.
 * @param loading There where a payload may have to be loaded.
 */
export function prepareEntry(
  entry: AnsweredEntry,
  consumer: Consumer,
  expiry?: ExpiryCheck,
  keeper?: RouteKeeper,
  loading?: Loading,
): PrepareResult | Promise<PrepareResult> {
  let decoded: DecodedEvent
  try {
    const { codec } = consumer
    // what our own answers is an event, and no longer than its entry
    decoded =
      codec === envelopeCodec
        ? decodeEnvelope(namesAndValuesOf(entry))
        : checkDecodedEvent(codec.decode(entry.fields, entry.id), consumer.settings.maxEntryBytes)
  } catch (error) {
    ignoreRejection(error)
    return rejected('malformed', codecError(error, entry.fields))
  }
  const { filter, codec } = consumer
  if (filter && codec.load)
    return load(codec, decoded, loading, (loaded) =>
      filter.matches(loaded) ? route(entry, consumer, expiry, keeper, loaded, undefined) : IGNORED_ENTRY,
    )
  if (filter && !filter.matches(decoded)) return IGNORED_ENTRY
  return route(entry, consumer, expiry, keeper, decoded, codec.load && loading)
}

/** Who keeps the route of an entry. */
interface RouteKeeper {
  route: BoundRoute | undefined
}

/** Who waits for a payload that does not stand in its entry. */
export interface Loading {
  /** Aborted when its time is over. */
  readonly signal: AbortSignal
  /** The event that it is of. */
  loadedFor: DecodedEvent | undefined
}

function load(
  codec: Codec,
  decoded: DecodedEvent,
  loading: Loading | undefined,
  go: (loaded: DecodedEvent) => PrepareResult | Promise<PrepareResult>,
): PrepareResult | Promise<PrepareResult> {
  const who = loading as Loading
  who.loadedFor = decoded
  const loaded = codec.load?.(decoded, who) ?? decoded
  const finish = (event: DecodedEvent | Error) =>
    event instanceof Error ? rejected('malformed', event, decoded) : go(event)
  return isThenable(loaded) ? loaded.then(finish) : finish(loaded)
}

/** @param loading There if the payload has yet to be loaded. */
function route(
  entry: Entry,
  consumer: Consumer,
  expiry: ExpiryCheck | undefined,
  keeper: RouteKeeper | undefined,
  decoded: DecodedEvent,
  loading: Loading | undefined,
): PrepareResult | Promise<PrepareResult> {
  const found = consumer.routes.get(decoded.type)
  if (!found && consumer.settings.unrouted === 'ignore') return IGNORED_ENTRY
  if (!found && consumer.settings.unrouted === 'park')
    return { kind: 'awaiting', eventType: decoded.type, condition: unroutedCondition(decoded.type) }
  if (!found) return rejected('unrouted', new NoRouteError(decoded.type), decoded)
  if (keeper) keeper.route = found
  return expiry?.(entry.id, found, decoded) ?? check(entry, consumer, found, decoded, loading)
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
  consumer: Consumer,
  route: BoundRoute,
  decoded: DecodedEvent,
  loading: Loading | undefined,
): PrepareResult | Promise<PrepareResult> {
  const { settings } = consumer
  const { type, version: current } = route.event
  const version = decoded.version ?? 1
  if (!isSupportedVersion(route.event, version)) {
    if (version > current && settings.newerVersion === 'park')
      return { kind: 'awaiting', eventType: type, condition: newerVersionCondition(type, version) }
    const reason = version > current ? 'newer-version' : 'unsupported-version'
    return rejected(reason, new UnsupportedVersionError(type, version, current), decoded)
  }
  if (loading) return load(consumer.codec, decoded, loading, (loaded) => checkPayload(entry, consumer, route, loaded))
  return checkPayload(entry, consumer, route, decoded)
}

function checkPayload(
  entry: Entry,
  { stream }: Consumer,
  route: BoundRoute,
  decoded: DecodedEvent,
): PreparedEntry | RejectedEntry | Promise<PreparedEntry | RejectedEntry> {
  const event = toCurrentEvent(route.event, decoded, stream, entry.id)
  return event instanceof Promise ? checkedLater(route, decoded, event) : checked(route, decoded, event)
}

async function checkedLater(
  route: BoundRoute,
  decoded: DecodedEvent,
  event: Promise<Event | InvalidPayloadError>,
): Promise<PreparedEntry | RejectedEntry> {
  return checked(route, decoded, await event)
}

function checked(
  route: BoundRoute,
  decoded: DecodedEvent,
  event: Event | InvalidPayloadError,
): PreparedEntry | RejectedEntry {
  if (event instanceof InvalidPayloadError) return rejected('invalid', event, decoded)
  return { kind: 'prepared', route, decoded, event }
}

function rejected(reason: DeadLetterReason, error: unknown, decoded?: DecodedEvent): RejectedEntry {
  return { kind: 'rejected', reason, error, decoded }
}

import type { AggregateName } from '../core/aggregate-errors.ts'
import { EventsTrimmedError, UnreadableEventError } from '../core/aggregate-errors.ts'
import type { Codec, DecodedEvent } from '../core/codec.ts'
import { envelopeCodec } from '../core/codec.ts'
import { codecError } from '../core/codec-error.ts'
import { checkDecodedEvent } from '../core/decoded-event.ts'
import type { Entry } from '../core/entry.ts'
import { aggregateKey } from '../core/keys.ts'
import { assertInteger, assertKnownOptions, assertText, wrongUseError } from '../core/options.ts'
import { PUBLISHER_NUMBER_OPTIONS } from '../core/rows.ts'
import { isSupportedVersion, toCurrentEvent } from '../define/current-event.ts'
import type { Event, EventDefinition, EventOf } from '../define/event.ts'
import { assertEventDefinition } from '../define/event.ts'
import { MalformedEntryError, NoRouteError, quotedValue, UnsupportedVersionError } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { assertConnection } from '../group/connection.ts'
import { createAggregateReader } from '../group/redis/read-aggregate.ts'

/** Which events to read. */
export interface ReadEventsOptions<Definition extends EventDefinition = EventDefinition> {
  /** The server; made once at module scope. */
  readonly redis: Connection
  /** The definitions of all types that the aggregate has events of. */
  readonly events: readonly Definition[]
  /** The aggregate within the stream, as it was published. Default: the stream itself is the aggregate. */
  readonly aggregateId?: string
  readonly aggregateType?: string
  /** The version of the first event, 1 or more: what follows a snapshot of version n begins at n + 1. Default 1. */
  readonly from?: number
  /** The version of the last event, `from` or more. Default: the newest one there is when it is reached. */
  readonly to?: number
  /** How entries are read. Default `envelopeCodec`. */
  readonly codec?: Codec
}

/** An event as handlers get it, and where it stands. */
export type StoredEvent<Definition extends EventDefinition> = Definition extends EventDefinition
  ? EventOf<Definition> & {
      /** Which event of its aggregate it is: 1, 2, 3 … */
      readonly aggregateVersion: number
      readonly entryId: string
    }
  : never

const KNOWN = ['redis', 'events', 'aggregateId', 'aggregateType', 'from', 'to', 'codec']

/**
 * Reads the events of an aggregate that were published with `expectedVersion`, in the order of their versions, none left out: lifted and checked, as handlers get them. A page of at most 100 events
 * or a megabyte is one round trip, and the next one is asked for when it is needed; whoever stops reading asks for no more. Reads once: what is iterated again has ended.
 *
 * @throws {TypeError | RangeError} A bad option, at once; the message names the rule and the value.
 * @throws {EventsTrimmedError} An event is gone from the stream, or from the versions while they are read. What comes before it was read.
 * @throws {UnreadableEventError} An event has no definition, no upcast or a payload that its schema refuses. What comes before it was read.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or no reply came.
 */
export function readEvents<const Definition extends EventDefinition>(
  stream: string,
  options: ReadEventsOptions<Definition>,
): AsyncGenerator<StoredEvent<Definition>, void, undefined> {
  const action = `read events of stream ${quotedValue(stream)}`
  assertText(action, 'stream', stream)
  assertKnownOptions(action, options, KNOWN)
  const { redis, events, aggregateId, aggregateType, from = 1, to = Infinity, codec = envelopeCodec } = options
  assertConnection(action, redis)
  if (!Array.isArray(events) || events.length === 0)
    throw wrongUseError(action, 'events must be an array of definitions, one at least')
  for (const event of events) assertEventDefinition(action, event)
  for (const [name, text] of Object.entries({ aggregateId, aggregateType })) {
    if (text === undefined) continue
    assertText(action, name, text)
    if (!text.isWellFormed()) throw wrongUseError(action, `${name} must be text of whole characters`)
  }
  if (aggregateType !== undefined && aggregateId === undefined)
    throw wrongUseError(action, 'aggregateType needs an aggregateId')
  assertInteger(action, 'from', from, 1)
  if (to !== Infinity) assertInteger(action, 'to', to, from)
  if (typeof codec?.decode !== 'function') throw wrongUseError(action, 'codec must have a decode function')
  const of = { stream, aggregateType, aggregateId }
  aggregateKey(stream, aggregateType, aggregateId)
  const definitions = new Map<string, EventDefinition>(events.map((event) => [event.type, event]))
  if (definitions.size < events.length) throw wrongUseError(action, 'events must not define a type twice')
  const readPage = createAggregateReader(action, redis)
  return read(of, definitions, codec, from, to, readPage) as AsyncGenerator<StoredEvent<Definition>, void, undefined>
}

type Definitions = ReadonlyMap<string, EventDefinition>

async function* read(
  of: AggregateName,
  definitions: Definitions,
  codec: Codec,
  from: number,
  to: number,
  readPage: ReturnType<typeof createAggregateReader>,
): AsyncGenerator<StoredEvent<EventDefinition>, void, undefined> {
  for (let version = from; ; ) {
    const { entries, newestVersion } = await readPage(of.stream, of, version, to)
    // what was read of it a page ago is not in it any more: after a failover, or since somebody deleted the key
    if (version > from && newestVersion < version - 1) throw new EventsTrimmedError(of, newestVersion + 1)
    for (const entry of entries) {
      yield await toStored(of, definitions, codec, version, entry)
      version += 1
    }
    if (version > Math.min(to, newestVersion)) return
    if (entries.length === 0) throw new EventsTrimmedError(of, version)
  }
}

async function toStored(
  of: AggregateName,
  definitions: Definitions,
  codec: Codec,
  aggregateVersion: number,
  entry: Entry,
): Promise<StoredEvent<EventDefinition>> {
  try {
    const decoded = await loaded(codec, decode(codec, entry))
    if ((decoded.aggregateVersion ?? aggregateVersion) !== aggregateVersion)
      throw new MalformedEntryError(`It says that it is version ${decoded.aggregateVersion}`)
    const event = await toEvent(definitions, decoded, of.stream, entry.id)
    return { ...event, aggregateVersion, entryId: entry.id }
  } catch (error) {
    const cause = error instanceof Error ? error : new MalformedEntryError(`The codec threw a ${typeof error}`)
    throw new UnreadableEventError(of, aggregateVersion, entry.id, cause)
  }
}

function decode(codec: Codec, { id, fields }: Entry): DecodedEvent {
  try {
    return checkDecodedEvent(codec.decode(fields, id), PUBLISHER_NUMBER_OPTIONS.maxEntryBytes.max)
  } catch (error) {
    throw codecError(error, fields)
  }
}

async function loaded(codec: Codec, decoded: DecodedEvent): Promise<DecodedEvent> {
  const event = await codec.load?.(decoded, { signal: new AbortController().signal })
  if (event instanceof Error) throw event
  return event ?? decoded
}

async function toEvent(
  definitions: Definitions,
  decoded: DecodedEvent,
  stream: string,
  entryId: string,
): Promise<Event> {
  const { type, version = 1 } = decoded
  const definition = definitions.get(type)
  if (!definition) throw new NoRouteError(type)
  if (!isSupportedVersion(definition, version)) throw new UnsupportedVersionError(type, version, definition.version)
  const event = await toCurrentEvent(definition, decoded, stream, entryId)
  if (event instanceof Error) throw event
  return event
}

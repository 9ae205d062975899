import { randomUUID } from 'node:crypto'
import { encodeEnvelope } from './core/codec.ts'
import type { Field } from './core/entry.ts'
import { entryBytes } from './core/entry.ts'
import { boolean, integerFrom, numberFrom, object, refuseUnknownKeys, text, withDefaults } from './core/options.ts'
import { InvalidPayloadError, OversizeEntryError, PublishFailedError } from './errors.ts'
import type { EventDefinition, PayloadOf } from './event.ts'
import type { Connection, Trim } from './group/group.ts'
import { issuesOf } from './run/validate.ts'

export interface PublisherOptions {
  /** The stream's key. */
  readonly stream: string
  /** The server; made once at module scope. */
  readonly redis: Connection
  /** Who publishes; written into every entry. Default: nobody. */
  readonly producer?: string
  /**
   * Entries the stream keeps; `Infinity` keeps all. Trimming takes the oldest, also those that no group has read: choose more than the
   * longest backlog. Default 1,000,000, unless `retentionMs` is given.
   */
  readonly maxLength?: number
  /** Milliseconds an entry is kept, instead of `maxLength`. */
  readonly retentionMs?: number
  /** Trim to the entry, which costs more; by default whole nodes go, so that up to some hundred entries more are kept. Default false. */
  readonly exactTrimming?: boolean
  /** Bytes of names and values; a larger event is refused. Default 1,048,576, as the consumer's. */
  readonly maxEntryBytes?: number
}

/** What an event says beside its payload. */
export interface PublishOptions {
  /** Identifies the event; consumers' idempotency keys are made of it. Default: a random UUID. */
  readonly eventId?: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  readonly tenantId?: string
  /** Default: now. A string must be ISO 8601. */
  readonly occurredAt?: Date | string
  /** W3C trace context. */
  readonly traceparent?: string
}

/** Where an event went. */
export interface Published {
  readonly entryId: string
  readonly eventId: string
}

/** The arguments of `publish`, as one tuple. */
export type Publication<Definition extends EventDefinition = EventDefinition> = readonly [
  event: Definition,
  payload: PayloadOf<Definition>,
  options?: PublishOptions | undefined,
]

export interface Publisher {
  /**
   * Checks a payload, as the JSON that consumers will read, and appends it to the stream as it was given.
   *
   * When a reply is lost the command is sent again, so an event may stand in the stream twice, with the same `eventId`.
   *
   * @throws {InvalidPayloadError} The schema refuses it.
   * @throws {OversizeEntryError} It is larger than `maxEntryBytes`.
   * @throws {PublishFailedError} The server refused it.
   * @throws {RedisConnectionError} No reply came: the event may or may not have been written.
   */
  publish<Definition extends EventDefinition>(
    event: Definition,
    payload: PayloadOf<Definition>,
    options?: PublishOptions,
  ): Promise<Published>
  /**
   * Publishes many in one round trip, in order. All are checked before the first is sent.
   *
   * @throws As `publish`; `PublishFailedError` names those that were written.
   */
  publishMany<const Definitions extends readonly EventDefinition[]>(
    publications: readonly [...{ readonly [N in keyof Definitions]: Publication<Definitions[N]> }],
  ): Promise<Published[]>
}

const DEFAULTS = { maxLength: 1_000_000, exactTrimming: false, maxEntryBytes: 1_048_576 }
const KNOWN = ['stream', 'redis', 'producer', 'retentionMs', ...Object.keys(DEFAULTS)]
const PUBLISH_TEXTS = ['eventId', 'aggregateType', 'aggregateId', 'tenantId', 'traceparent'] as const

/**
 * Makes a publisher: the only way into a stream.
 *
 * @throws {TypeError | RangeError} A bad option; the message names the rule and the value.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  object('create publisher', 'options', options)
  const { stream, redis, producer } = options
  const action = `create publisher for stream ${JSON.stringify(stream)}`
  text(action, 'stream', stream)
  refuseUnknownKeys(action, options, KNOWN)
  if (producer !== undefined) text(action, 'producer', producer)
  if (typeof redis?.append !== 'function') {
    throw new TypeError(
      `Cannot ${action}: redis must be a connection, as from connectIoredis(url) or connectUpstash(options)`,
    )
  }
  const trim = resolveTrim(action, options)
  const { maxEntryBytes } = withDefaults(DEFAULTS, { maxEntryBytes: options.maxEntryBytes })
  integerFrom(action, 'maxEntryBytes', maxEntryBytes, 1)

  async function publishAll(publications: readonly Publication[]): Promise<Published[]> {
    const entries = await Promise.all(
      publications.map((publication) => encode(stream, producer, maxEntryBytes, publication)),
    )
    if (entries.length === 0) return []
    const answers = await redis.append(
      stream,
      entries.map((entry) => entry.fields),
      trim,
    )
    const refusal = answers.find((answer) => answer instanceof Error)
    if (refusal)
      throw new PublishFailedError(
        stream,
        answers.map((answer) => (typeof answer === 'string' ? answer : undefined)),
        refusal,
      )
    return entries.map(({ eventId }, n) => ({ entryId: answers[n] as string, eventId }))
  }

  return {
    publish: async (event, payload, publishOptions) =>
      (await publishAll([[event, payload, publishOptions]]))[0] as Published,
    publishMany: async (publications) => {
      if (!Array.isArray(publications)) {
        throw new TypeError(
          `Cannot publish many: publications must be an array of [event, payload, options?], got ${typeof publications}`,
        )
      }
      return publishAll(publications as readonly Publication[])
    },
  }
}

async function encode(stream: string, producer: string | undefined, maxEntryBytes: number, publication: Publication) {
  const [event, payload, options = {}] = publication
  const action = `publish to stream ${JSON.stringify(stream)}`
  object(action, 'event', event)
  const { type, version } = event
  checkPublishOptions(action, options)
  const json = toJson(action, type, payload)
  // what a consumer will read is checked, so that a Date or NaN is refused here and does not become a dead letter there
  const { issues } = await event.payload['~standard'].validate(JSON.parse(json))
  if (issues) throw new InvalidPayloadError(type, issuesOf(issues))
  const { eventId = randomUUID(), occurredAt = new Date(), ...rest } = options
  const fields: Field[] = encodeEnvelope({
    ...rest,
    type,
    version,
    producer,
    eventId,
    occurredAt: toIso(action, occurredAt),
    payload: json,
  })
  const bytes = entryBytes(fields)
  if (bytes > maxEntryBytes) throw new OversizeEntryError(bytes, maxEntryBytes)
  return { fields, eventId }
}

function checkPublishOptions(action: string, options: PublishOptions): void {
  object(action, 'options', options)
  refuseUnknownKeys(action, options, [...PUBLISH_TEXTS, 'occurredAt'])
  for (const name of PUBLISH_TEXTS) if (options[name] !== undefined) text(action, name, options[name])
}

function toJson(action: string, type: string, payload: unknown): string {
  const rule = `Cannot ${action}: the payload of ${JSON.stringify(type)} must be JSON`
  let json: string | undefined
  try {
    json = JSON.stringify(payload)
  } catch {
    throw new TypeError(`${rule}: it holds a BigInt, refers to itself, or cannot be read`)
  }
  if (json === undefined) throw new TypeError(`${rule}, got ${typeof payload}`)
  return json
}

const ISO_8601 = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

function toIso(action: string, occurredAt: Date | string): string {
  if (typeof occurredAt === 'string' && ISO_8601.test(occurredAt)) return occurredAt
  if (occurredAt instanceof Date && !Number.isNaN(occurredAt.getTime())) return occurredAt.toISOString()
  throw new RangeError(
    `Cannot ${action}: occurredAt must be a valid Date or ISO 8601, got ${JSON.stringify(occurredAt)}`,
  )
}

function resolveTrim(
  action: string,
  { maxLength, retentionMs, exactTrimming = DEFAULTS.exactTrimming }: PublisherOptions,
): Trim {
  boolean(action, 'exactTrimming', exactTrimming)
  if (retentionMs === undefined) {
    const length = maxLength === undefined ? DEFAULTS.maxLength : maxLength
    if (length === Number.POSITIVE_INFINITY) return { kind: 'none' }
    integerFrom(action, 'maxLength', length, 1)
    return { kind: 'length', maxLength: length, exact: exactTrimming }
  }
  if (maxLength !== undefined) {
    throw new TypeError(
      `Cannot ${action}: maxLength and retentionMs must not both be given, got ${maxLength} and ${retentionMs}`,
    )
  }
  numberFrom(action, 'retentionMs', retentionMs, 1, Number.MAX_SAFE_INTEGER)
  return { kind: 'age', retentionMs, exact: exactTrimming }
}

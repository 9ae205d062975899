import type { Clock } from '../clock.ts'
import { assertClock, systemClock } from '../clock.ts'
import { encodeEnvelope } from '../core/codec.ts'
import type { Field } from '../core/entry.ts'
import { entryBytes, mostBytes } from '../core/entry.ts'
import { invalidPayload } from '../core/invalid-payload.ts'
import { isoTime } from '../core/iso-time.ts'
import { readResult } from '../core/issues.ts'
import { consumerKeys } from '../core/keys.ts'
import {
  boolean,
  cannot,
  integerFrom,
  knownOptions,
  numberFrom,
  object,
  refuseUnknownKeys,
  text,
  withDefaults,
} from '../core/options.ts'
import { promiseOf } from '../core/thenable.ts'
import type { EventDefinition, PayloadOf } from '../define/event.ts'
import { assertDefinition } from '../define/event.ts'
import type { Observer, PublishCall } from '../define/observe.ts'
import { resolveObservers } from '../define/observers.ts'
import { OversizeEntryError, PublishFailedError, quoted } from '../errors.ts'
import type { Connection, Trim } from '../group/group.ts'
import { assertConnection } from '../group/group.ts'
import { appenderOf } from '../group/redis/append.ts'

/** Into which stream, and how it is bounded. */
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
  /**
   * Milliseconds an entry is kept on the server's clock, instead of `maxLength`. The server is asked for its time before the first event, then
   * once a minute; nothing is trimmed where it does not say.
   */
  readonly retentionMs?: number
  /** Trim to the entry, which costs more; by default whole nodes go, so that up to some hundred entries more are kept. Default false. */
  readonly exactTrimming?: boolean
  /** Bytes of names and values; a larger event is refused. Default 1,048,576, as the consumer's. */
  readonly maxEntryBytes?: number
  /** Pollers to wake, as from `wakePoller` of `millrace/lambda`. Default: none; their schedule finds what was published. */
  readonly wake?: Wake | readonly Wake[]
  /** Who is told what is published, such as `reportMetrics()` of `millrace/powertools`. Default: nobody. */
  readonly observe?: Observer | readonly Observer[]
  /** Time, for tests. Default: the system's. */
  readonly clock?: Clock
}

/**
 * Wakes the poller of one group. Of all publishers one does: it raised a flag beside the group, which the next poller takes back before it
 * reads, so that what is published after that wakes again.
 */
export interface Wake {
  /** The consumer group. */
  readonly group: string
  /** Milliseconds after which another publisher may wake a poller that never read, 1 or more. */
  readonly windowMs: number
  /** Resolves once the poller's invocation was accepted. */
  wake(): Promise<void>
  /** Told of a flag that could not be raised and of a `wake` that failed: the schedule still finds what was published. */
  onError(error: Error): void
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

/** Appends events to one stream. */
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
   * Publishes many, in order: a thousand or a megabyte in one round trip, more in as many as that takes. All are checked before the first is
   * sent. Where one is refused, or a reply does not come, what was not sent yet is not sent.
   *
   * @throws As `publish`; `PublishFailedError` names those that are known to be written, whatever stopped it.
   */
  publishMany<const Definitions extends readonly EventDefinition[]>(
    publications: readonly [...{ readonly [N in keyof Definitions]: Publication<Definitions[N]> }],
  ): Promise<Published[]>
}

const DEFAULTS = { maxLength: 1_000_000, exactTrimming: false, maxEntryBytes: 1_048_576, clock: systemClock }
const KNOWN = ['stream', 'redis', 'producer', 'retentionMs', 'wake', 'observe', ...Object.keys(DEFAULTS)]
const PUBLISH_TEXTS = ['eventId', 'aggregateType', 'aggregateId', 'tenantId', 'traceparent'] as const
const PUBLISH_OPTIONS = [...PUBLISH_TEXTS, 'occurredAt']

/**
 * Makes a publisher: the only way into a stream.
 *
 * @throws {TypeError | RangeError} A bad option; the message names the rule and the value.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  const { stream, redis, trim, wakes, observers, ...settings } = resolvePublisherOptions(options)
  const action = `publish to stream ${quoted(stream)}`
  const appendTo = appenderOf(action, redis)

  async function publishAll(publications: readonly Publication[]): Promise<Published[]> {
    if (!Array.isArray(publications)) throw cannot(action, `publications must be an array, got ${typeof publications}`)
    const drafts = publications.map((publication) => draftOf(action, publication))
    if (drafts.length === 0) return []
    if (!observers) return append(drafts)
    const events = drafts.map(({ event, eventId }) => ({ type: event.type, eventId }))
    const call: PublishCall = { stream, events }
    return observers.within('publish', call, () => append(drafts, call))
  }

  async function append(drafts: readonly Draft[], call?: PublishCall): Promise<Published[]> {
    const startedAt = settings.clock.monotonic()
    let entries: readonly (readonly Field[])[] = []
    let answers: readonly (string | Error)[] = []
    let error: Error | undefined
    try {
      entries = await encodeAll(action, settings, drafts, tracedBy(call))
      const appended = await appendTo(stream, entries, trim, wakes)
      answers = appended.answers
      await Promise.all(wakes.map((wake, n) => wakeIfRaised(wake, appended.raised[n])))
      const refusal = answers.find((answer) => answer instanceof Error)
      if (refusal) throw new PublishFailedError(stream, answers.map(idOnly), refusal)
      return drafts.map(({ eventId }, n) => ({ entryId: answers[n] as string, eventId }))
    } catch (thrown) {
      error = thrown as Error
      throw thrown
    } finally {
      if (call) {
        const durationMs = settings.clock.monotonic() - startedAt
        const entryIds = drafts.map((_draft, n) => idOnly(answers[n]))
        observers?.tell('published', { call, durationMs, bytes: entries.map(entryBytes), entryIds, error })
      }
    }
  }

  return {
    async publish(event, payload, publishOptions) {
      const [published] = await publishAll([[event, payload, publishOptions]])
      return published as Published
    },
    publishMany: (publications) => publishAll(publications as readonly Publication[]),
  }
}

/** The event is in the stream by now, so that nothing that goes wrong here is the caller's trouble. */
async function wakeIfRaised(wake: Wake, raised: boolean | Error | undefined): Promise<void> {
  try {
    if (raised instanceof Error) throw raised
    if (raised) await wake.wake()
  } catch (error) {
    try {
      wake.onError(error as Error)
    } catch {} // nor is this
  }
}

/** Characters of a traceparent: a later version of it may be longer than today's 55. */
const MAX_TRACEPARENT = 512

/** The trace context that an observer set, which may have set anything. */
function tracedBy(call: PublishCall | undefined): string | undefined {
  try {
    const traced: unknown = call?.traceparent
    return typeof traced === 'string' && traced !== '' && traced.length <= MAX_TRACEPARENT ? traced : undefined
  } catch {
    return undefined
  }
}

const idOnly = (answer: string | Error | undefined) => (typeof answer === 'string' ? answer : undefined)

interface EncodeSettings {
  readonly producer: string | undefined
  readonly maxEntryBytes: number
  readonly clock: Clock
}

/** What is to be published, checked but for its payload. */
interface Draft {
  readonly event: EventDefinition
  readonly payload: unknown
  readonly options: PublishOptions
  readonly eventId: string
}

const NO_OPTIONS: PublishOptions = {}

function draftOf(action: string, publication: Publication): Draft {
  if (!Array.isArray(publication)) {
    throw cannot(action, `every publication must be [event, payload, options?], got ${typeof publication}`)
  }
  const [event, payload, options = NO_OPTIONS] = publication as Publication
  assertDefinition(action, event)
  if (options !== NO_OPTIONS) checkPublishOptions(action, options)
  return { event, payload, options, eventId: options.eventId ?? crypto.randomUUID() }
}

/** The fields of each event, once every payload was checked. Waits only for schemas that are asynchronous. */
async function encodeAll(
  action: string,
  settings: EncodeSettings,
  drafts: readonly Draft[],
  traced: string | undefined,
): Promise<readonly Encoded[]> {
  const now = isoTime(settings.clock.now())
  const entries = drafts.map((draft) => {
    const { event, payload } = draft
    const json = toJson(action, event.type, payload)
    // what a consumer will read is checked, so that a Date or NaN is refused here and does not become a dead letter there
    const checked = event.payload['~standard'].validate(JSON.parse(json))
    const encoded = (result: Checked) => encode(action, settings, draft, json, result, { now, traced })
    const waiting = promiseOf(checked)?.then(encoded)
    if (!waiting) return encoded(checked as Checked)
    waiting.catch(() => {}) // told below, unless another event's refusal is first
    return waiting
  })
  const isEncoded = (entry: Encoded | Promise<Encoded>): entry is Encoded => !(entry instanceof Promise)
  return entries.every(isEncoded) ? entries : Promise.all(entries.map((entry) => Promise.resolve(entry)))
}

type Encoded = readonly Field[]

type Checked = Awaited<ReturnType<EventDefinition['payload']['~standard']['validate']>>

function encode(
  action: string,
  { producer, maxEntryBytes }: EncodeSettings,
  { event, payload: given, options, eventId }: Draft,
  payload: string,
  checked: Checked,
  { now, traced }: { readonly now: string; readonly traced: string | undefined },
): readonly Field[] {
  const { type, version } = event
  const { issues } = readResult(checked)
  if (issues) throw invalidPayload(event, issues, [given, JSON.parse(payload)])
  const { aggregateType, aggregateId, tenantId, traceparent = traced } = options
  const occurredAt = options.occurredAt === undefined ? now : toIso(action, options.occurredAt)
  const texts = { aggregateType, aggregateId, tenantId, producer, occurredAt, traceparent }
  const fields = encodeEnvelope({ type, version, payload, eventId, ...texts })
  if (mostBytes(fields) <= maxEntryBytes) return fields
  const bytes = entryBytes(fields)
  if (bytes > maxEntryBytes) throw new OversizeEntryError(bytes, maxEntryBytes)
  return fields
}

function checkPublishOptions(action: string, options: PublishOptions): void {
  knownOptions(action, options, PUBLISH_OPTIONS)
  for (const name of PUBLISH_TEXTS) if (options[name] !== undefined) text(action, name, options[name])
}

function toJson(action: string, type: string, payload: unknown): string {
  const rule = () => `Cannot ${action}: the payload of ${quoted(type)} must be JSON`
  let json: string | undefined
  try {
    json = JSON.stringify(payload)
  } catch {
    throw new TypeError(`${rule()}: it holds a BigInt, refers to itself, or cannot be read`)
  }
  if (json === undefined) throw new TypeError(`${rule()}, got ${typeof payload}`)
  return json
}

const ISO_8601 = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

function toIso(action: string, occurredAt: Date | string): string {
  const isText = typeof occurredAt === 'string'
  const date = isText ? new Date(occurredAt) : occurredAt
  const isValid = date instanceof Date && !Number.isNaN(date.getTime()) && (!isText || ISO_8601.test(occurredAt))
  if (!isValid) {
    throw cannot(action, `occurredAt must be a valid Date or ISO 8601, got ${quoted(occurredAt)}`, RangeError)
  }
  return isText ? occurredAt : date.toISOString()
}

function resolvePublisherOptions(options: PublisherOptions) {
  object('create publisher', 'options', options)
  const { stream, redis, producer } = options
  const action = `create publisher for stream ${quoted(stream)}`
  text(action, 'stream', stream)
  refuseUnknownKeys(action, options, KNOWN)
  if (producer !== undefined) text(action, 'producer', producer)
  assertConnection(action, redis)
  const { maxEntryBytes, exactTrimming, clock } = withDefaults(DEFAULTS, {
    maxEntryBytes: options.maxEntryBytes,
    exactTrimming: options.exactTrimming,
    clock: options.clock,
  })
  integerFrom(action, 'maxEntryBytes', maxEntryBytes, 1)
  boolean(action, 'exactTrimming', exactTrimming)
  assertClock(action, clock)
  const trim = resolveTrim(action, options, exactTrimming)
  return {
    stream,
    redis,
    producer,
    maxEntryBytes,
    clock,
    trim,
    observers: resolveObservers(action, options.observe),
    wakes: resolveWakes(action, stream, options.wake ?? []),
  }
}

function resolveWakes(action: string, stream: string, given: Wake | readonly Wake[]) {
  const wakes = (Array.isArray(given) ? given : [given]) as readonly Wake[]
  return wakes.map((wake) => {
    if (typeof wake?.wake !== 'function' || typeof wake.onError !== 'function')
      throw cannot(action, 'wake must come from wakePoller of millrace/lambda')
    text(action, 'wake.group', wake.group)
    integerFrom(action, 'wake.windowMs', wake.windowMs, 1)
    return { ...wake, key: consumerKeys(stream, wake.group).wake }
  })
}

function resolveTrim(action: string, { maxLength, retentionMs }: PublisherOptions, exact: boolean): Trim {
  if (retentionMs === undefined) {
    const length = maxLength === undefined ? DEFAULTS.maxLength : maxLength
    if (length === Infinity) return { kind: 'none' }
    integerFrom(action, 'maxLength', length, 1)
    return { kind: 'length', maxLength: length, exact }
  }
  if (maxLength !== undefined) {
    throw cannot(action, `maxLength and retentionMs must not both be given, got ${maxLength} and ${retentionMs}`)
  }
  numberFrom(action, 'retentionMs', retentionMs, 1, Number.MAX_SAFE_INTEGER)
  return { kind: 'age', retentionMs, exact }
}

import { VersionConflictError } from '../core/aggregate-errors.ts'
import { entryBytes } from '../core/entry.ts'
import { consumerKeys } from '../core/keys.ts'
import { assertText, wrongUseError } from '../core/options.ts'
import type { EventDefinition, PayloadOf } from '../define/event.ts'
import type { PublishCall } from '../define/observe.ts'
import { PublishFailedError, quotedValue } from '../errors.ts'
import type { Aggregates, AppendResult, Connection, OnceWithin, WakeFlag } from '../group/connection.ts'
import type { CancelAnswer, DelayedEntries } from '../group/delays.ts'
import { createAppender } from '../group/redis/append.ts'
import { createExpectingAppender } from '../group/redis/append-expecting.ts'
import { createCanceller } from '../group/redis/cancelling.ts'
import { createUndoneMeasure } from '../group/redis/undone.ts'
import { BacklogLimit } from './backlog-limit.ts'
import type { Encoded } from './encode-events.ts'
import { encodeEvents } from './encode-events.ts'
import { areExpecting, expectingEntries } from './expecting.ts'
import type { DelayOptions, EventDraft, MaybeDelayOptions, Publication, PublishOptions } from './publication.ts'
import { checkPublication } from './publication.ts'
import type { PublisherOptions, Wake } from './publisher-options.ts'
import { resolvePublisherOptions } from './publisher-options.ts'
import { withSettings } from './publishing.ts'
import { wakeIfRaised } from './wake-if-raised.ts'

/** Where an event went. */
export interface Published {
  readonly entryId: string
  readonly eventId: string
  /** Nothing was added, since its id was published within `deduplicateMs` before: the entry is the first one's. Where that is delayed, there is its `deliverAt` instead. */
  readonly duplicate?: true
}

/** Until when an event is delayed. */
export interface Delayed {
  readonly eventId: string
  /** By the server's clock: no run promotes it before. */
  readonly deliverAt: Date
  /** Nothing was added, since its id was published within `deduplicateMs` before: the time is the first one's. Where that is in the stream, there is its `entryId` instead. */
  readonly duplicate?: true
}

/** What a publication comes to, by its options. */
type ResultOf<Given> = Given extends readonly [unknown, unknown, (infer Options)?] ? ResultOfOptions<Options> : never
type ResultOfOptions<Options> = unknown extends Options
  ? Published
  : [Options] extends [{ readonly delayMs: number } | { readonly deliverAt: Date }]
    ? Delayed
    : [Options] extends [PublishOptions | undefined]
      ? Published
      : Published | Delayed

/** Appends events to one stream. */
export interface Publisher {
  /**
   * Delays an event: a run of a consumer with `delays: promoteDelays()` brings it into the stream when it is due, once. One event of an `eventId` waits at a
   * time; publishing it again answers until when the first one does, or did, and changes nothing.
   *
   * @throws As below; `PublishFailedError` also where memory is full, and where `deliverAt` is beyond 366 days by the server's clock. Then nothing is written.
   * @throws {TypeError | RangeError} No time, a negative one, a `delayMs` beyond 366 days, or both options.
   */
  publish<Definition extends EventDefinition>(
    event: Definition,
    payload: PayloadOf<Definition>,
    options: DelayOptions,
  ): Promise<Delayed>
  /**
   * Checks a payload, as the JSON that consumers will read, and appends it to the stream as it was given.
   *
   * When a reply is lost the command is sent again, so an event may stand in the stream twice, with the same `eventId`. With `deduplicateMs` it does not: within that
   * time an `eventId` is added once, and publishing it again answers where the first one went, with `duplicate: true`.
   *
   * With `expectedVersion` it is added only if its aggregate has so many events; sent again, or published again with its `eventId` at the same version, it is the same one.
   *
   * @throws {InvalidPayloadError} The schema refuses it.
   * @throws {OversizeEntryError} It is larger than `maxEntryBytes`.
   * @throws {VersionConflictError} Its aggregate has more events than `expectedVersion`, or fewer. Nothing is added.
   * @throws {BacklogFullError} With `maxBacklog`: there is no room. Nothing is written.
   * @throws {PublishFailedError} The server refused it; with `deduplicateMs` also where its marker cannot be written: nothing is added then.
   * @throws {RedisConnectionError} No reply came: the event may or may not have been written.
   */
  publish<Definition extends EventDefinition>(
    event: Definition,
    payload: PayloadOf<Definition>,
    options?: PublishOptions,
  ): Promise<Published>
  publish<Definition extends EventDefinition>(
    event: Definition,
    payload: PayloadOf<Definition>,
    options: MaybeDelayOptions,
  ): Promise<Published | Delayed>
  /**
   * Publishes many, in order: a thousand or a megabyte in one round trip, more in as many as that takes. All are checked before the first is
   * sent. Where one is refused, or a reply does not come, what was not sent yet is not sent.
   *
   * With `expectedVersion`, which all of them have or none, they are published in one step, all or none: at most 100 events and a megabyte, of one aggregate or of
   * several. Versions of one aggregate go up by one.
   *
   * @throws As `publish`; `PublishFailedError` names those that are known to be written, whatever stopped it.
   */
  publishMany<const Definitions extends readonly EventDefinition[], Given extends readonly Publication[]>(
    publications: Given & readonly [...{ readonly [N in keyof Definitions]: Publication<Definitions[N]> }],
  ): Promise<{ -readonly [N in keyof Given]: ResultOf<Given[N]> }>
  /**
   * Cancels a delayed event: `too-late` if it was promoted, `already-cancelled` by another call, `unknown` if there is none, or it ended more than an hour or two
   * ago. Asked again after a lost answer it answers the same.
   *
   * @throws {TypeError} No event id.
   * @throws {RedisReplyError | RedisConnectionError} The server refused, or no reply came: ask again.
   */
  cancel(eventId: string): Promise<CancelAnswer>
}

/**
 * Makes a publisher: the only way into a stream.
 *
 * @throws {TypeError | RangeError} A bad option; the message names the rule and the value.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  const { redis, ...settings } = resolvePublisherOptions(options)
  const stream = quotedValue(settings.stream)
  const action = `publish to stream ${stream}`
  let expecting: Aggregates['append'] | undefined
  const appendExpecting: Aggregates['append'] = (...call) => {
    expecting ??= createExpectingAppender(action, redis)
    return expecting(...call)
  }
  const flags = flagsByStream(settings)
  const limits = limitsByStream(action, settings, redis)
  const publishing = { ...settings, flags, limits, action, appendTo: createAppender(action, redis), appendExpecting }
  const publishOne = async (...publication: Publication) => (await publishAll(publishing, [publication]))[0]
  const publisher: Publisher = {
    publish: publishOne as Publisher['publish'],
    publishMany: ((publications) => publishAll(publishing, publications)) as Publisher['publishMany'],
    cancel: cancelOnce(`cancel an event of stream ${stream}`, settings, redis),
  }
  return withSettings(publisher, publishing)
}

/** Events, and cancel calls of each that were not answered, whose nonces are kept. */
const MAX_UNANSWERED = { events: 1_000, calls: 100 }

/** A call that was not answered may have been carried out: the next one for its event says which there were, and so gets the same answer. */
function cancelOnce(
  action: string,
  { stream, set }: Pick<Publishing, 'stream' | 'set'>,
  redis: Connection,
): Publisher['cancel'] {
  const unanswered = new Map<string, readonly string[]>()
  return async (eventId) => {
    assertText(action, 'eventId', eventId)
    const nonce = crypto.randomUUID()
    try {
      const cancel = createCanceller(action, redis)
      const before = unanswered.get(eventId)
      let answer: CancelAnswer = 'unknown'
      // of a set, whichever stream it is in
      for (const one of set?.streams ?? [stream]) {
        const its = await cancel(one, eventId, nonce, before, set?.markersOf)
        if (its === 'unknown') continue
        answer = its
        if (its === 'cancelled') break
      }
      unanswered.delete(eventId)
      return answer
    } catch (error) {
      // of several, any may be the one that found it
      const nonces = [...(unanswered.get(eventId) ?? []), nonce].slice(-MAX_UNANSWERED.calls)
      const [oldest = eventId] = unanswered.keys()
      if (unanswered.size >= MAX_UNANSWERED.events) unanswered.delete(oldest)
      unanswered.set(eventId, nonces)
      throw error
    }
  }
}

/** What one publisher publishes by. */
interface Publishing extends Omit<ReturnType<typeof resolvePublisherOptions>, 'redis'> {
  /** As messages say it. */
  readonly action: string
  readonly flags: ReadonlyMap<string, readonly WakeFlag[]>
  readonly appendTo: ReturnType<typeof createAppender>
  readonly appendExpecting: Aggregates['append']
  /** Of each stream; left out: a backlog may be as long as it likes. */
  readonly limits: ReadonlyMap<string, BacklogLimit> | undefined
}

type Result = Published | Delayed

async function publishAll(publishing: Publishing, publications: readonly Publication[]): Promise<Result[]> {
  const { action, stream, observers } = publishing
  if (!Array.isArray(publications))
    throw wrongUseError(action, `publications must be an array, got ${typeof publications}`)
  const drafts = publications.map((publication) => checkPublication(action, publication, publishing))
  if (drafts.length === 0) return []
  const isExpecting = areExpecting(action, drafts)
  if (!observers) return append(publishing, drafts, isExpecting)
  const events = drafts.map(({ event, eventId }) => ({ type: event.type, eventId }))
  const call: PublishCall = { stream, events }
  return observers.within('publish', call, () => append(publishing, drafts, isExpecting, call))
}

async function append(
  publishing: Publishing,
  drafts: readonly EventDraft[],
  isExpecting: boolean,
  call?: PublishCall,
): Promise<Result[]> {
  const { action, stream, wakes, observers, clock } = publishing
  const startedAt = clock.monotonic()
  let entries: readonly Encoded[] = []
  let answers: readonly (string | number | Error)[] = []
  let duplicates: ReadonlySet<number> | undefined
  let error: Error | undefined
  try {
    entries = await encodeEvents(action, publishing, drafts, tracedBy(call))
    if (publishing.limits) await admitAll(publishing.limits, drafts)
    const appended = await (isExpecting ? sendExpecting : send)(publishing, drafts, entries)
    answers = appended.answers
    duplicates = appended.duplicates
    await Promise.all(wakes.map((wake, n) => wakeIfRaised(wake, appended.raised[n])))
    const refusal = answers.find((answer) => answer instanceof Error)
    if (refusal instanceof VersionConflictError) throw refusal
    if (refusal) throw new PublishFailedError(stream, answers.map(idOnly), refusal, answers.map(timeOnly))
    return drafts.map(({ eventId }, n) => resultOf(eventId, answers[n], duplicates?.has(n)))
  } catch (thrown) {
    error = thrown as Error
    throw thrown
  } finally {
    if (call) {
      const durationMs = clock.monotonic() - startedAt
      const entryIds = drafts.map((_draft, n) => idOnly(answers[n]))
      const delayedUntil = drafts.map((_draft, n) => timeOnly(answers[n]))
      const bytes = entries.map(entryBytes)
      observers?.tell('published', { call, durationMs, bytes, entryIds, delayedUntil, duplicates, error })
    }
  }
}

function send(
  publishing: Publishing,
  drafts: readonly EventDraft[],
  entries: readonly Encoded[],
): Promise<AppendResult> {
  const { set, stream } = publishing
  if (!set) return sendTo(stream, publishing, drafts, entries)
  const streams = drafts.map((draft) => draft.stream)
  return set.appendEach(streams, (stream, places) => {
    const [own, ownEntries] = [drafts, entries].map((all) => places.map((place) => all[place]))
    return sendTo(stream, publishing, own as EventDraft[], ownEntries as Encoded[])
  })
}

function sendTo(
  stream: string,
  { trim, wakes, flags: byStream, appendTo }: Publishing,
  drafts: readonly EventDraft[],
  entries: readonly Encoded[],
): Promise<AppendResult> {
  const delayed = delayedOf(drafts, wakes)
  // what is delayed wakes nobody yet
  const flags = delayed?.delays.every(Boolean) ? [] : byStream.get(stream)
  return appendTo(stream, entries, trim, flags, delayed, onceOf(drafts))
}

async function sendExpecting(
  { action, stream, trim, flags, codec, appendExpecting }: Publishing,
  drafts: readonly EventDraft[],
  entries: readonly Encoded[],
): Promise<AppendResult> {
  return appendExpecting(stream, expectingEntries(action, codec, drafts, entries), trim, flags.get(stream))
}

function limitsByStream(
  action: string,
  { stream, set, backlog }: Pick<Publishing, 'stream' | 'set' | 'backlog'>,
  redis: Connection,
): Publishing['limits'] {
  if (!backlog) return undefined
  const measure = createUndoneMeasure(action, redis)
  const limitOf = (one: string) => new BacklogLimit({ ...backlog, stream: one }, measure)
  return new Map((set?.streams ?? [stream]).map((one) => [one, limitOf(one)]))
}

/** Resolves once there is room in each stream that they go into: of a set, none is written before. */
async function admitAll(limits: ReadonlyMap<string, BacklogLimit>, drafts: readonly EventDraft[]): Promise<void> {
  const streams = Map.groupBy(drafts, ({ stream }) => stream)
  await Promise.all([...streams].map(async ([stream, own]) => limits.get(stream)?.admit(own.length)))
}

/** The flags of each stream. @throws {TypeError} No hash tag gives the slot of its name. */
function flagsByStream({ stream, set, wakes }: Pick<Publishing, 'stream' | 'set' | 'wakes'>): Publishing['flags'] {
  const flagsOf = (one: string) =>
    wakes.map(({ group, windowMs }) => ({ key: consumerKeys(one, group).wake, windowMs }))
  return new Map((set?.streams ?? [stream]).map((one) => [one, flagsOf(one)]))
}

/** Characters of a traceparent: a later version of it may be longer than today's 55. */
const MAX_TRACEPARENT = 512

/** The trace context that an observer set, which may have set anything. */
function tracedBy(call: PublishCall | undefined): string | undefined {
  try {
    const traced: unknown = call?.traceparent
    if (typeof traced !== 'string' || traced === '' || traced.length > MAX_TRACEPARENT) return undefined
    return traced.isWellFormed() ? traced : undefined
  } catch {
    return undefined
  }
}

type Answer = string | number | Error | undefined

const idOnly = (answer: Answer) => (typeof answer === 'string' ? answer : undefined)
const timeOnly = (answer: Answer) => (typeof answer === 'number' ? new Date(answer) : undefined)

function resultOf(eventId: string, answer: Answer, isDuplicate = false): Result {
  const repeat = isDuplicate ? ({ duplicate: true } as const) : {}
  if (typeof answer === 'number') return { eventId, deliverAt: new Date(answer), ...repeat }
  return { entryId: answer as string, eventId, ...repeat }
}

/** `undefined` where nothing is delayed. */
function delayedOf(drafts: readonly EventDraft[], wakes: readonly Wake[]): DelayedEntries | undefined {
  const delays = drafts.map(({ delay }) => delay)
  return delays.some(Boolean) ? { delays, groups: wakes.map(({ group }) => group) } : undefined
}

/** `undefined` where everything is added however often it is published. */
function onceOf(drafts: readonly EventDraft[]): readonly (OnceWithin | undefined)[] | undefined {
  const once = drafts.map((draft) => draft.once)
  return once.some(Boolean) ? once : undefined
}

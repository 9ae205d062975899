import type { Field } from '../core/entry.ts'
import { entryBytes } from '../core/entry.ts'
import { wrongUseError } from '../core/options.ts'
import type { EventDefinition, PayloadOf } from '../define/event.ts'
import type { PublishCall } from '../define/observe.ts'
import { PublishFailedError, quotedValue } from '../errors.ts'
import { createAppender } from '../group/redis/append.ts'
import { encodeEvents } from './encode-events.ts'
import type { EventDraft, Publication, PublishOptions } from './publication.ts'
import { checkPublication } from './publication.ts'
import type { PublisherOptions, Wake } from './publisher-options.ts'
import { resolvePublisherOptions } from './publisher-options.ts'

/** Where an event went. */
export interface Published {
  readonly entryId: string
  readonly eventId: string
}

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

/**
 * Makes a publisher: the only way into a stream.
 *
 * @throws {TypeError | RangeError} A bad option; the message names the rule and the value.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  const { redis, ...settings } = resolvePublisherOptions(options)
  const action = `publish to stream ${quotedValue(settings.stream)}`
  const publishing = { ...settings, action, appendTo: createAppender(action, redis) }
  return {
    async publish(event, payload, publishOptions) {
      const [published] = await publishAll(publishing, [[event, payload, publishOptions]])
      return published as Published
    },
    publishMany: (publications) => publishAll(publishing, publications as readonly Publication[]),
  }
}

/** What one publisher publishes by. */
interface Publishing extends Omit<ReturnType<typeof resolvePublisherOptions>, 'redis'> {
  /** As messages say it. */
  readonly action: string
  readonly appendTo: ReturnType<typeof createAppender>
}

async function publishAll(publishing: Publishing, publications: readonly Publication[]): Promise<Published[]> {
  const { action, stream, observers } = publishing
  if (!Array.isArray(publications))
    throw wrongUseError(action, `publications must be an array, got ${typeof publications}`)
  const drafts = publications.map((publication) => checkPublication(action, publication))
  if (drafts.length === 0) return []
  if (!observers) return append(publishing, drafts)
  const events = drafts.map(({ event, eventId }) => ({ type: event.type, eventId }))
  const call: PublishCall = { stream, events }
  return observers.within('publish', call, () => append(publishing, drafts, call))
}

async function append(publishing: Publishing, drafts: readonly EventDraft[], call?: PublishCall): Promise<Published[]> {
  const { action, stream, trim, wakes, observers, clock } = publishing
  const startedAt = clock.monotonic()
  let entries: readonly (readonly Field[])[] = []
  let answers: readonly (string | Error)[] = []
  let error: Error | undefined
  try {
    entries = await encodeEvents(action, publishing, drafts, tracedBy(call))
    const appended = await publishing.appendTo(stream, entries, trim, wakes)
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
      const durationMs = clock.monotonic() - startedAt
      const entryIds = drafts.map((_draft, n) => idOnly(answers[n]))
      observers?.tell('published', { call, durationMs, bytes: entries.map(entryBytes), entryIds, error })
    }
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

import { backoffDelayMs } from '../core/backoff.ts'
import { splitIntoChunks } from '../core/chunks.ts'
import { isSynchronousFunction } from '../core/handler-function.ts'
import { LONGEST_WINDOW_MS } from '../core/longest-window.ts'
import { HOLD_ANSWERS, HOLD_MS, HOLD_WAIT_MS } from '../core/markers.ts'
import { assertInteger, assertKnownOptions, assertOneOf, wrongUseError } from '../core/options.ts'
import { ignoreRejection } from '../core/thenable.ts'
import type { ConsumerSettings } from '../define/consumer-settings.ts'
import type { Event } from '../define/event.ts'
import type {
  Decision,
  Policy,
  PolicyJob,
  PolicyMarker,
  PolicyQuestion,
  PolicyReply,
  PolicyRun,
  RunPolicy,
} from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import { holdMarkersScript } from '../group/redis/scripts/hold-markers.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from '../group/redis/scripts/script.ts'
import { definePolicy } from './define-policy.ts'
import { spelled } from './spelled.ts'

/** How long duplicates are known, and by what. */
export interface IdempotentOptions {
  /** Milliseconds for which a handled event is remembered, up to 366 days; no shorter than the consumer's retries of one entry may take. */
  readonly ttlMs: number
  /** What names an event: text of 1 to 1,024 bytes, or `undefined` if nothing does. What else it answers or throws makes the entry a dead letter, `malformed`. Default: `eventId`. */
  readonly by?: (event: Event) => string | undefined
  /** What becomes of an event that nothing names: a dead letter, or a call that nothing guards, which the report counts as `unguarded`. Default `'deadLetter'`. */
  readonly withoutKey?: 'deadLetter' | 'call'
}

/** Bytes of a name. */
const MAX_NAME_BYTES = 1_024

/** The longest that one of many waits for another look, in waits of one. */
const MOST_WAITS = 30

/** Events handled by this run whose acknowledgement may be under way. */
const MAX_HANDLED = 10_000

/**
 * Acknowledges an event without a call that its group has handled already: published twice, redriven, replayed, read again after the group was lost, or claimed
 * from a process that had finished. The marker that says so is written in one step with the acknowledgement. Of two entries of one event one is handled at a time;
 * the other waits, at no delivery.
 *
 * Not covered: an effect that took place before its process died, ahead of the acknowledgement. `effects(context)` and a key at the provider do.
 *
 * @throws {TypeError | RangeError} A bad option; where the consumer is defined, a `ttlMs` shorter than its retries of one entry.
 */
export function idempotent(options: IdempotentOptions): Policy {
  const resolved = resolveOptions(options)
  return definePolicy({
    name: 'idempotent',
    kind: 'idempotent',
    assertFits: (_settings, { all }) => assertOutlastsRetries(resolved.ttlMs, all),
    needs: (keys) => ({
      keys: [
        { key: `${keys.marker('')}*`, commands: ['get', 'set'], perEventMs: resolved.ttlMs },
        { key: keys.due, commands: ['zscore'] },
      ],
    }),
    begin: (run) => new DuplicateGuard(run, resolved),
  })
}

type ResolvedOptions = Required<Omit<IdempotentOptions, 'by'>> & { readonly by: IdempotentOptions['by'] | undefined }

function resolveOptions(options: IdempotentOptions): ResolvedOptions {
  const action = 'make idempotent'
  assertKnownOptions(action, options, ['ttlMs', 'by', 'withoutKey'])
  const { ttlMs, by, withoutKey = 'deadLetter' } = options
  assertInteger(action, 'ttlMs', ttlMs, 1, LONGEST_WINDOW_MS)
  if (by !== undefined && !isSynchronousFunction(by))
    throw wrongUseError(action, 'by must be a function of the event that answers at once')
  assertOneOf(action, 'withoutKey', withoutKey, ['deadLetter', 'call'])
  return { ttlMs, by, withoutKey }
}

/** @throws {RangeError} An entry may be retried for longer than it would be known. @param all Of every route: the number that is named passes. */
function assertOutlastsRetries(ttlMs: number, all: readonly RetrySettings[]): void {
  const spanMs = Math.ceil(Math.max(...all.map(retrySpanMs)))
  if (ttlMs >= spanMs) return
  const advice =
    spanMs > LONGEST_WINDOW_MS ? `; it must be <= ${LONGEST_WINDOW_MS} as well: lower maxDeliveries or backoff` : ''
  throw new RangeError(
    `ttlMs must be >= the time that retries of one entry may take (back-off and handlerTimeoutMs), here ${spanMs} or more, got ${ttlMs}${advice}`,
  )
}

/** The longest that deliveries of one entry may take, with the waits between them. */
function retrySpanMs({ backoff, maxDeliveries, handlerTimeoutMs }: RetrySettings): number {
  let spanMs = maxDeliveries * handlerTimeoutMs
  for (let count = 1; count < maxDeliveries && spanMs <= LONGEST_WINDOW_MS; count++) {
    const waitMs = backoffDelayMs(backoff, count, 1)
    // there is no longer one: all that follow are as long
    if (waitMs === backoffDelayMs(backoff, maxDeliveries, 1)) return spanMs + (maxDeliveries - count) * waitMs
    spanMs += waitMs
  }
  return spanMs
}

type RetrySettings = Pick<ConsumerSettings, 'backoff' | 'maxDeliveries' | 'handlerTimeoutMs'>

/** What names an event, or why nothing does. */
type EventName = { readonly name: string } | { readonly problem: unknown } | undefined

/** A job whose event has a name. */
interface NamedJob {
  readonly job: PolicyJob
  readonly marker: string
}

interface AnsweredJob extends NamedJob {
  readonly answer: HoldAnswer
}

/** Of one read: entries that hold their events, and how many were parked by marker. */
interface Read {
  readonly holders: ReadonlySet<string>
  readonly parked: Map<string, number>
}

/** A number of HOLD_ANSWERS or milliseconds, and the entry that holds or was handled. */
type HoldAnswer = readonly [answer: number, entryId: string]

/** The policy in one run. */
class DuplicateGuard implements RunPolicy {
  readonly #run: PolicyRun
  readonly #options: ResolvedOptions
  readonly #names = new WeakMap<PolicyJob, EventName>()
  /** Jobs that run, or are about to, and hold their event: by marker. */
  readonly #holders = new Map<string, PolicyJob>()
  /** Entries that wait for one of these, of the same read: by marker. */
  readonly #waiting = new Map<string, string[]>()
  /** Entries that handled their events, whose acknowledgement may be under way: by marker. */
  readonly #handled = new Map<string, string>()

  constructor(run: PolicyRun, options: ResolvedOptions) {
    this.#run = run
    this.#options = options
  }

  questions(jobs: readonly PolicyJob[]): readonly PolicyQuestion[] {
    const { keys, group, settings } = this.#run
    return splitIntoChunks(this.#named(jobs), MAX_ENTRIES_PER_SCRIPT_CALL).map((chunk) => ({
      script: holdMarkersScript,
      keys: [keys.stream, keys.due, ...chunk.map(({ marker }) => marker)],
      args: [group, Math.max(this.#options.ttlMs, HOLD_MS), settings.minIdleMs, ...chunk.map(({ job }) => job.entryId)],
    }))
  }

  admit(jobs: readonly PolicyJob[], replies: readonly PolicyReply[]): readonly (Decision | undefined)[] {
    const answers = replies.flatMap(readAnswers)
    const named = this.#named(jobs).map((one, n) => ({ ...one, answer: answers[n] as HoldAnswer }))
    const held = named.filter(({ answer: [answer] }) => answer === HOLD_ANSWERS.held)
    for (const { job, marker } of held) this.#holders.set(marker, job)
    const read = { holders: new Set(held.map(({ job }) => job.entryId)), parked: new Map<string, number>() }
    const decided = new Map(named.map((one) => [one.job, this.#decide(one, read)]))
    return jobs.map((job) => (decided.has(job) ? decided.get(job) : this.#withoutName(job)))
  }

  holds(job: PolicyJob): boolean {
    const holder = this.#holders.get(this.#markerOf(job) ?? '')
    return holder !== undefined && holder !== job
  }

  ended(job: PolicyJob, isDone: boolean): ReadonlyMap<string, Decision> | undefined {
    const marker = this.#markerOf(job)
    if (marker === undefined || this.#holders.get(marker) !== job) return undefined
    const waiting = this.#waiting.get(marker) ?? []
    this.#holders.delete(marker)
    this.#waiting.delete(marker)
    if (isDone) this.#noteHandled(marker, job)
    const decision: Decision = isDone ? this.#duplicate(marker) : { action: 'park', delayMs: HOLD_WAIT_MS.running }
    return new Map(waiting.map((id) => [id, decision]))
  }

  marks(job: PolicyJob): PolicyMarker | undefined {
    const key = this.#markerOf(job)
    return key === undefined ? undefined : { key, ttlMs: this.#options.ttlMs }
  }

  #decide({ job, marker, answer: [answer, by] }: AnsweredJob, { holders, parked }: Read): Decision | undefined {
    if (answer === HOLD_ANSWERS.held) return undefined
    if (answer === HOLD_ANSWERS.handled) return this.#duplicate(marker)
    if (answer !== HOLD_ANSWERS.running) return { action: 'park', delayMs: answer }
    if (this.#handled.get(marker) === by) return this.#duplicate(marker)
    if (holders.has(by)) return this.#wait(marker, job)
    // of many that wait few ask soon
    const before = parked.get(marker) ?? 0
    parked.set(marker, before + 1)
    return { action: 'park', delayMs: HOLD_WAIT_MS.running * Math.min(before + 1, MOST_WAITS) }
  }

  #wait(marker: string, { entryId }: PolicyJob): undefined {
    const waiting = this.#waiting.get(marker)
    if (waiting) waiting.push(entryId)
    else this.#waiting.set(marker, [entryId])
  }

  #withoutName(job: PolicyJob): Decision | undefined {
    const name = this.#nameOf(job)
    if (name && 'problem' in name) return { action: 'deadLetter', reason: 'malformed', error: name.problem as Error }
    if (this.#options.withoutKey === 'deadLetter')
      return { action: 'deadLetter', reason: 'malformed', error: new TypeError(`Cannot find duplicates: ${NAMELESS}`) }
    this.#run.countUnguarded()
    return undefined
  }

  #duplicate(key: string): Decision {
    return { action: 'duplicate', marker: { key, ttlMs: this.#options.ttlMs } }
  }

  #noteHandled(marker: string, { entryId }: PolicyJob): void {
    const [oldest = ''] = this.#handled.keys()
    if (this.#handled.size >= MAX_HANDLED) this.#handled.delete(oldest)
    this.#handled.set(marker, entryId)
  }

  #named(jobs: readonly PolicyJob[]): readonly NamedJob[] {
    return jobs.flatMap((job) => {
      const marker = this.#markerOf(job)
      return marker === undefined ? [] : [{ job, marker }]
    })
  }

  #markerOf(job: PolicyJob): string | undefined {
    const name = this.#nameOf(job)
    return name && 'name' in name ? this.#run.keys.marker(name.name) : undefined
  }

  #nameOf(job: PolicyJob): EventName {
    if (!this.#names.has(job)) this.#names.set(job, this.#findName(job))
    return this.#names.get(job)
  }

  #findName({ event, entryId }: PolicyJob): EventName {
    if (!event) return undefined
    const { by } = this.#options
    // what has none in its entry is named by it
    if (!by)
      return event.eventId === `${this.#run.stream}:${entryId}` ? undefined : { name: spelled(`id:${event.eventId}`) }
    try {
      const name: unknown = by(event)
      if (name === undefined) return undefined
      ignoreRejection(name)
      if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES)
        throw new TypeError(
          `Cannot find duplicates of ${quotedValue(event.type)}: by must answer text of 1 to ${MAX_NAME_BYTES} bytes, or undefined`,
        )
      return { name: spelled(`by:${encodeURIComponent(event.type.toWellFormed())}:${name}`) }
    } catch (problem) {
      return { problem }
    }
  }
}

const NAMELESS = 'the event has no eventId, or by answered undefined'

/** @throws {Error} The server refused. */
function readAnswers(reply: PolicyReply): readonly HoldAnswer[] {
  if (reply instanceof Error) throw reply
  const flat = reply as readonly (number | string)[]
  return Array.from({ length: flat.length / 2 }, (_, n) => [Number(flat[2 * n]), String(flat[2 * n + 1])])
}

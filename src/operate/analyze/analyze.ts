import { assertText } from '../../core/options.ts'
import { MillraceError, quotedValue, RedisReplyError } from '../../errors.ts'
import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import { createOperatorSender } from '../../group/redis/redis-connection.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { untilAborted } from '../until-aborted.ts'
import type { Analysis } from './analysis.ts'
import { type AnalyzedRange, rangeToAnalyze } from './analyzed-range.ts'
import { createEntryReader, type EntryReader } from './entry-reader.ts'
import { EntryTally } from './entry-tally.ts'
import type { ResultScale } from './frequency-table.ts'
import { type AnalyzeOptions, type ResolvedAnalyzeOptions, resolveAnalyzeOptions } from './options.ts'
import { PageReader } from './page-reader.ts'
import { isGroupGone, PendingAges } from './pending-ages.ts'
import { readRange, type WeightedEntries } from './read-range.ts'
import { SampledSpans, sampleRange } from './sample-range.ts'
import { askStreamFacts, noStreamFacts, type StreamFacts } from './stream-facts.ts'

const ACTION = 'analyze a stream'
/** Groups whose pending entries are examined. */
const MOST_GROUPS = 100
const INTERRUPTED = 'interrupted'

/**
 * Says what is in a stream: event types, producers and the values of a field with their shares, when entries were written, how large they are, how long
 * after their events, and how old pending entries are by type. Only reads, page by page: 100 entries or 4 MB at once, in memory that grows neither with the
 * stream nor with the number of types and values. It touches no group. What is added after it began is left out.
 *
 * An entry is an event if it has one field `eventType`, or `event_type`, that is UTF-8 and not empty; payloads are not parsed, unless `by` or a `codec` needs it.
 * Values that are longer than 128 bytes are counted by their digest.
 *
 * Counts are exact up to 1,000 distinct values; of more, each count says by how much it may be too high, at most a thousandth of all. With `sample` they are
 * estimates: equal spans of time are read at their beginnings, and what was read stands for the span.
 *
 * It needs `xrange`, and for all of it `xinfo|stream`, `xinfo|groups`, `xpending` and `time`; what else is refused stands in `unknown`.
 *
 * @returns What was found. Where the signal, or an error after the first page, ended it early, what was found until then: `isComplete` is false.
 * @throws {TypeError | RangeError} A bad option.
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The key holds no stream, or the server refuses to read it.
 */
export async function analyze(stream: string, options: AnalyzeOptions): Promise<Analysis> {
  assertText(ACTION, 'stream', stream)
  const resolved = resolveAnalyzeOptions(ACTION, options)
  const sender = createOperatorSender(ACTION, resolved.redis)
  const { signal = new AbortController().signal, rate } = resolved
  const asking = askStreamFacts(sender, stream, { isInfoNeeded: resolved.sample !== undefined })
  const facts = (await untilAborted(asking, signal)) ?? noStreamFacts()
  const reader = new PageReader({ sender, stream, rate, signal })
  return new Analyzer(stream, resolved, { facts, sender, reader }).run(signal)
}

interface AnalyzerParts {
  readonly facts: StreamFacts
  readonly sender: CallSender
  readonly reader: PageReader
}

/** One analysis. */
class Analyzer {
  readonly #stream: string
  readonly #options: ResolvedAnalyzeOptions
  readonly #parts: AnalyzerParts
  readonly #range: AnalyzedRange
  readonly #spans: SampledSpans | undefined
  readonly #read: EntryReader
  readonly #tally: EntryTally
  readonly #pending: PendingAges
  #stopped: string | undefined

  constructor(stream: string, options: ResolvedAnalyzeOptions, parts: AnalyzerParts) {
    this.#stream = stream
    this.#options = options
    this.#parts = parts
    this.#range = rangeToAnalyze(options, parts.facts)
    const { lastMs } = this.#range
    this.#spans = spansOf(this.#range, options.sample)
    const read = createEntryReader(options.fields, options.codec)
    this.#read = read
    const { by, timeZone } = options
    this.#tally = new EntryTally({ read, by, timeZone, lastMs, hasRates: this.#spans === undefined })
    this.#pending = this.#pendingAges()
  }

  async run(signal: AbortSignal): Promise<Analysis> {
    if (this.#parts.facts.state === 'stream') {
      await this.#readEntries()
      if (this.#stopped === undefined && !signal.aborted) await this.#readPending()
    }
    if (signal.aborted) this.#stopped ??= INTERRUPTED
    return this.#result()
  }

  async #readEntries(): Promise<void> {
    const { reader } = this.#parts
    const { from, to } = this.#range
    const pages = this.#spans ? sampleRange(reader, this.#spans) : readRange(reader, from, to)
    try {
      for await (const page of pages) this.#take(page)
    } catch (error) {
      if (this.#tally.read === 0 || !(error instanceof MillraceError)) throw error
      this.#stopped = error.message
    }
  }

  #take(page: WeightedEntries): void {
    this.#tally.add(page)
    const { read } = this.#tally
    const expected = this.#spans?.expected ?? this.#range.length ?? this.#expectedByTime(page)
    this.#options.onProgress({ doing: 'entries', read, expected: Math.max(read, expected) })
  }

  /** As many in the time that is left as in the time that was read. */
  #expectedByTime({ entries }: WeightedEntries): number {
    const { firstMs, lastMs } = this.#range
    const doneMs = Number.parseInt(entries.at(-1)?.id ?? '', 10) - firstMs
    return doneMs > 0 ? Math.round((this.#tally.read * (lastMs - firstMs)) / doneMs) : this.#tally.read
  }

  async #readPending(): Promise<void> {
    try {
      for (const group of this.#chosenGroups()) await this.#examine(group)
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
      if (error instanceof RedisReplyError) this.#parts.facts.unknowns.keep('pending', error)
      else this.#stopped = error.message
    }
  }

  async #examine(group: GroupInfo): Promise<void> {
    await this.#pending.examine(group).catch((error: unknown) => {
      if (!isGroupGone(error)) throw error
    })
  }

  #chosenGroups(): GroupInfo[] {
    const { groups, unknowns } = this.#parts.facts
    const { group } = this.#options
    const chosen = groups.filter(({ name }) => group === undefined || name === group)
    if (group !== undefined && chosen.length === 0)
      unknowns.reasons.groups ??= `there is no group ${quotedValue(group)}`
    if (chosen.length > MOST_GROUPS) unknowns.reasons.groups = `only ${MOST_GROUPS} of ${chosen.length} are examined`
    return chosen.slice(0, MOST_GROUPS)
  }

  #pendingAges(): PendingAges {
    const { facts, sender, reader } = this.#parts
    const { maxPending, onProgress } = this.#options
    const expected = facts.groups.reduce((sum, { pending }) => sum + Math.min(pending, maxPending), 0)
    return new PendingAges({
      sender,
      stream: this.#stream,
      at: facts.at,
      reader,
      read: this.#read,
      maxPending,
      onProgress: (read) => onProgress({ doing: 'pending entries', read, expected: Math.max(read, expected) }),
    })
  }

  #result(): Analysis {
    const { at, clock, state, info, unknowns } = this.#parts.facts
    const { top } = this.#options
    const { read } = this.#tally
    const scale = this.#scale()
    const missed = this.#missed()
    return {
      stream: this.#stream,
      at,
      clock,
      state,
      ...(info && { length: info.length }),
      read,
      entries: scale.count(this.#tally.weight),
      ...(this.#spans && { sample: { probes: this.#spans.probes, margin: this.#spans.margin } }),
      isComplete: this.#stopped === undefined,
      ...(this.#stopped !== undefined && { stopped: this.#stopped }),
      ...(missed > 0 && { missed }),
      ...this.#tally.result(top, scale),
      pending: this.#pending.result(top),
      unknown: unknowns.reasons,
    }
  }

  /** What each weight stands for: with a sample of the whole stream, so that all of them together are as many as it has. */
  #scale(): ResultScale {
    const { weight } = this.#tally
    const { length } = this.#range
    const isWholeSample = this.#spans && this.#stopped === undefined && length !== undefined && weight > 0
    const factor = isWholeSample ? length / weight : 1
    return { total: weight, count: (part) => Math.round(part * factor) }
  }

  /** What was in the stream when it began, and gone when it would have been read. */
  #missed(): number {
    const isKnown = this.#spans === undefined && this.#stopped === undefined
    return isKnown ? Math.max(0, (this.#range.length ?? 0) - this.#tally.read) : 0
  }
}

/** How a range is sampled; `undefined` where all of it is read, since it has no more than that. */
function spansOf({ firstMs, lastMs, length }: AnalyzedRange, sample: number | undefined): SampledSpans | undefined {
  if (sample === undefined || (length !== undefined && length <= sample)) return undefined
  return new SampledSpans(firstMs, lastMs, sample)
}

import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { answerWithin } from '../clock.ts'
import type { Entry } from '../core/entry.ts'
import { compareEntryIds, entryIdAfter } from '../core/entry.ts'
import type { OpenJanitorReport } from '../core/janitor-report.ts'
import { quotedValue, RedisReplyError } from '../errors.ts'
import type { EntryRange, Keeping, KeepingRequest, KeepingStep } from '../group/keeping.ts'
import type { Archive } from './archive.ts'
import { archiveName } from './archive.ts'
import type { RangeLimits } from './janitor-options.ts'
import { assertEntryId } from './janitor-options.ts'
import type { RegistryTexts } from './registry.ts'

/** A stream that a run trims. */
export interface TrimTarget
  extends Pick<KeepingRequest, 'maxLength' | 'retentionMs' | 'beforeId' | 'needsGroups' | 'ignored'> {
  readonly stream: string
  readonly keepFrom: (() => string | undefined | Promise<string | undefined>) | undefined
  readonly archive: Archive | undefined
  readonly report: OpenJanitorReport
}

/** What a run has to do it with. */
export interface TrimSurroundings {
  readonly keeping: Keeping
  readonly limits: RangeLimits
  readonly clock: Clock
  readonly remainingMs: () => number
  readonly signal: AbortSignal | undefined
}

/** A range is begun only with so much time left, and its archive is given up when less than the margin is left. */
const RESERVE_MS = 5_000
const MARGIN_MS = 1_500
/** `keepFrom` has no more time than that. */
const KEEP_FROM_MS = 10_000
/** Nobody takes the lease before Lambda has ended the invocation. */
const LEASE_MARGIN_MS = 5_000
/** Groups may come while they are asked for; for ever they do not. */
const MAX_LOOKS = 10

/** Milliseconds in which a range may still be begun. */
export function timeLeftMs({ remainingMs }: TrimSurroundings): number {
  return remainingMs() - RESERVE_MS
}

/** A lease ends with the run that holds it, and a little later. */
function leaseMsOf(remainingMs: () => number): number {
  return Math.max(0, remainingMs()) + LEASE_MARGIN_MS
}

/**
 * Trims one stream, range by range, until nothing more may go, or the number of ranges is reached. Each turn is under a lease: two janitors do not meet.
 *
 * A range is noted before it is archived, archived whole, noted as archived, and trimmed up to its last id. Who dies in between leaves a note by which the next run takes up the same
 * range under the same name: no entry is left out, and none is archived in two ranges.
 */
export class Trimming {
  /** Nothing is left to do for it in this run. */
  isOver = false
  readonly report: OpenJanitorReport
  readonly #target: TrimTarget
  readonly #surroundings: TrimSurroundings
  #registered: readonly string[] = []
  #opened: KeepingRequest | undefined
  /** Groups that are not of the registry as it was read. */
  readonly #found: string[] = []

  constructor(target: TrimTarget, surroundings: TrimSurroundings) {
    this.#target = target
    this.#surroundings = surroundings
    this.report = target.report
  }

  /** The registry as it was read: fewer steps ask for groups. */
  know(registered: RegistryTexts): void {
    this.#registered = [...registered.keys()]
  }

  /**
   * A turn of one range at least, which begins no further one after `until`, by the monotonic clock.
   *
   * @throws {Error} What the archive or `keepFrom` threw, or the server's refusal. What was done is in the target's report.
   */
  async turn(until: number): Promise<void> {
    const { stream, report } = this.#target
    const { keeping, limits, clock, signal } = this.#surroundings
    report.reached = true
    this.#opened ??= await this.#open()
    try {
      do this.isOver = !(await this.#next()) || report.ranges >= limits.maxRanges
      while (!this.isOver && clock.monotonic() < until && timeLeftMs(this.#surroundings) > 0 && !signal?.aborted)
    } finally {
      await keeping.release(stream, this.#request.token).catch(() => {}) // the lease ends by itself
    }
  }

  get #request(): KeepingRequest {
    return this.#opened as KeepingRequest
  }

  async #open(): Promise<KeepingRequest> {
    const { stream, archive, keepFrom, maxLength, retentionMs, beforeId, needsGroups, ignored } = this.#target
    const { limits, remainingMs } = this.#surroundings
    return {
      token: randomUUID(),
      leaseMs: leaseMsOf(remainingMs),
      archives: archive !== undefined,
      maxLength,
      retentionMs,
      beforeId,
      keepFrom: await floorOf(stream, keepFrom, this.#surroundings),
      maxEntries: limits.rangeEntries,
      maxBytes: limits.rangeBytes,
      needsGroups,
      ignored,
      groups: this.#registered.filter((group) => !ignored.includes(group)),
      denied: [],
    }
  }

  /** @returns Whether there may be another one. */
  async #next(): Promise<boolean> {
    const { stream, archive, report } = this.#target
    const { keeping } = this.#surroundings
    const planned = await this.#step((request) => keeping.plan(stream, request))
    if (planned === undefined) return false
    const { range } = planned
    if (!range) {
      report.drained = true
      return false
    }
    if (archive) return this.#archive(archive, range, planned)
    count(report, range, planned.trimmed)
    return true
  }

  async #archive(archive: Archive, range: EntryRange, { isArchived, isRepeated }: KeepingStep): Promise<boolean> {
    const { stream, report } = this.#target
    if (!isArchived) await archiveRange(archive, range, isRepeated, this.#target, this.#surroundings)
    const settled = await this.#step((request) => this.#surroundings.keeping.settle(stream, request, range))
    if (settled === undefined) return false
    report[isArchived ? 'resumed' : 'archived'] += range.entries
    if (settled.is === 'held') {
      report.held += range.entries
      return false
    }
    count(report, range, settled.trimmed)
    return true
  }

  /** Asks until all groups are named. @returns `undefined`: another janitor has the stream. */
  async #step(ask: (request: KeepingRequest) => Promise<KeepingStep>): Promise<KeepingStep | undefined> {
    const { report } = this.#target
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const request = { ...this.#request, leaseMs: leaseMsOf(this.#surroundings.remainingMs) }
      const step = await ask(request).catch((error: unknown) => this.#deny(error))
      if (step === undefined) continue
      report.busy = step.is === 'busy' || step.is === 'lapsed'
      if (report.busy) return undefined
      if (step.is !== 'groups') return note(report, step)
      this.#found.push(...step.groups)
      this.#opened = { ...this.#request, groups: [...new Set([...this.#request.groups, ...step.groups])] }
    }
    throw new Error('groups of the stream come faster than they are asked for')
  }

  /** The user may read the keys of groups that it was made for: of others it is not known what they need. @throws {Error} Another refusal. */
  #deny(error: unknown): undefined {
    const { groups } = this.#request
    const others = groups.filter((group) => this.#found.includes(group))
    if (!(error instanceof RedisReplyError && error.is('NOPERM')) || others.length === 0) throw error
    const denied = [...this.#request.denied, ...others]
    this.#opened = { ...this.#request, groups: groups.filter((group) => !others.includes(group)), denied }
  }
}

function note(report: OpenJanitorReport, step: KeepingStep): KeepingStep {
  report.kept = step.length
  report.trimmedAhead += step.trimmedAhead
  report.unregistered = [...step.unregistered].sort()
  report.blockers = step.blockers.toSorted((a, b) => compareEntryIds(a.doneId, b.doneId) || (a.name < b.name ? -1 : 1))
  return step
}

function count(report: OpenJanitorReport, range: EntryRange, trimmed: number): void {
  report.ranges++
  report.trimmed += trimmed
  report.gone += range.entries - trimmed
}

async function floorOf(
  stream: string,
  keepFrom: TrimTarget['keepFrom'],
  { clock, remainingMs }: TrimSurroundings,
): Promise<string | undefined> {
  if (!keepFrom) return undefined
  const limitMs = Math.min(KEEP_FROM_MS, Math.max(1, remainingMs() - MARGIN_MS))
  const name = (error: Error) => {
    error.message = `keepFrom: ${error.message}`
  }
  const id = await answerWithin(clock, limitMs, (async () => keepFrom())(), name)
  if (id !== undefined) assertEntryId(`trim stream ${quotedValue(stream)}`, 'what keepFrom answers', id)
  return id
}

async function archiveRange(
  archive: Archive,
  range: EntryRange,
  isRepeated: boolean,
  { stream }: TrimTarget,
  { keeping, clock, remainingMs }: TrimSurroundings,
): Promise<void> {
  const entries = await readRange(keeping, stream, range)
  // somebody else trimmed it meanwhile
  if (entries.length === 0) return
  const { firstId, lastId } = range
  const aborting = new AbortController()
  const name = archiveName(stream, firstId, lastId)
  const archiving = async () =>
    archive({ stream, firstId, lastId, name, entries, isRepeated }, { signal: aborting.signal })
  await answerWithin(clock, Math.max(1, remainingMs() - MARGIN_MS), archiving(), (error) => aborting.abort(error))
}

async function readRange(keeping: Keeping, stream: string, { firstId, lastId }: EntryRange): Promise<Entry[]> {
  const entries: Entry[] = []
  let from = firstId
  while (compareEntryIds(from, lastId) <= 0) {
    const page = await keeping.read(stream, from, lastId)
    const last = page.at(-1)
    if (!last) break
    for (const entry of page) entries.push(entry)
    if (last.id === lastId) break
    from = entryIdAfter(last.id)
  }
  return entries
}

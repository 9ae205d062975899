import type { Entry } from '../../core/entry.ts'
import { entryAgeMs } from '../../core/entry.ts'
import { RedisReplyError } from '../../errors.ts'
import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import { parseXpending, xpending } from '../../group/redis/commands/xpending.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { untilAborted } from '../until-aborted.ts'
import type { PendingAnalysis, PendingGroup } from './analysis.ts'
import type { EntryReader } from './entry-reader.ts'
import { FrequencyTable } from './frequency-table.ts'
import { LogHistogram } from './log-histogram.ts'
import type { PageReader } from './page-reader.ts'

/** Pending entries that are listed at once. */
const LISTED = 1_000
/** Entries that are read at once, where they are small. */
const READ_AT_ONCE = 100

interface PendingAgesOptions {
  readonly sender: CallSender
  readonly stream: string
  /** When it is, in milliseconds since 1970. */
  readonly at: number
  readonly reader: PageReader
  readonly read: EntryReader
  readonly maxPending: number
  readonly onProgress: (read: number) => void
}

/** Collects how old a stream's pending entries are. */
export class PendingAges {
  readonly #options: PendingAgesOptions
  readonly #types = new FrequencyTable(() => new LogHistogram())
  readonly #groups: PendingGroup[] = []
  #read = 0
  #noEvents = 0

  constructor(options: PendingAgesOptions) {
    this.#options = options
  }

  /**
   * Examines the oldest pending entries of a group, until the signal.
   *
   * @throws {RedisReplyError} The server refused it.
   * @throws {RedisConnectionError} No reply came.
   */
  async examine({ name, pending }: Pick<GroupInfo, 'name' | 'pending'>): Promise<void> {
    const counts = { group: name, pending, examined: 0, trimmed: 0 }
    this.#groups.push(counts)
    let start = '-'
    for (let left = Math.min(pending, this.#options.maxPending); left > 0; ) {
      const ids = await this.#list(name, start, Math.min(left, LISTED))
      if (ids.length === 0) return
      const trimmed = await this.#readAll(ids)
      if (trimmed === undefined) return
      counts.examined += ids.length
      counts.trimmed += trimmed
      left -= ids.length
      start = `(${ids.at(-1)}`
    }
  }

  result(top: number): PendingAnalysis {
    const total = this.#groups.reduce((sum, { examined, trimmed }) => sum + examined - trimmed, 0)
    const types = this.#types.result(top, { total, count: (n) => n }, (ages) => ({
      p50Ms: ages.quantile(0.5),
      p99Ms: ages.quantile(0.99),
      oldestMs: ages.max,
    }))
    return { groups: this.#groups, types, noEvents: this.#noEvents }
  }

  async #list(group: string, start: string, count: number): Promise<string[]> {
    const { sender, stream, reader } = this.#options
    const listing = sender.call(xpending(stream, group, count, start)).then(parseXpending)
    return ((await untilAborted(listing, reader.signal)) ?? []).map(({ id }) => id)
  }

  /** How many of them are gone; `undefined` once the signal has aborted. */
  async #readAll(ids: readonly string[]): Promise<number | undefined> {
    const { reader, onProgress } = this.#options
    let trimmed = 0
    for (let at = 0; at < ids.length; ) {
      const places = ids.slice(at, at + READ_AT_ONCE).map((id) => [id, id] as const)
      const pages = await untilAborted(reader.readPlaces(places, 1), reader.signal)
      if (pages === undefined) return undefined
      for (const { entries } of pages) {
        if (entries[0] === undefined) trimmed++
        else this.#add(entries[0])
      }
      at += pages.length
      this.#read += pages.length
      onProgress(this.#read)
    }
    return trimmed
  }

  #add(entry: Entry): void {
    const { problem, type = '' } = this.#options.read(entry)
    // what is ahead of the server's clock was written just now, as far as anybody knows
    const ageMs = entryAgeMs(entry.id, this.#options.at) ?? 0
    if (problem === undefined) this.#types.add(type).add(ageMs)
    else this.#noEvents++
  }
}

/** Whether a group is gone by now: no reason to end what is done for others. */
export function isGroupGone(error: unknown): boolean {
  return error instanceof RedisReplyError && error.is('NOGROUP')
}

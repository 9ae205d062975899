import type { Entry } from '../../core/entry.ts'
import { compareEntryIds, entryBytes, entryIdBefore } from '../../core/entry.ts'
import type { Blocker } from '../../core/janitor-report.ts'
import type { EntryRange, Keeping, KeepingRequest, KeepingStep } from '../keeping.ts'
import { readAgeFloor } from '../keeping.ts'
import { MAX_GONE } from '../redis/scripts/trim-done.ts'
import type { Undone } from '../undone.ts'
import type { DoneByGroup } from './memory-done-by-group.ts'
import { doneBy } from './memory-done-by-group.ts'
import type { MemoryConsumerGroup, MemoryServer, MemoryStream } from './memory-server.ts'

/** What lies beside a stream: its registry, its floors, and a janitor's notes. */
interface Kept {
  readonly groups: Map<string, string>
  readonly floors: Map<string, string>
  lease?: { readonly token: string; readonly until: number }
  range?: EntryRange
  isArchived?: boolean
  /** Group name → milliseconds since 1970 since when it blocks. */
  readonly since: Map<string, number>
  /** Group name → entries that were gone before it had done them, when somebody last looked. */
  readonly gone: Map<string, number>
  /** Group name → the entry that it reads next. */
  readonly next: Map<string, string>
}

const PAGE_ENTRIES = 1_000
/** Of whom a note says since when it blocks, where it is no group. */
const KINDS = { floor: 'floor', letters: 'floor', 'no-groups': 'none' }

/** One for each server, whoever connects to it. */
const keepings = new WeakMap<MemoryServer, MemoryKeeping>()

export function memoryKeeping(server: MemoryServer): MemoryKeeping {
  const keeping = keepings.get(server) ?? new MemoryKeeping(server)
  keepings.set(server, keeping)
  return keeping
}

/** What the script `trim-done` does, in memory. */
class MemoryKeeping implements Keeping {
  readonly #server: MemoryServer
  readonly #kept = new Map<string, Kept>()

  constructor(server: MemoryServer) {
    this.#server = server
  }

  async registered(stream: string): Promise<ReadonlyMap<string, string>> {
    return new Map(this.#of(stream).groups)
  }

  async register(stream: string, groups: Readonly<Record<string, string | undefined>>): Promise<void> {
    change(this.#of(stream).groups, groups)
  }

  async keepFrom(stream: string, floors: Readonly<Record<string, string | undefined>>): Promise<void> {
    change(this.#of(stream).floors, floors)
  }

  async plan(key: string, request: KeepingRequest): Promise<KeepingStep> {
    const kept = this.#of(key)
    const now = this.#now()
    if (kept.lease && kept.lease.token !== request.token && kept.lease.until > now) return step({ is: 'busy' })
    const view = this.#view(key, request)
    if ('is' in view) return view
    kept.lease = { token: request.token, until: now + request.leaseMs }
    const trimmedAhead = this.#trimmedAhead(key, request)
    const { unregistered } = view
    const answer = (part: Partial<KeepingStep> & Pick<KeepingStep, 'is'>) =>
      step({ trimmedAhead, unregistered, length: this.#length(key), ...part })
    if (kept.range && request.archives)
      return answer({
        is: 'range',
        range: kept.range,
        isRepeated: true,
        isArchived: kept.isArchived === true,
      })
    delete kept.range
    const { entries, blockedAt } = nextRange(this.#server.streams.get(key)?.entries ?? [], request, view.isSafe, now)
    const blockers = this.#noteBlockers(kept, view.done, blockedAt, entries.length === 0)
    const [first, last] = [entries[0], entries.at(-1)]
    if (!first || !last) return answer({ is: 'nothing', blockers })
    const range = { firstId: first.id, lastId: last.id, entries: entries.length }
    if (!request.archives)
      return answer({ is: 'range', range, trimmed: this.#trim(key, last.id), length: this.#length(key) })
    kept.range = range
    delete kept.isArchived
    return answer({ is: 'range', range })
  }

  async settle(key: string, request: KeepingRequest, range: EntryRange): Promise<KeepingStep> {
    const kept = this.#of(key)
    if (kept.lease?.token !== request.token) return step({ is: 'lapsed' })
    const view = this.#view(key, request)
    if ('is' in view) return view
    const trimmedAhead = this.#trimmedAhead(key, request)
    if (JSON.stringify(kept.range) !== JSON.stringify(range)) return step({ is: 'lapsed' })
    kept.isArchived = true
    const isHeld = !view.isSafe(range.lastId)
    const trimmed = isHeld ? 0 : this.#trim(key, range.lastId)
    if (!isHeld) delete kept.range
    return step({
      is: isHeld ? 'held' : 'range',
      range,
      isRepeated: true,
      isArchived: true,
      trimmed,
      trimmedAhead,
      length: this.#length(key),
      blockers: isHeld ? this.#noteBlockers(kept, view.done, range.lastId, false) : [],
      unregistered: view.unregistered,
    })
  }

  async read(key: string, firstId: string, lastId: string): Promise<readonly Entry[]> {
    const entries = this.#server.streams.get(key)?.after(entryIdBefore(firstId), PAGE_ENTRIES) ?? []
    return entries.filter(({ id }) => compareEntryIds(id, lastId) <= 0)
  }

  /** What the script `undone-entries` measures. */
  undone(key: string): Undone | undefined {
    const stream = this.#server.streams.get(key)
    const all = [...this.#of(key).groups.keys()].map((group): Undone => {
      const there = stream?.groups.get(group)
      if (!there) return { group, entries: this.#length(key) }
      return { group, entries: there.ids.length + (stream?.after(there.lastDeliveredId, Infinity).length ?? 0) }
    })
    return all.reduce<Undone | undefined>((most, one) => (most && most.entries >= one.entries ? most : one), undefined)
  }

  async release(key: string, token: string): Promise<void> {
    const kept = this.#of(key)
    if (kept.lease?.token === token) delete kept.lease
  }

  #now(): number {
    return Math.floor(this.#server.clock.now())
  }

  #length(key: string): number {
    return this.#server.streams.get(key)?.entries.length ?? 0
  }

  #trim(key: string, lastId: string): number {
    return this.#server.streams.get(key)?.trimUpTo(lastId) ?? 0
  }

  #of(stream: string): Kept {
    const found = this.#kept.get(stream) ?? {
      groups: new Map(),
      floors: new Map(),
      since: new Map(),
      gone: new Map(),
      next: new Map(),
    }
    this.#kept.set(stream, found)
    return found
  }

  /** What each has done, or that there are other groups than those that were named. */
  #view(key: string, { groups, ignored, needsGroups, keepFrom }: KeepingRequest) {
    const { groups: registered, floors } = this.#of(key)
    const there = this.#server.streams.get(key)?.groups ?? new Map<string, MemoryConsumerGroup>()
    const others = [...registered.keys(), ...there.keys()].filter((name) => ![...groups, ...ignored].includes(name))
    if (others.length > 0) return step({ is: 'groups', groups: others })
    const counted = groups.filter((name) => !ignored.includes(name) && (there.has(name) || registered.has(name)))
    const done = counted.map((name) => doneBy(this.#server, key, name, there.get(name), registered.get(name)))
    const floor = (name: string, text: string): DoneByGroup => {
      const ageMs = readAgeFloor(text)
      const id = ageMs === undefined ? text : `${Math.max(0, this.#now() - ageMs)}-0`
      return { name, id: entryIdBefore(id), reason: ageMs === undefined ? 'floor' : 'letters', isRegistered: false }
    }
    if (counted.length === 0 && needsGroups)
      done.push({ name: '', id: '0-0', reason: 'no-groups', isRegistered: false })
    for (const [name, id] of floors) done.push(floor(name, id))
    if (keepFrom !== undefined) done.push(floor('keepFrom', keepFrom))
    return {
      done,
      unregistered: counted.filter((name) => !registered.has(name)),
      isSafe: (id: string) => done.every((one) => compareEntryIds(id, one.id) <= 0),
    }
  }

  #noteBlockers(kept: Kept, done: readonly DoneByGroup[], blockedAt: string | undefined, isAll: boolean): Blocker[] {
    const now = this.#now()
    const blocking = blockedAt === undefined ? [] : done.filter(({ id }) => compareEntryIds(id, blockedAt) < 0)
    const keyOf = ({ name, reason }: DoneByGroup) => `${KINDS[reason as keyof typeof KINDS] ?? 'group'} ${name}`
    for (const one of blocking) if (!kept.since.has(keyOf(one))) kept.since.set(keyOf(one), now)
    const names = new Set(blocking.map(keyOf))
    if (blockedAt !== undefined || isAll)
      for (const name of kept.since.keys()) if (!names.has(name)) kept.since.delete(name)
    return blocking.map((one) => ({
      name: one.name,
      reason: one.reason,
      isRegistered: one.isRegistered,
      doneId: one.id,
      sinceMs: Math.max(0, now - (kept.since.get(keyOf(one)) ?? now)),
    }))
  }

  /** A server in memory counts no entries that were added: it shows what is pending and gone, and of what was not read one. */
  #trimmedAhead(key: string, { ignored }: KeepingRequest): number {
    const kept = this.#of(key)
    const stream = this.#server.streams.get(key)
    const firstId = stream?.entries[0]?.id
    const isGone = (id: string) => firstId === undefined || compareEntryIds(id, firstId) < 0
    let ahead = 0
    for (const [name, group] of stream?.groups ?? []) {
      if (!kept.groups.has(name) || ignored.includes(name)) continue
      let level = Math.min(MAX_GONE, group.ids.filter(isGone).length)
      const noted = kept.next.get(name)
      const isMissed = noted !== undefined && compareEntryIds(noted, group.lastDeliveredId) > 0 && isGone(noted)
      const next = isMissed ? noted : nextOf(stream as MemoryStream, group)
      if (isMissed) level++
      if (next === undefined) kept.next.delete(name)
      else kept.next.set(name, next)
      ahead += Math.max(0, level - (kept.gone.get(name) ?? 0))
      kept.gone.set(name, level)
    }
    return ahead
  }
}

function nextOf(stream: MemoryStream, { lastDeliveredId }: MemoryConsumerGroup): string | undefined {
  return stream.after(lastDeliveredId, 1)[0]?.id
}

/** Entries from the start that may go and that nobody needs, and the one that may go and is needed. */
function nextRange(
  all: readonly Entry[],
  { maxLength, retentionMs, beforeId, maxEntries, maxBytes }: KeepingRequest,
  isSafe: (id: string) => boolean,
  now: number,
): { readonly entries: readonly Entry[]; readonly blockedAt?: string } {
  const isLimited = [maxLength, retentionMs, beforeId].some((limit) => limit !== undefined)
  const over = maxLength !== undefined ? all.length - maxLength : isLimited ? 0 : all.length
  const limits = [beforeId, retentionMs === undefined ? undefined : `${Math.max(0, now - retentionMs)}-0`]
  const mayGo = (n: number, id: string) =>
    n <= over || limits.some((limit) => limit !== undefined && compareEntryIds(id, limit) < 0)
  const entries: Entry[] = []
  let bytes = 0
  for (const entry of all) {
    if (!mayGo(entries.length + 1, entry.id)) break
    if (!isSafe(entry.id)) return { entries, blockedAt: entry.id }
    bytes += entryBytes(entry.fields)
    if (entries.length > 0 && (entries.length >= maxEntries || bytes > maxBytes)) break
    entries.push(entry)
  }
  return { entries }
}

function change(map: Map<string, string>, fields: Readonly<Record<string, string | undefined>>): void {
  for (const [name, text] of Object.entries(fields)) {
    if (text === undefined) map.delete(name)
    else map.set(name, text)
  }
}

function step(part: Partial<KeepingStep> & Pick<KeepingStep, 'is'>): KeepingStep {
  return {
    groups: [],
    range: undefined,
    isRepeated: false,
    isArchived: false,
    trimmed: 0,
    length: 0,
    trimmedAhead: 0,
    blockers: [],
    unregistered: [],
    ...part,
  }
}

import {
  CLOCK_STEP_MS,
  KEPT_TURN_MS,
  LINE_IS_STALE_MS,
  LONGEST_LINE_MS,
  LONGEST_TURN_MS,
  STUCK_PLACE_MS,
  UNKNOWN_HOLD_MS,
} from '../../core/gates.ts'
import type { JoinedCommand } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import { TurnQueue } from './turn-queue.ts'

/** A concurrency limit, or a rate limit, as its key has it. */
export interface Limit {
  readonly key: string
  readonly holders: Set<string>
  /** When the last of those asks again that wait. */
  line: number
  used: number
  free: number
  late: number
  peak: number
  since: number
  /** When somebody asked last, and when first after a time in which nobody did. */
  asked: number
  woke: number
  queue: TurnQueue
  avg: number | undefined
  /** When a place was taken or given back last. */
  moved: number | undefined
  gap: number | undefined
  /** When the last one asks again, of this call. */
  soon: number
  ends: number
  per: number
  hasChanged: boolean
}

/** What an entry asks of a rate limit. */
export interface Rate {
  readonly key: string
  readonly max: number
  readonly per: number
  readonly late: number
  readonly slack: number
}

/** A rate limit that is asked: how far apart its turns are, and from when it has one. */
export interface AskedRate {
  readonly limit: Limit
  readonly apart: number
  readonly from: number
  /** How many stand before the entry that asks, and how many of them are due by its turn; whether they have it first, or it has none. */
  before: number
  due: number
  isBehind: boolean
}

const NUMBERS = ['line', 'used', 'free', 'late', 'peak', 'since', 'asked', 'woke'] as const

/** Limits of one call of the script that passes gates, each read once and written at its end. */
export class MemoryLimits {
  readonly #run: (...command: JoinedCommand) => PlainReply
  readonly #now: number
  readonly #ahead: number
  readonly #limits = new Map<string, Limit>()

  constructor(run: (...command: JoinedCommand) => PlainReply, now: number, ahead: number) {
    this.#run = run
    this.#now = now
    this.#ahead = ahead
  }

  of(key: string): Limit {
    const known = this.#limits.get(key)
    if (known) return known
    const limit = this.#read(key)
    this.#limits.set(key, limit)
    return limit
  }

  #read(key: string): Limit {
    const flat = this.#run('HGETALL', key) as readonly string[]
    const numbers = new Map<string, number>()
    const holders = new Set<string>()
    let ends = 0
    let queue = ''
    for (let at = 0; at < flat.length; at += 2) {
      const [name, value] = [flat[at] as string, Number(flat[at + 1])]
      if (name === 'queue') queue = flat[at + 1] as string
      else if (!name.startsWith('@')) numbers.set(name, value)
      else if (value <= this.#now) this.#run('HDEL', key, name)
      else {
        holders.add(name)
        ends = Math.max(ends, value)
      }
    }
    if ((numbers.get('used') ?? 0) > this.#now + CLOCK_STEP_MS) {
      for (const name of ['line', 'asked']) numbers.delete(name)
      queue = ''
    }
    const read = Object.fromEntries(NUMBERS.map((name) => [name, numbers.get(name) ?? 0]))
    const [avg, gap, moved] = [numbers.get('avg'), numbers.get('gap'), numbers.get('moved')]
    const ofCall = { queue: new TurnQueue(queue), soon: 0, ends, per: 0, hasChanged: false }
    return { key, holders, avg, gap, moved, ...(read as Record<(typeof NUMBERS)[number], number>), ...ofCall }
  }

  /** Others wait in line, and get their place. */
  hasLine({ line, used }: Limit): boolean {
    return line > this.#now && used > this.#now - LINE_IS_STALE_MS
  }

  left(key: string, holder: string, heldMs: number): void {
    const limit = this.of(key)
    if (!limit.holders.delete(`@${holder}`)) return
    limit.avg = limit.avg === undefined ? heldMs : limit.avg * 0.8 + heldMs * 0.2
    this.#run('HDEL', key, `@${holder}`)
    Object.assign(limit, { moved: this.#now, hasChanged: true })
  }

  hold(key: string, holder: string, ends: number): void {
    const limit = this.of(key)
    limit.holders.add(`@${holder}`)
    const now = this.#now
    Object.assign(limit, { ends: Math.max(limit.ends, ends), used: now, moved: now, hasChanged: true })
    this.#run('HSET', key, `@${holder}`, num(ends))
  }

  /** @returns When it asks for its place again. */
  standForPlace(limit: Limit, max: number): number {
    const step = Math.min((limit.avg ?? UNKNOWN_HOLD_MS) / max, Math.max(0, this.#now + LONGEST_LINE_MS - limit.line))
    if (limit.line <= this.#now) limit.used = this.#now
    limit.line = Math.max(limit.line, this.#now) + step
    limit.hasChanged = true
    limit.moved = Math.min(limit.moved ?? this.#now, this.#now)
    const waitMs = Math.min(STUCK_PLACE_MS, 2 ** Math.floor(Math.log2((this.#now - limit.moved) / 2)))
    if (waitMs <= step) return limit.line
    return Math.ceil(Math.max(limit.line, this.#now + waitMs) / waitMs) * waitMs
  }

  /** What a rate limit is by now. */
  asked(rate: Rate, id: string, furthest: number): AskedRate {
    const limit = this.of(rate.key)
    const now = this.#now
    const gap = rate.per / rate.max
    if (now - limit.since > rate.per + limit.late + this.#ahead)
      Object.assign(limit, { late: limit.peak, peak: 0, since: now })
    limit.peak = Math.max(limit.peak, rate.late)
    const apart = (rate.per + Math.max(limit.late, limit.peak) + rate.slack) / rate.max
    if (limit.gap !== undefined && Math.abs(limit.gap - gap) > 0.001)
      Object.assign(limit, { free: limit.free - limit.gap + apart, line: 0 })
    // nobody is given a turn later than that: the server's clock was set back
    if (limit.free > now + this.#ahead + rate.slack + 2 * apart) limit.free = now + apart
    Object.assign(limit, { per: rate.per, gap })
    if (now - limit.asked > LINE_IS_STALE_MS) limit.woke = now
    Object.assign(limit, { asked: now, hasChanged: true })
    const from = Math.max(now, limit.free - rate.slack)
    const asked = { limit, apart, from, before: limit.queue.before(id), due: 0, isBehind: from > furthest }
    asked.due = limit.queue.dueBefore(id, dueBy(asked))
    asked.isBehind ||= asked.due > 0 && now < passedAt(asked)
    return asked
  }

  /** When it asks for its turn again. */
  comesAt({ limit, apart, from, before, due, isBehind }: AskedRate, id: string, hasRoom: boolean): number {
    const now = this.#now
    const isTurn = isBehind && due > 0 && from <= now
    const at = isTurn
      ? Math.max(now, passedAt({ limit, apart, due }))
      : from + Math.max(before, hasRoom ? 0 : 1) * apart
    // of those that are taken together, each comes after the one that asked before
    const latest = limit.queue.latestBeside(id) ?? 0
    const after = latest > now ? latest + apart : 0
    return Math.min(Math.max(at, after, limit.soon + apart), now + LONGEST_TURN_MS)
  }

  standForTurn({ limit, isBehind }: AskedRate, at: number, id: string, isKnown: boolean, hasRoom: boolean): void {
    // what there is no room for keeps nobody waiting, as long as it asks
    limit.queue.join(id, isKnown, hasRoom || isBehind ? at : at + LINE_IS_STALE_MS, this.#now)
    Object.assign(limit, { soon: at, line: Math.max(limit.line, at), hasChanged: true })
  }

  /** What waits for something else keeps nobody waiting for a turn. */
  leave({ key, per }: Rate, id: string): void {
    const limit = this.of(key)
    limit.per = per
    if (limit.queue.leave(id, limit.gap ?? 0)) limit.hasChanged = true
  }

  takeTurn(asked: AskedRate, turn: number, id: string, isKnown: boolean): void {
    const { limit, apart } = asked
    Object.assign(limit, { free: Math.max(limit.free, turn) + apart, used: this.#now, hasChanged: true })
    if (isKnown) limit.queue.leave(id, limit.gap ?? 0)
    // whose turn has passed: where it is still there, it comes back before the others
    if (asked.due > 0) limit.queue.dropDue(id, dueBy(asked))
  }

  save(): void {
    for (const limit of this.#limits.values()) if (limit.hasChanged) this.#save(limit)
  }

  #save(limit: Limit): void {
    const { key, line, used, free, late, peak, since, asked, woke, queue, avg, moved, gap, ends, per } = limit
    const ofRate = gap === undefined ? {} : { free, late, peak, since, gap, asked, woke }
    const ofPlaces = { ...(avg !== undefined && { avg }), ...(moved !== undefined && { moved }) }
    const numbers = Object.entries({ line, used, ...ofRate, ...ofPlaces })
    const waiting = gap === undefined ? [] : ['queue', queue.toString()]
    this.#run('HSET', key, ...numbers.flatMap(([name, value]) => [name, num(value)]), ...waiting)
    // who comes back after a time in which nobody ran finds who came before
    const longer = queue.isEmpty ? 0 : LONGEST_TURN_MS
    const lastsMs = Math.max(line, free, ends) - this.#now + Math.max(per, LINE_IS_STALE_MS) + longer
    this.#run('PEXPIRE', key, Math.ceil(lastsMs))
  }
}

/** Who comes back by then has a turn first. */
function dueBy({ from, apart }: AskedRate): number {
  return from + apart / 2
}

/** When the turns of those have passed that nobody took: who stood there is gone. */
function passedAt({ limit, apart, due }: Pick<AskedRate, 'limit' | 'apart' | 'due'>): number {
  return Math.max(limit.woke, limit.free) + Math.min(due * apart, KEPT_TURN_MS)
}

/** A number as the scripts write it. */
export function num(value: number): string {
  return value.toFixed(3)
}

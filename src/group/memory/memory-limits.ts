import { CLOCK_STEP_MS, LINE_IS_STALE_MS, LONGEST_LINE_MS, LONGEST_TURN_MS, UNKNOWN_HOLD_MS } from '../../core/gates.ts'
import type { JoinedCommand } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'

/** A concurrency limit, or a rate limit, as its key has it. */
export interface Limit {
  readonly key: string
  readonly holders: Set<string>
  /** When the last of those asks again that wait, and of those among them that were set aside. */
  line: number
  back: number
  used: number
  free: number
  late: number
  peak: number
  since: number
  /** The last entry, as a number, that stands in line up to `back`. */
  mark: number
  /** How many stand in line that have not had their turn, as far as is known. */
  waits: number
  /** When somebody asked last, and when first after a time in which nobody did. */
  asked: number
  woke: number
  avg: number | undefined
  gap: number | undefined
  /** When the last of those asks again that were in line already, of this call. */
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
}

const NUMBERS = ['line', 'back', 'used', 'free', 'late', 'peak', 'since', 'mark', 'waits', 'asked', 'woke'] as const

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
    for (let at = 0; at < flat.length; at += 2) {
      const [name, value] = [flat[at] as string, Number(flat[at + 1])]
      if (!name.startsWith('@')) numbers.set(name, value)
      else if (value <= this.#now) this.#run('HDEL', key, name)
      else {
        holders.add(name)
        ends = Math.max(ends, value)
      }
    }
    if ((numbers.get('used') ?? 0) > this.#now + CLOCK_STEP_MS)
      for (const name of ['line', 'back', 'waits', 'asked']) numbers.delete(name)
    const read = Object.fromEntries(NUMBERS.map((name) => [name, numbers.get(name) ?? 0]))
    const [avg, gap] = [numbers.get('avg'), numbers.get('gap')]
    const ofCall = { soon: 0, ends, per: 0, hasChanged: false }
    return { key, holders, avg, gap, ...(read as Record<(typeof NUMBERS)[number], number>), ...ofCall }
  }

  hasLine({ line, back, used, free }: Limit): boolean {
    return Math.max(line, back) > this.#now && Math.max(used, free) > this.#now - LINE_IS_STALE_MS
  }

  left(key: string, holder: string, heldMs: number): void {
    const limit = this.of(key)
    if (!limit.holders.delete(`@${holder}`)) return
    limit.avg = limit.avg === undefined ? heldMs : limit.avg * 0.8 + heldMs * 0.2
    this.#run('HDEL', key, `@${holder}`)
    limit.hasChanged = true
  }

  hold(key: string, holder: string, ends: number): void {
    const limit = this.of(key)
    limit.holders.add(`@${holder}`)
    Object.assign(limit, { ends: Math.max(limit.ends, ends), used: this.#now, hasChanged: true })
    this.#run('HSET', key, `@${holder}`, num(ends))
  }

  /** @returns When it asks for its place again. */
  standForPlace(limit: Limit, max: number): number {
    const step = Math.min((limit.avg ?? UNKNOWN_HOLD_MS) / max, Math.max(0, this.#now + LONGEST_LINE_MS - limit.line))
    if (limit.line <= this.#now) limit.used = this.#now
    limit.line = Math.max(limit.line, this.#now) + step
    limit.hasChanged = true
    return limit.line
  }

  /** What a rate limit is by now. */
  asked(rate: Rate): AskedRate {
    const limit = this.of(rate.key)
    const now = this.#now
    const gap = rate.per / rate.max
    if (now - limit.since > rate.per + limit.late + this.#ahead)
      Object.assign(limit, { late: limit.peak, peak: 0, since: now })
    limit.peak = Math.max(limit.peak, rate.late)
    const apart = (rate.per + Math.max(limit.late, limit.peak) + rate.slack) / rate.max
    if (limit.gap !== undefined && Math.abs(limit.gap - gap) > 0.001)
      Object.assign(limit, { free: limit.free - limit.gap + apart, line: 0, back: 0 })
    // nobody is given a turn later than that: the server's clock was set back
    if (limit.free > now + this.#ahead + rate.slack + 2 * apart) limit.free = now + apart
    Object.assign(limit, { per: rate.per, gap })
    if (now - limit.asked > LINE_IS_STALE_MS) limit.woke = now
    // turns that nobody took although somebody asked: who stood in line is gone
    if (Math.max(limit.woke, limit.free) < now - LINE_IS_STALE_MS) limit.waits = 0
    Object.assign(limit, { asked: now, hasChanged: true })
    return { limit, apart, from: Math.max(now, limit.free - rate.slack) }
  }

  /** Others that came before it have their turn first. */
  isBehind(limit: Limit, id: string, isKnown: boolean): boolean {
    if (!isKnown) return limit.waits > 0 || this.hasLine(limit)
    return limit.back > this.#now && this.hasLine(limit) && orderOf(id) > limit.mark
  }

  /** @returns When it asks for its turn again. */
  standForTurn({ limit, apart, from }: AskedRate, id: string, isKnown: boolean, hasRoom: boolean): number {
    const now = this.#now
    const earliest = hasRoom ? from : from + apart
    const soon = Math.max(limit.soon + apart, earliest)
    if (isKnown && soon - now <= this.#ahead && !this.isBehind(limit, id, true)) {
      limit.soon = soon
      return soon
    }
    if (limit.line <= now) limit.used = now
    let last = isKnown ? limit.back : Math.max(limit.line, limit.back)
    // those whose turn passed while nobody asked come first, if they are still there
    if (!isKnown && last <= now) last = now + Math.min(limit.waits * apart, LINE_IS_STALE_MS)
    const at = Math.min(Math.max(last > now ? last + apart : 0, earliest), now + LONGEST_TURN_MS)
    Object.assign(limit, { [isKnown ? 'back' : 'line']: at, hasChanged: true })
    if (isKnown) limit.mark = Math.max(limit.mark, orderOf(id))
    else limit.waits++
    return at
  }

  takeTurn({ limit, apart }: AskedRate, turn: number, isKnown: boolean): void {
    if (isKnown) limit.waits = Math.max(0, limit.waits - 1)
    Object.assign(limit, { free: Math.max(limit.free, turn) + apart, used: this.#now, hasChanged: true })
  }

  save(): void {
    for (const limit of this.#limits.values()) if (limit.hasChanged) this.#save(limit)
  }

  #save(limit: Limit): void {
    const { key, line, back, used, free, late, peak, since, mark, waits, asked, woke, avg, gap, ends, per } = limit
    const ofRate = gap === undefined ? {} : { back, free, late, peak, since, gap, mark, waits, asked, woke }
    const numbers = Object.entries({ line, used, ...ofRate, ...(avg !== undefined && { avg }) })
    this.#run('HSET', key, ...numbers.flatMap(([name, value]) => [name, num(value)]))
    // who comes back after a time in which nobody ran finds who came before
    const longer = gap !== undefined && waits > 0 ? LONGEST_TURN_MS : 0
    const lastsMs = Math.max(line, back, free, ends) - this.#now + Math.max(per, LINE_IS_STALE_MS) + longer
    this.#run('PEXPIRE', key, Math.ceil(lastsMs))
  }
}

/** An entry id as a number, by which those that come back stand in order. */
function orderOf(id: string): number {
  const [, ms = 0, seq = 0] = /(\d+)-(\d+)$/.exec(id) ?? []
  return Number(ms) + Math.min(Number(seq), 999) / 1_000
}

/** A number as the scripts write it. */
export function num(value: number): string {
  return value.toFixed(3)
}

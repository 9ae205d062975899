import {
  BREAKER_FIELDS,
  GATE_ANSWERS,
  LINE_IS_STALE_MS,
  LONGEST_LINE_MS,
  PROBE_WAIT_MS,
  UNKNOWN_HOLD_MS,
} from '../../core/gates.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import { toPlainReply } from '../redis/commands/reply.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'

interface Limit {
  readonly key: string
  readonly holders: Set<string>
  line: number
  used: number
  free: number
  late: number
  avg: number | undefined
  /** When the last of those asks again that were in line already, of this call. */
  soon: number
  ends: number
  per: number
  hasChanged: boolean
}

interface Rate {
  readonly key: string
  readonly max: number
  readonly per: number
  readonly late: number
  readonly slack: number
}

interface Asking {
  readonly id: string
  readonly holder: string
  readonly isKnown: boolean
  readonly eventType: string
  readonly places: readonly { readonly key: string; readonly max: number }[]
  readonly rates: readonly Rate[]
}

/** Passes gates as `scripts/pass-gates.ts` does. */
export function passGatesInMemory(calls: MemoryGroupBase, question: ScriptQuestion): PlainReply {
  const { server } = calls
  const [lease = '', state = ''] = question.keys
  const [consumer, token, nonce, length, ahead, most] = question.args.map(String) as [
    string,
    string,
    string,
    string,
    string,
    string,
  ]
  const { now } = calls
  if (token !== '' && server.holder(lease) !== token) return [num(now)]
  const answers = server.gateAnswers
  const before = answers.get(`${state} ${consumer}`)
  if (before?.nonce === nonce) return [num(now), before.text]
  const [, by, number] = /^(.*):(\d+)$/.exec(nonce) ?? []
  const [, lastBy, last] = /^(.*):(\d+)$/.exec(before?.nonce ?? '') ?? []
  if (by !== undefined && by === lastBy && Number(number) < Number(last)) return [num(now)]
  const ends = (token === '' ? undefined : server.leases.get(lease)?.until) ?? now + Number(length)
  const text = new MemoryGates(calls, question, ends, Number(ahead), Number(most)).answer()
  answers.set(`${state} ${consumer}`, { nonce, text })
  return [num(now), text]
}

/** One call of it. */
class MemoryGates {
  readonly #run: (...command: JoinedCommand) => PlainReply
  readonly #now: number
  readonly #keys: readonly string[]
  readonly #args: readonly string[]
  readonly #ends: number
  readonly #ahead: number
  readonly #limits = new Map<string, Limit>()
  #most: number
  #at = 6

  constructor(calls: MemoryGroupBase, { keys, args }: ScriptQuestion, ends: number, ahead: number, most: number) {
    this.#run = (...command) => toPlainReply(calls.server.values.run(command))
    this.#now = calls.now
    this.#keys = keys
    this.#args = args.map(String)
    this.#ends = ends
    this.#ahead = ahead
    this.#most = most
  }

  answer(): string {
    const out: string[] = []
    while (this.#at < this.#args.length) out.push(this.#operation(this.#take()))
    for (const limit of this.#limits.values()) if (limit.hasChanged) this.#save(limit)
    return out.join(' ')
  }

  #take(): string {
    return this.#args[this.#at++] ?? ''
  }

  #key(): string {
    return this.#keys[Number(this.#take()) - 1] ?? ''
  }

  #times<T>(make: () => T): T[] {
    return Array.from({ length: Number(this.#take()) }, make)
  }

  #operation(op: string): string {
    if (op === 'left') {
      const [holder, heldMs] = [this.#take(), Number(this.#take())]
      for (const key of this.#times(() => this.#key())) this.#left(key, holder, heldMs)
      return GATE_ANSWERS.noted
    }
    if (op === 'failed') return this.#failed()
    if (op === 'worked') {
      const [type, failures, id] = [this.#take(), this.#key(), this.#take()]
      if (this.#breaker(type).probe === id) this.#close(type, failures)
      return GATE_ANSWERS.noted
    }
    if (op === 'void') {
      const [type, id] = [this.#take(), this.#take()]
      if (this.#breaker(type).probe === id) this.#endProbe(type, id, this.#now)
      return GATE_ANSWERS.noted
    }
    const [id, holder, isKnown, eventType] = [this.#take(), this.#take(), this.#take() === '1', this.#take()]
    const places = this.#times(() => ({ key: this.#key(), max: Number(this.#take()) }))
    const rates = this.#times(() => {
      const key = this.#key()
      const [max, per, late, slack] = [this.#take(), this.#take(), this.#take(), this.#take()].map(Number)
      return { key, max, per, late, slack } as Rate
    })
    const answer = this.#pass({ id, holder, isKnown, eventType, places, rates })
    const hasPassed = answer.startsWith(GATE_ANSWERS.pass) || answer.startsWith(GATE_ANSWERS.probe)
    if (!hasPassed) this.#giveBack(id, holder, eventType, places)
    return answer
  }

  /** Who waits holds nothing, also not what it was given before. */
  #giveBack(id: string, holder: string, type: string, places: readonly { readonly key: string }[]): void {
    for (const { key } of places) {
      const limit = this.#limit(key)
      if (!limit.holders.delete(`@${holder}`)) continue
      this.#run('HDEL', key, `@${holder}`)
      limit.hasChanged = true
    }
    if (type !== '' && this.#breaker(type).probe === id)
      this.#run('HDEL', this.#breakers, `probe ${type}`, `held ${type}`)
  }

  #breaker(type: string): { at: number | undefined; probe: string | undefined; held: number } {
    const [at, probe, held] = ['until', 'probe', 'held'].map((name) =>
      this.#run('HGET', this.#breakers, `${name} ${type}`),
    ) as (string | null)[]
    return { at: at == null ? undefined : Number(at), probe: probe ?? undefined, held: Number(held ?? 0) }
  }

  get #breakers(): string {
    return this.#keys[2] as string
  }

  #close(type: string, failures: string): void {
    this.#run('HDEL', this.#breakers, ...BREAKER_FIELDS.map((name) => `${name} ${type}`))
    this.#run('DEL', failures)
  }

  #endProbe(type: string, id: string, at: number): void {
    this.#run('HDEL', this.#breakers, `probe ${type}`, `held ${type}`)
    this.#run('HSET', this.#breakers, `until ${type}`, num(at), `last ${type}`, id)
  }

  #failed(): string {
    const [type, failures, member, id] = [this.#take(), this.#key(), this.#take(), this.#take()]
    const [most, per, after] = [this.#take(), this.#take(), this.#take()].map(Number) as [number, number, number]
    const name = this.#take()
    const now = this.#now
    let { at, probe } = this.#breaker(type)
    if (at !== undefined && probe === id) {
      at = now + after
      this.#endProbe(type, id, at)
      this.#run('HSET', this.#breakers, `error ${type}`, name)
    }
    if (at !== undefined) return GATE_ANSWERS.breaker + num(at)
    this.#run('ZADD', failures, num(now), member)
    this.#run('ZREMRANGEBYSCORE', failures, '-inf', num(now - per))
    this.#run('PEXPIRE', failures, per)
    if ((this.#run('ZRANGEBYSCORE', failures, '-inf', '+inf') as readonly string[]).length < most)
      return GATE_ANSWERS.noted
    this.#run('DEL', failures)
    const [opened, until] = [num(now), num(now + after)]
    this.#run('HSET', this.#breakers, `opened ${type}`, opened, `until ${type}`, until, `error ${type}`, name)
    return GATE_ANSWERS.breaker + until
  }

  #limit(key: string): Limit {
    const known = this.#limits.get(key)
    if (known) return known
    const flat = this.#run('HGETALL', key) as readonly string[]
    const numbers = new Map<string, number>()
    const holders = new Set<string>()
    for (let at = 0; at < flat.length; at += 2) {
      const [name, value] = [flat[at] as string, Number(flat[at + 1])]
      if (!name.startsWith('@')) numbers.set(name, value)
      else if (value <= this.#now) this.#run('HDEL', key, name)
      else holders.add(name)
    }
    const [line = 0, used = 0, free = 0, late = 0, avg] = ['line', 'used', 'free', 'late', 'avg'].map((name) =>
      numbers.get(name),
    )
    const limit = { key, holders, line, used, free, late, avg, soon: 0, ends: 0, per: 0, hasChanged: false }
    this.#limits.set(key, limit)
    return limit
  }

  #hasLine({ line, used }: Limit): boolean {
    return line > this.#now && used > this.#now - LINE_IS_STALE_MS
  }

  #left(key: string, holder: string, heldMs: number): void {
    const limit = this.#limit(key)
    if (!limit.holders.delete(`@${holder}`)) return
    limit.avg = limit.avg === undefined ? heldMs : limit.avg * 0.8 + heldMs * 0.2
    this.#run('HDEL', key, `@${holder}`)
    limit.hasChanged = true
  }

  #standInLine(limit: Limit, from: number, step: number): number {
    if (limit.line <= this.#now) limit.used = this.#now
    limit.line = Math.max(limit.line, from) + step
    limit.hasChanged = true
    return limit.line
  }

  #save({ key, line, used, free, late, avg, ends, per }: Limit): void {
    const numbers = Object.entries({ line, used, free, late, ...(avg !== undefined && { avg }) })
    this.#run('HSET', key, ...numbers.flatMap(([name, value]) => [name, num(value)]))
    const livesMs = Math.max(line, free, ends) - this.#now + Math.max(per, LINE_IS_STALE_MS)
    this.#run('PEXPIRE', key, Math.ceil(livesMs))
  }

  #pass({ id, holder, isKnown, eventType, places, rates }: Asking): string {
    const now = this.#now
    let isProbe = false
    if (eventType !== '') {
      const { at, probe, held } = this.#breaker(eventType)
      if (at !== undefined && probe !== id) {
        if (probe !== undefined && held > now) return GATE_ANSWERS.breaker + num(now + PROBE_WAIT_MS)
        if (now < at) return GATE_ANSWERS.breaker + num(at)
      }
      isProbe = at !== undefined
    }
    for (const { key, max } of places) {
      const limit = this.#limit(key)
      const isFree = limit.holders.size < max && (isKnown || !this.#hasLine(limit))
      if (limit.holders.has(`@${holder}`) || isFree) continue
      const step = Math.min((limit.avg ?? UNKNOWN_HOLD_MS) / max, Math.max(0, now + LONGEST_LINE_MS - limit.line))
      return GATE_ANSWERS.place + num(this.#standInLine(limit, now, step))
    }
    if (this.#most < 1 && rates.length === 0) return GATE_ANSWERS.none
    const limited = rates.map((rate) => {
      const limit = this.#limit(rate.key)
      limit.late = Math.max(limit.late, rate.late)
      limit.per = rate.per
      return { limit, rate, apart: (rate.per + limit.late + rate.slack) / rate.max }
    })
    const turn = Math.max(now, ...limited.map(({ limit, rate }) => limit.free - rate.slack))
    const furthest = now + (isProbe || places.length > 0 ? 0 : this.#ahead)
    let again: number | undefined
    for (const { limit, rate, apart } of limited)
      if (this.#most < 1 || turn > furthest || (!isKnown && this.#hasLine(limit))) {
        const from = Math.max(now, limit.free - rate.slack)
        let soon = Math.max(limit.soon, from) + apart
        if (isKnown && soon - now <= this.#ahead) limit.soon = soon
        else soon = this.#standInLine(limit, from, apart)
        again = Math.max(again ?? 0, soon)
      }
    if (again !== undefined) return GATE_ANSWERS.turn + num(again)
    this.#most--
    for (const { limit, apart } of limited)
      Object.assign(limit, { free: Math.max(limit.free, turn) + apart, used: now, hasChanged: true })
    for (const { key } of places) {
      const limit = this.#limit(key)
      limit.holders.add(`@${holder}`)
      Object.assign(limit, { ends: Math.max(limit.ends, this.#ends), used: now, hasChanged: true })
      this.#run('HSET', key, `@${holder}`, num(this.#ends))
    }
    if (isProbe) this.#run('HSET', this.#breakers, `probe ${eventType}`, id, `held ${eventType}`, num(this.#ends))
    return (isProbe ? GATE_ANSWERS.probe : GATE_ANSWERS.pass) + num(turn)
  }
}

function num(value: number): string {
  return value.toFixed(3)
}

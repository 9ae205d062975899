import { BREAKER_FIELDS, GATE_ANSWERS, OUTCOME_FIELDS, PROBE_WAIT_MS } from '../../core/gates.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import { toPlainReply } from '../redis/commands/reply.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import type { AskedRate, Rate } from './memory-limits.ts'
import { MemoryLimits, num } from './memory-limits.ts'

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
  readonly #limits: MemoryLimits
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
    this.#limits = new MemoryLimits(this.#run, this.#now, ahead)
  }

  answer(): string {
    const out: string[] = []
    while (this.#at < this.#args.length) out.push(this.#operation(this.#take()))
    this.#limits.save()
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
      for (const key of this.#times(() => this.#key())) this.#limits.left(key, holder, heldMs)
      return GATE_ANSWERS.noted
    }
    if (op === 'failed') return this.#failed()
    if (op === 'worked') {
      const [type, failures, id] = [this.#take(), this.#key(), this.#take()]
      const { at, probe } = this.#breaker(type)
      if (probe === id) this.#close(type, failures)
      if (probe === id || at === undefined) this.#works(type)
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
      const limit = this.#limits.of(key)
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

  /** An entry of that type has succeeded. */
  #works(type: string): void {
    this.#run('HDEL', this.#breakers, `fails ${type}`)
    this.#run('HSET', this.#breakers, `worked ${type}`, num(this.#now))
  }

  /** Whether one is known to have succeeded within the window, and none to have failed since; notes that one fails now. */
  #hasWorked(type: string, perMs: number): boolean {
    const [fails, worked] = OUTCOME_FIELDS.map((name) => Number(this.#run('HGET', this.#breakers, `${name} ${type}`)))
    const from = this.#now - perMs
    if ((fails as number) > from) return false
    this.#run('HSET', this.#breakers, `fails ${type}`, num(this.#now))
    return (worked as number) > from
  }

  #endProbe(type: string, id: string, at: number): void {
    this.#run('HDEL', this.#breakers, `probe ${type}`, `held ${type}`)
    this.#run('HSET', this.#breakers, `until ${type}`, num(at), `last ${type}`, id)
  }

  #failed(): string {
    const [type, failures, member, id] = [this.#take(), this.#key(), this.#take(), this.#take()]
    const [most, per, after] = [this.#take(), this.#take(), this.#take()].map(Number) as [number, number, number]
    const [name, isLast] = [this.#take(), this.#take() === '1']
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
    const isSpared = !this.#hasWorked(type, per) && isLast
    const { length } = this.#run('ZRANGEBYSCORE', failures, '-inf', '+inf') as readonly string[]
    if (length < most && !isSpared) return GATE_ANSWERS.noted
    this.#run('DEL', failures)
    const [opened, until] = [num(now), num(now + after)]
    this.#run('HSET', this.#breakers, `opened ${type}`, opened, `until ${type}`, until, `error ${type}`, name)
    return GATE_ANSWERS.breaker + until
  }

  #pass({ id, holder, isKnown, eventType, places, rates }: Asking): string {
    const now = this.#now
    const breaker = this.#byBreaker(eventType, id)
    const refusal = breaker.refusal ?? this.#byPlaces(places, holder, isKnown)
    if (refusal !== undefined) {
      if (isKnown) for (const rate of rates) this.#limits.leave(rate, id)
      return refusal
    }
    if (this.#most < 1 && rates.length === 0) return GATE_ANSWERS.none
    const furthest = now + (breaker.isProbe || places.length > 0 ? 0 : this.#ahead)
    const asked = rates.map((rate) => this.#limits.asked(rate, id, furthest))
    const turn = Math.max(now, ...asked.map(({ from }) => from))
    const again = this.#byTurns(asked, turn, id, isKnown)
    if (again !== undefined) return GATE_ANSWERS.turn + num(again)
    this.#most--
    for (const rate of asked) this.#limits.takeTurn(rate, turn, id, isKnown)
    for (const { key } of places) this.#limits.hold(key, holder, this.#ends)
    if (!breaker.isProbe) return GATE_ANSWERS.pass + num(turn)
    this.#run('HSET', this.#breakers, `probe ${eventType}`, id, `held ${eventType}`, num(this.#ends))
    return GATE_ANSWERS.probe + num(turn)
  }

  #byBreaker(eventType: string, id: string): { refusal?: string; isProbe: boolean } {
    const { at, probe, held } = eventType === '' ? { at: undefined } : this.#breaker(eventType)
    if (at === undefined || probe === id) return { isProbe: at !== undefined }
    const now = this.#now
    if (probe !== undefined && held > now)
      return { refusal: GATE_ANSWERS.breaker + num(now + PROBE_WAIT_MS), isProbe: false }
    if (now < at) return { refusal: GATE_ANSWERS.breaker + num(at), isProbe: false }
    return { isProbe: true }
  }

  #byPlaces(places: Asking['places'], holder: string, isKnown: boolean): string | undefined {
    for (const { key, max } of places) {
      const limit = this.#limits.of(key)
      const isFree = limit.holders.size < max && (isKnown || !this.#limits.hasLine(limit))
      if (!limit.holders.has(`@${holder}`) && !isFree)
        return GATE_ANSWERS.place + num(this.#limits.standForPlace(limit, max))
    }
    return undefined
  }

  /** @returns When it asks again if it has no turn. */
  #byTurns(asked: readonly AskedRate[], turn: number, id: string, isKnown: boolean): number | undefined {
    const hasRoom = this.#most >= 1
    const behind = asked.filter(({ isBehind }) => isBehind)
    // a turn that one limit has later would have others go by
    const isWaste = asked.some(({ limit, apart }) => turn > Math.max(this.#now, limit.free) + apart / 4)
    if (asked.length === 0 || (hasRoom && behind.length === 0 && !isWaste)) return undefined
    const refusing = behind.length > 0 ? behind : asked.filter(({ from }) => from === turn)
    const times = refusing.map((rate) => this.#limits.comesAt(rate, id, hasRoom))
    const again = Math.max(...times)
    // of several it stands for the one that it waits for longest
    const stands = refusing[times.indexOf(again)]
    if (!stands) return undefined
    this.#limits.standForTurn(stands, again, id, isKnown, hasRoom)
    if (isKnown) for (const rate of asked) if (rate !== stands) rate.limit.queue.leave(id, rate.limit.gap ?? 0)
    return again
  }
}

import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/clock.ts'
import { RedisConnectionError } from '../../src/errors.ts'
import type { Connection, Group } from '../../src/group/group.ts'
import type { Report } from '../../src/index.ts'
import { assert } from './model.ts'
import type { Caller } from './world.ts'

/** Time as all processes see it. */
export interface Time {
  nowMs: number
}

/** What a process waits for: the reply of a call, or the end of a handler. */
export type Operation = Call | Handling

export interface Call {
  readonly kind: 'call'
  readonly label: string
  readonly parts: number
  readonly execute: (parts?: number) => Promise<unknown>
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: Error) => void
  /** Its reply, once it was carried out. */
  sent: { readonly reply: unknown } | undefined
  /** Its caller has given up. */
  isLate: boolean
}

interface Handling {
  readonly kind: 'handling'
  readonly label: string
  /** It does not end, until its time is over. */
  readonly isHanging: () => boolean
  readonly end: () => void
}

/** Where calls are carried out. */
export interface Server {
  /** A call of that process was carried out, or a part of it; it may not hear of it. */
  changed(by: Process, isHeard: boolean): Promise<void>
}

/** How the network fails a call: it gets lost, its reply gets lost, or it is sent again because its reply was lost. */
export type Fault = 'refuse' | 'cut' | 'resend'

/**
 * A process that runs a poller or a claimer. Its calls and handlers wait until they are told to go on, so that whatever two processes do
 * can happen in any order. A process runs, may be frozen and thawed (then its timers do not fire), and ends, or dies at any point.
 */
export class Process implements Caller {
  readonly name: string
  readonly clock: Clock
  /** Of its slot's lease. */
  token = ''
  waiting: Operation[] = []
  isFrozen = false
  isDead = false
  isOver = false
  /** Once it is over. */
  report: Report | undefined
  /** Something failed a call of it. */
  isFaulted = false
  /** The group's method that was called last. */
  #doing = ''
  readonly #timers = new Set<Timer>()
  readonly #time: Time
  readonly #server: Server
  readonly #note: (line: string) => void

  constructor(name: string, time: Time, server: Server, note: (line: string) => void) {
    this.name = name
    this.#time = time
    this.#server = server
    this.#note = note
    const now = () => time.nowMs
    this.clock = { now, monotonic: now, after: (ms, callback) => this.#after(ms, callback) }
  }

  /** Whether there is still something to come from it. */
  get isLive(): boolean {
    return !this.isDead && (!this.isOver || this.waiting.length > 0)
  }

  call<Reply>(
    label: string,
    timeoutMs: number | undefined,
    execute: (parts?: number) => Promise<Reply>,
    parts: number,
  ): Promise<Reply> {
    if (this.isDead) return new Promise(() => {})
    const name = this.#doing === label ? label : `${this.#doing} (${label})`
    return new Promise<Reply>((resolve, reject) => {
      const call: Call = {
        kind: 'call',
        label: name,
        parts,
        execute,
        resolve: resolve as (reply: unknown) => void,
        reject,
        sent: undefined,
        isLate: false,
      }
      this.waiting.push(call)
      if (timeoutMs === undefined) return
      const cancel = this.#after(Math.max(1, timeoutMs), () => {
        this.#note(`${this.name} gives up on ${name}`)
        call.isLate = true
        this.isFaulted = true
        reject(new RedisConnectionError('Cannot reach Redis: no answer within the time that was left'))
      })
      const answered = <Value>(settle: (value: Value) => void) => {
        return (value: Value) => {
          cancel()
          settle(value)
        }
      }
      Object.assign(call, { resolve: answered(call.resolve), reject: answered(reject) })
    })
  }

  handle(label: string, isHanging: () => boolean, end: () => void): void {
    this.waiting.push({ kind: 'handling', label, isHanging, end })
  }

  /** A connection that notes what this process is doing, and the lease it is given. */
  observe(connection: Connection): Connection {
    const noting = (group: Group) =>
      new Proxy(group, {
        get: (_group, name) => {
          const member: unknown = Reflect.get(group, name)
          if (typeof member !== 'function') return member
          return async (...args: unknown[]) => {
            this.#doing = String(name)
            const reply: unknown = await Reflect.apply(member, group, args)
            if (typeof reply === 'object' && reply !== null && 'token' in reply) this.token = String(reply.token)
            return reply
          }
        },
      })
    return { ...connection, group: (address, remainingMs) => noting(connection.group(address, remainingMs)) }
  }

  /** When a run is over none of its commands and timers may be left, but for what was given up. */
  assertEnded(): void {
    const calls = this.waiting.filter((operation) => operation.kind === 'call' && !operation.isLate)
    assert(calls.length + this.#timers.size === 0, `${this.name} has ended and left commands or timers behind`)
  }

  /** Lets an operation come to its end. */
  async go(operation: Operation): Promise<void> {
    if (operation.kind === 'handling') {
      this.#note(`${this.name} ${operation.label}`)
      this.#leave(operation)
      operation.end()
    } else {
      if (!operation.sent) await this.send(operation)
      this.#answer(operation)
    }
    await setImmediate()
  }

  /** Has a call carried out; its reply is on the way. */
  async send(call: Call): Promise<void> {
    this.#note(`${this.name} ${call.label}`)
    call.sent = { reply: await this.#execute(call, !call.isLate) }
  }

  async fail(call: Call, fault: Fault): Promise<void> {
    this.isFaulted = true
    this.#note(`${this.name} has a fault, ${fault}: ${call.label}`)
    if (fault === 'resend') {
      if (!call.sent) await this.send(call)
      await this.send(call)
      this.#answer(call)
    } else {
      if (fault === 'cut' && !call.sent) await this.#execute(call, false)
      this.#leave(call)
      call.reject(new RedisConnectionError('Cannot reach Redis: the connection broke'))
    }
    await setImmediate()
  }

  /** Dies at once; of a call that is on its way that many commands are still carried out. */
  async die(call?: Call, parts = 0): Promise<void> {
    this.#note(`${this.name} dies`)
    this.isDead = true
    this.waiting = []
    this.#timers.clear()
    if (!call || parts === 0) return
    this.#note(`  and ${Math.min(parts, call.parts)} of ${call.parts} commands of ${call.label} are carried out`)
    await this.#execute(call, false, Math.min(parts, call.parts))
  }

  /** The next timer that is due by then. */
  dueBy(ms: number): Timer | undefined {
    if (this.isFrozen || this.isDead) return undefined
    let first: Timer | undefined
    for (const timer of this.#timers) if (timer.at <= ms && (!first || timer.at < first.at)) first = timer
    return first
  }

  async fire(timer: Timer): Promise<void> {
    this.#timers.delete(timer)
    timer.callback()
    await setImmediate()
  }

  #after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#time.nowMs + Math.max(0, ms), callback }
    if (!this.isDead) this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  async #execute(call: Call, isHeard: boolean, parts?: number): Promise<unknown> {
    const reply = await call.execute(parts)
    await this.#server.changed(this, isHeard)
    return reply
  }

  #answer(call: Call): void {
    this.#leave(call)
    if (call.isLate || !call.sent) return
    call.resolve(call.sent.reply)
  }

  #leave(operation: Operation): void {
    this.waiting = this.waiting.filter((other) => other !== operation)
  }
}

export interface Timer {
  readonly at: number
  readonly callback: () => void
}

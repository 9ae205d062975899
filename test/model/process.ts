import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/clock.ts'
import { RedisConnectionError } from '../../src/errors.ts'
import type { Connection } from '../../src/group/connection.ts'
import type { EntryWaiter, Group, Slot } from '../../src/group/group.ts'
import { openEntryWaiter } from '../../src/group/redis/entry-waiter.ts'
import type { Report } from '../../src/index.ts'
import { bothSides } from '../support/both-sides.ts'
import { assert } from './assert.ts'
import type { Published } from './model.ts'
import type { Caller, Method, ProcessKind, Request } from './world.ts'

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
  readonly request: Request<unknown>
  /** The method of the port that it is a part of. */
  readonly method: Method
  readonly settle: (settle: () => void) => void
  /** The server has nothing to answer with yet. */
  readonly isHanging: () => boolean
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
  /** Of the parts that were carried out. */
  answers: readonly unknown[]
  /** Its caller knows that it was lost, or has given up. */
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
  changed(by: Process, method: Method, isHeard: boolean): Promise<void>
  /** Changes so far. */
  readonly changes: number
  /** A millisecond goes by. */
  tick(): Promise<void>
}

/** How the network fails a call: it is sent again because its reply was lost, or some of it is lost. */
export type Fault = 'resend' | Loss

/** A call is lost in part: so many of its parts are carried out, and fewer of them are answered. */
export interface Loss {
  readonly carriedOut: number
  readonly answered: number
  /** The server has stalled, and carries out the rest later. */
  readonly isLate: boolean
}

/** What a call is for, as its caller says. */
type Noted = Pick<Method, 'name'> & Partial<Pick<Method, 'isHandBack' | 'gave' | 'asks' | 'remainingMs'>>

/**
 * A process that runs a poller or a claimer, or publishes. Its calls and handlers wait until the test lets them go on, so that whatever two processes do
 * can happen in any order. A process runs, may be frozen and thawed (then its timers do not fire), and ends, or dies at any point.
 */
export class Process implements Caller {
  readonly name: string
  readonly clock: Clock
  /** Of its slot's lease. */
  token = ''
  waiting: Operation[] = []
  isFrozen = false
  /** It was frozen at some time. */
  wasFrozen = false
  isDead = false
  isOver = false
  /** Once it is over. */
  report: Report | undefined
  /** Something failed a call of it. */
  isFaulted = false
  /** What it has called so far. */
  readonly methods: Method[] = []
  readonly #doing = new AsyncLocalStorage<Method>()
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

  /** Lives of the group before it started. */
  bornIn = 0
  /** After how many commands it started. */
  startedAt = 0
  isOlder = false
  kind: ProcessKind = 'poll'
  deadline = 0
  lastTookMs = 0
  readonly running = new Map<Published, { readonly isLast: boolean }>()
  readySince: number | undefined
  listensSince: number | undefined
  sawDueAt: number | undefined

  get handlers(): number {
    return this.waiting.filter(({ kind }) => kind === 'handling').length
  }

  /** What it waits for still. */
  get expected(): Operation[] {
    return this.waiting.filter((operation) => operation.kind === 'handling' || !operation.isLate)
  }

  /** Nothing more comes of it, unless the server carries out what was given up. */
  get isQuiet(): boolean {
    return this.isDead || (this.isOver && this.expected.length === 0)
  }

  /** A call that the server may yet carry out, though it is given up. */
  get late(): Call | undefined {
    return this.waiting.find((operation): operation is Call => operation.kind === 'call' && operation.isLate)
  }

  /** Whether there is still something to come from it. */
  get isLive(): boolean {
    return !this.isDead && (!this.isOver || this.waiting.length > 0)
  }

  call<Reply>(request: Request<Reply>, wantedMs: number | undefined): Promise<Reply> {
    const method = this.#doing.getStore()
    if (this.isDead || !method) return new Promise(() => {})
    const timeoutMs = wantedMs ?? method.remainingMs?.()
    const label = method.name === request.label ? method.name : `${method.name} (${request.label})`
    return new Promise<Reply>((resolve, reject) => {
      const cancels: (() => void)[] = []
      const { hold } = request
      const answersAt = this.#time.nowMs + (hold?.ms ?? 0)
      const call: Call = {
        kind: 'call',
        label,
        parts: request.parts,
        request,
        method,
        resolve: resolve as (reply: unknown) => void,
        reject,
        settle(settle) {
          for (const cancel of cancels) cancel()
          settle()
        },
        isHanging: () => hold !== undefined && this.#time.nowMs < answersAt && !hold.isOver(),
        answers: [],
        isLate: false,
      }
      this.waiting.push(call)
      // where the network is prompt, the answer comes then
      if (hold) cancels.push(this.#after(hold.ms, () => {}))
      if (timeoutMs === undefined) return
      method.isTooLate = timeoutMs <= 1
      const giveUp = () => {
        this.#note(`${this.name} gives up on ${label}`)
        call.isLate = true
        this.isFaulted = true
        this.#tell(call, [], new RedisConnectionError('Cannot reach Redis: no answer within the time that was left'))
      }
      cancels.push(this.#after(Math.max(1, timeoutMs), giveUp))
    })
  }

  handle(label: string, isHanging: () => boolean, end: () => void): void {
    this.waiting.push({ kind: 'handling', label, isHanging, end })
  }

  /** A connection that notes what this process is doing, and the lease it is given. */
  observe(connection: Connection): Connection {
    const noting = (group: Group) =>
      new Proxy(group, {
        get: (_group, name, noted: unknown) => {
          if (name === 'claims') return noted
          if (name === 'openWaiter') return () => this.#observeWaiter(openEntryWaiter(group))
          const member: unknown = Reflect.get(group, name)
          if (typeof member !== 'function') return member
          return async (...args: unknown[]) => {
            const isHandBack = name === 'giveSlot' || (name === 'settle' && args[2] !== undefined)
            const gave = name === 'giveSlot' ? (args[0] as Slot).consumerName : undefined
            const call = () => Reflect.apply(member, group, args) as Promise<unknown>
            const reply = await this.noted({ name: String(name), isHandBack, gave }, call)
            if (typeof reply !== 'object' || reply === null) return reply
            const slot = 'slot' in reply ? (reply.slot as object) : reply
            if ('token' in slot) this.token = String(slot.token)
            return reply
          }
        },
      })
    return { ...connection, group: (address, remainingMs) => noting(bothSides(connection.group(address, remainingMs))) }
  }

  #observeWaiter(waiter: EntryWaiter): EntryWaiter {
    return {
      maxWaitMs: waiter.maxWaitMs,
      read: (slot, request) => this.noted({ name: 'read' }, () => waiter.read(slot, request)),
      end: () => waiter.end(),
    }
  }

  /** Makes a call of the port, or of what else takes to the server. @param heard Called with it once it was answered. */
  async noted<Reply>(
    what: Noted,
    call: () => Promise<Reply>,
    heard?: (method: Method, reply: Reply) => void,
  ): Promise<Reply> {
    const { changes } = this.#server
    const { name, isHandBack = false, gave, asks = [], remainingMs } = what
    const called = { name, isHandBack, gave, asks, remainingMs, sentAt: changes, carriedOutAt: changes }
    const method: Method = { ...called, lostAt: undefined, isTooLate: false, isAnswered: false }
    this.methods.push(method)
    const reply = await this.#doing.run(method, call)
    method.isAnswered = method.lostAt === undefined
    if (method.isAnswered && name === 'settleAndGiveBack') this.#forgetLateTakes()
    heard?.(method, reply)
    return reply
  }

  // a limit: what a poller's take brings after it was given back passes for what a lost read brought, whose delivery was not used
  #forgetLateTakes(): void {
    const isLateTake = (one: Operation) => one.kind === 'call' && one.isLate && one.method.name === 'settleAndTake'
    if (this.kind === 'poll') this.waiting = this.waiting.filter((one) => !isLateTake(one))
  }

  /** When a run is over none of its commands and timers may be left, but for what was given up, or if it was frozen past its deadline. */
  assertEnded(): void {
    if (this.wasFrozen) return
    const calls = this.expected.filter(({ kind }) => kind === 'call')
    assert(calls.length + this.#timers.size === 0, `${this.name} has ended and left commands or timers behind`)
  }

  /** Lets an operation come to its end. */
  async go(operation: Operation): Promise<void> {
    if (operation.kind === 'handling') {
      this.#note(`${this.name} ${operation.label}`)
      this.#leave(operation)
      operation.end()
    } else {
      await this.send(operation)
      this.#answer(operation)
    }
    await setImmediate()
  }

  /** Has a call carried out; its reply is on the way. */
  async send(call: Call): Promise<void> {
    if (call.answers.length === call.parts) return
    this.#note(`${this.name} ${call.label}${call.isLate ? ', late' : ''}`)
    await this.#carryOut(call, call.parts, !call.isLate)
  }

  async fail(call: Call, fault: Fault): Promise<void> {
    if (call.isLate) return
    this.isFaulted = true
    if (fault === 'resend') {
      await this.send(call)
      call.answers = []
      await this.send(call)
      this.#answer(call)
    } else await this.#lose(call, fault)
    await setImmediate()
  }

  async #lose(call: Call, { carriedOut, answered, isLate }: Loss): Promise<void> {
    const { parts } = call
    const upTo = Math.max(call.answers.length, Math.min(carriedOut, parts))
    const heard = Math.min(answered, upTo, parts - 1)
    this.#note(`${this.name} loses ${call.label}: ${upTo} of ${parts} are carried out, ${heard} answered`)
    await this.#carryOut(call, heard, true)
    await this.#carryOut(call, upTo, false)
    call.isLate = true
    if (!isLate || upTo === parts) this.#leave(call)
    const error = new RedisConnectionError('Cannot reach Redis: the connection broke')
    this.#tell(call, call.answers.slice(0, heard), error)
  }

  /** Dies at once; of a call that is on its way that many commands are still carried out. */
  async die(call?: Call, parts = 0): Promise<void> {
    this.#note(`${this.name} dies`)
    this.isDead = true
    this.waiting = []
    this.#timers.clear()
    if (!call || parts === 0) return
    this.#note(`  and ${Math.min(parts, call.parts)} of ${call.parts} commands of ${call.label} are carried out`)
    await this.#carryOut(call, Math.min(parts, call.parts), false)
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

  async #carryOut(call: Call, upTo: number, isHeard: boolean): Promise<void> {
    if (call.answers.length >= upTo) return
    const { request, answers, method } = call
    call.answers = [...answers, ...(await request.carryOut(answers.length, upTo))]
    await this.#server.changed(this, method, isHeard)
    method.carriedOutAt = this.#server.changes
  }

  #answer(call: Call): void {
    this.#leave(call)
    if (!call.isLate) this.#tell(call, call.answers)
  }

  #tell(call: Call, answers: readonly unknown[], lost?: RedisConnectionError): void {
    if (lost) call.method.lostAt ??= this.#server.changes
    call.settle(() => {
      try {
        call.resolve(call.request.reply(answers, lost))
      } catch (error) {
        call.reject(error)
      }
    })
  }

  #leave(operation: Operation): void {
    this.waiting = this.waiting.filter((other) => other !== operation)
  }
}

export interface Timer {
  readonly at: number
  readonly callback: () => void
}

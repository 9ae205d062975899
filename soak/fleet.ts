import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../demo/random.ts'
import type { FaultProxy } from '../test/support/fault-proxy.ts'
import { startFaultProxy } from '../test/support/fault-proxy.ts'
import { guard } from '../tools/guard.ts'
import type { PrivateRedis } from '../tools/redis-server.ts'
import type { Journal } from './journal.ts'
import { now } from './time.ts'

export type Action = 'poll' | 'claim'

/** What a worker is started with. */
export interface WorkerOrder {
  readonly url: string
  readonly action: Action
  readonly dir: string
  readonly name: string
  /** It was deployed before a newer version of the event was. */
  readonly isOlder: boolean
  /** It keeps the order of keys. */
  readonly isOrdered: boolean
  /** A poller listens, and a claimer waits for what is due next, until their time is up; else they end once nothing is left to do. */
  readonly waits: boolean
}

/** What wakes a worker. */
export interface Invoke {
  readonly invocation: number
  readonly remainingMs: number
}

/** Milliseconds, from and up to. */
type Range = readonly [number, number]

/** When invocations come. */
export type Timing = Readonly<Record<Action, { readonly remainingMs: Range; readonly pauseMs: Range }>>

/** One process, from its start to its end, as seen from outside. */
export interface Life {
  readonly name: string
  readonly seat: number
  readonly action: Action
  /** Whether it talks to the server through its seat's proxy. */
  readonly isProxied: boolean
  readonly startedAt: number
  readonly diedAt: number
  /** How it ended: killed by a fault, killed for not ending its invocation in time, sent home, or by itself. */
  readonly end: 'killed' | 'timed out' | 'stopped' | 'by itself'
}

export interface FleetOptions {
  readonly server: PrivateRedis
  /** Where the processes put their notes. */
  readonly dir: string
  readonly journal: Journal
  readonly timing: Timing
  /** They keep the order of keys. */
  readonly isOrdered?: boolean
  /** Chance for a seat. */
  random(seat: number): Random
}

const PROGRAM = new URL('./worker.ts', import.meta.url).pathname
/** Lambda ends an invocation at its deadline; a busy machine gets that much more. */
const GRACE_MS = 1_000
/** What a process that was frozen beyond its deadline may still do. */
const THAW_MS = 1_500
const WATCH_MS = 50
const BETWEEN_LIVES_MS = [20, 300] as const

/** The processes that poll and claim: each seat holds one, and a new one as soon as it died. */
export class Fleet {
  readonly seats: readonly Seat[]
  readonly #runs: Promise<void>[]
  readonly #watch: NodeJS.Timeout

  private constructor(seats: readonly Seat[]) {
    this.seats = seats
    this.#runs = seats.map((seat) => seat.run())
    let last = now()
    this.#watch = setInterval(() => {
      const lateMs = Math.max(0, now() - last - WATCH_MS)
      last = now()
      for (const seat of seats) seat.enforceDeadline(lateMs)
    }, WATCH_MS)
  }

  static async start(actions: readonly Action[], options: FleetOptions): Promise<Fleet> {
    const proxies = await Promise.all(actions.map(() => startFaultProxy(options.server)))
    return new Fleet(actions.map((action, n) => new Seat(n, action, proxies[n] as FaultProxy, options)))
  }

  /** Every process there was, once all have ended. */
  get lives(): Life[] {
    return this.seats.flatMap((seat) => seat.lives)
  }

  get invocations(): number {
    return this.seats.reduce((sum, seat) => sum + seat.invocations, 0)
  }

  /** Ends the processes, after the invocation that each runs or at once; rejects if one could not be started. */
  async stop(isUrgent: boolean): Promise<void> {
    for (const seat of this.seats) seat.stop(isUrgent)
    const ended = await Promise.allSettled(this.#runs)
    clearInterval(this.#watch)
    await Promise.all(this.seats.map((seat) => seat.proxy.close()))
    for (const result of ended) if (result.status === 'rejected') throw result.reason
  }
}

/** One place for a process, with a proxy of its own. It is frozen at times; its deadline is set while an invocation runs. */
export class Seat {
  readonly number: number
  readonly action: Action
  readonly proxy: FaultProxy
  readonly lives: Life[] = []
  invocations = 0
  readonly #options: FleetOptions
  readonly #random: Random
  readonly #over = new AbortController()
  #child: ChildProcess | undefined
  #end: Life['end'] | undefined
  #deadline = Number.POSITIVE_INFINITY
  #isFrozen = false
  #isStalled = false

  constructor(number: number, action: Action, proxy: FaultProxy, options: FleetOptions) {
    this.number = number
    this.action = action
    this.proxy = proxy
    this.#options = options
    this.#random = options.random(number)
  }

  /** Whether an invocation runs. */
  get isBusy(): boolean {
    return this.#deadline < Number.POSITIVE_INFINITY
  }

  /** One process after the other, until the soak is over. */
  async run(): Promise<void> {
    while (!this.#over.signal.aborted) {
      await this.#live()
      await this.#pause(BETWEEN_LIVES_MS)
    }
  }

  stop(isUrgent: boolean): void {
    this.#over.abort()
    if (isUrgent) this.#kill('stopped')
  }

  /** A crash. */
  kill(): void {
    if (this.#child === undefined || this.#end !== undefined) return
    this.#options.journal.moment('process killed', this.number)
    this.#kill('killed')
  }

  /** Lets the process stand still, and go on when others may have taken over what it held. */
  async freeze(ms: number, signal: AbortSignal): Promise<void> {
    const child = this.#child
    if (child === undefined || this.#isFrozen || !child.kill('SIGSTOP')) return
    const isOver = this.#options.journal.begin('process frozen', this.number)
    const gone = new AbortController()
    child.once('exit', () => gone.abort())
    this.#isFrozen = true
    await sleep(ms, undefined, { signal: AbortSignal.any([signal, gone.signal]) }).catch(() => {})
    this.#isFrozen = false
    if (this.#child === child) this.#deadline = Math.max(this.#deadline, now() + THAW_MS)
    child.kill('SIGCONT')
    isOver()
  }

  /** Lets nothing through between the process and the server for a while. */
  async stall(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isStalled) return
    const isOver = this.#options.journal.begin('connection stalled', this.number)
    this.#isStalled = true
    this.proxy.stall()
    await sleep(ms, undefined, { signal }).catch(() => {})
    this.proxy.resume()
    this.#isStalled = false
    isOver()
  }

  sever(): void {
    this.#options.journal.moment('connection severed', this.number)
    this.proxy.severAll()
  }

  /**
   * Kills a process that has not ended its invocation in time, as Lambda does.
   *
   * @param unseenMs Milliseconds for which nobody watched, as this process got no processor: the word that an invocation has ended may have come meanwhile, and is not
   * read yet. The deadline moves by as much.
   */
  enforceDeadline(unseenMs: number): void {
    this.#deadline += unseenMs
    if (now() > this.#deadline + GRACE_MS && !this.#isFrozen) this.#kill('timed out')
  }

  #kill(end: Life['end']): void {
    if (this.#child === undefined) return
    this.#end ??= end
    this.#child.kill('SIGKILL')
  }

  async #live(): Promise<void> {
    const { server, dir, isOrdered = false } = this.#options
    const isProxied = this.#random.integer(0, 4) > 0
    const name = `${isOrdered ? 'ordered' : 'worker'}-${this.number}-${this.lives.length}`
    // on every other seat, so that there is always somebody for what the older ones leave
    const isOlder = !isOrdered && this.number % 2 === 1 && this.#random.integer(0, 2) > 0
    const waits = (!isOrdered || this.action === 'claim') && this.#random.integer(0, 2) > 0
    const url = isProxied ? this.proxy.url : server.url
    const order: WorkerOrder = { url, action: this.action, dir, name, isOlder, isOrdered, waits }
    const startedAt = now()
    this.#end = undefined
    const child = fork(PROGRAM, [JSON.stringify(order)], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    guard(child)
    const exited = once(child, 'exit')
    this.#child = child
    try {
      if (await this.#answered(child, exited)) await this.#invokeUntilGone(child, exited)
      if (child.connected) {
        this.#end ??= 'stopped'
        child.disconnect()
      }
      await exited
    } finally {
      this.#child = undefined
      this.#deadline = Number.POSITIVE_INFINITY
      const life = { name, seat: this.number, action: this.action, isProxied, startedAt, diedAt: now() }
      this.lives.push({ ...life, end: this.#end ?? 'by itself' })
    }
  }

  async #invokeUntilGone(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
    const timing = this.#options.timing[this.action]
    while (!this.#over.signal.aborted && child.connected) {
      const remainingMs = this.#random.integer(...timing.remainingMs)
      this.#deadline = now() + remainingMs
      const invoke: Invoke = { invocation: ++this.invocations, remainingMs }
      child.send(invoke, () => {})
      if (!(await this.#answered(child, exited))) return
      this.#deadline = Number.POSITIVE_INFINITY
      await this.#pause(timing.pauseMs)
    }
  }

  /** Whether the process said something before it was gone. */
  async #answered(child: ChildProcess, exited: Promise<unknown>): Promise<boolean> {
    const answer = new AbortController()
    const spoke = once(child, 'message', { signal: answer.signal }).then(
      () => true,
      () => false,
    )
    try {
      return await Promise.race([spoke, exited.then(() => false)])
    } finally {
      answer.abort()
    }
  }

  async #pause(range: Range): Promise<void> {
    await sleep(this.#random.integer(...range), undefined, { signal: this.#over.signal }).catch(() => {})
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, Connection, Consumer, ConsumerOptions, EventHandler } from 'millrace'
import { claim, defineConsumer, defineEvent, NonRetryableError, on, orderedBy, poll } from 'millrace'
import * as z from 'zod/mini'
import type { OrderLetters } from './order-letters.ts'
import { wentPast } from './order-letters.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ key: z.string(), kind: z.string() }) })

/** What becomes of an entry's calls. */
export type Kind = 'good' | 'flaky' | 'poison' | 'fatal' | 'killer' | 'frozen'

/** Chance from a seed. */
export class Chance {
  #a: number
  constructor(seed: number) {
    this.#a = (seed * 2_654_435_761) >>> 0
  }
  next(): number {
    this.#a = (this.#a + 0x6d2b79f5) | 0
    let t = Math.imul(this.#a ^ (this.#a >>> 15), 1 | this.#a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }
  is(chance: number): boolean {
    return this.next() < chance
  }
  of<T>(some: readonly T[]): T {
    return some[this.int(0, some.length - 1)] as T
  }
}

interface KnownEntry {
  readonly id: string
  readonly key: string
  readonly kind: Kind
  calls: number
  /** Calls of a life before, or before a redrive, do not count. */
  mayRepeat: boolean
  isRedriven: boolean
}

/** A process: its connection may lose requests and answers, and end for good. */
export class Process {
  isDead = false
  isExcused = false
  readonly decided = new Set<string>()
  readonly running = new Map<string, string>()
  readonly late: Promise<unknown>[] = []
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** What becomes of a request: carried out without an answer, or not at all, or in part, or after its caller gave up. */
export type Fault = 'unanswered' | 'never' | 'part' | 'late'

/** A server, and what a test does to it from outside. */
export interface OrderServer extends OrderLetters {
  add(fields: Readonly<Record<string, string>>): Promise<string>
  /** Entries that are pending, or were not read. */
  undone(): Promise<number>
  /** What is left, to be read by people. */
  left(): Promise<string>
  /** Time goes by on the server. */
  pass(ms: number): Promise<void>
  /** Ids of entries that are dead letters. */
  letters(): Promise<readonly string[]>
  redrive(consumer: Consumer): Promise<void>
  loseGroup(): Promise<void>
  /** Takes the oldest entries off. */
  trim(count: number): Promise<void>
  pending(): Promise<readonly string[]>
  /** Somebody knows of an entry that was redriven: it goes before all that is undone of its key by then. */
  isPlaced(id: string): Promise<boolean>
  has(id: string): Promise<boolean>
  /** What a process talks by. */
  connect(process: Process, fault: () => Fault | undefined): Connection
}

/** Plays processes of one ordered group at a real server against each other, and watches over the order. */
export class OrderWorld {
  readonly violations: string[] = []
  readonly story: string[] = []
  readonly entries = new Map<string, KnownEntry>()
  readonly #server: OrderServer
  readonly #chance: Chance
  readonly #processes = new Set<Process>()
  #faultRate = 0
  #offset = 0
  #thaw: (() => void)[] = []
  #count = 0
  readonly #consumer: Partial<ConsumerOptions>
  #afterDeadLetter: 'continue' | 'wait'

  constructor(server: OrderServer, seed: number) {
    this.#server = server
    this.#chance = new Chance(seed)
    this.#afterDeadLetter = seed % 2 === 0 ? 'wait' : 'continue'
    this.#consumer = {
      concurrency: this.#chance.int(1, 4),
      batchSize: this.#chance.of([1, 2, 5, 100]),
      maxDeliveries: this.#chance.int(2, 4),
      backoff: { firstMs: this.#chance.of([0, 5]), factor: 1, maxMs: 5 },
    }
  }

  async close(): Promise<void> {
    for (const thaw of this.#thaw.splice(0)) thaw()
    await Promise.all([...this.#processes].flatMap(({ late }) => late))
  }

  async play(): Promise<void> {
    const chance = this.#chance
    const keys = ['a', 'b', 'c', 'd'].slice(0, chance.int(1, 4))
    const kinds: Kind[] = chance.of([
      ['good'],
      ['good', 'good', 'flaky'],
      ['good', 'good', 'flaky', 'poison', 'fatal'],
      ['good', 'good', 'flaky', 'killer'],
      ['good', 'flaky', 'frozen', 'poison'],
    ])
    const moves = { redrive: chance.is(0.3), group: chance.is(0.25), trim: chance.is(0.15) }
    const faultRate = chance.of([0, 0, 0.05, 0.15])
    const publish = async (most: number) => {
      for (let n = chance.int(1, most); n > 0; n--) await this.#publish(chance.of(keys), chance.of(kinds))
    }
    await publish(12)
    for (let round = 0; round < 12; round++) {
      this.#faultRate = round < 6 ? faultRate : 0
      await this.#noteRedriven()
      const who = chance.of([['poll'], ['poll', 'claim'], ['poll', 'claim', 'claim'], ['claim'], ['poll', 'poll']])
      const runs = who.map((action) => this.#run(action as 'poll' | 'claim'))
      if (chance.is(0.5) && round < 6) await publish(4)
      await this.#settled(runs)
      if (round < 6) await this.#move(moves)
      if (chance.is(0.6)) await this.#pass()
      if (chance.is(0.5)) for (const thaw of this.#thaw.splice(0)) thaw()
    }
    this.#faultRate = 0
    for (let round = 0; round < 80 && (await this.#server.undone()) > 0; round++) {
      for (const thaw of this.#thaw.splice(0)) thaw()
      await this.#pass()
      if (this.#afterDeadLetter === 'wait')
        await this.#server.dropLetters(this.#make(new Process('operator')), round % 2 === 0)
      await this.#settled([this.#run('poll')])
      await this.#settled([this.#run('claim')])
    }
    const called = [...this.entries.values()].filter(({ calls }) => calls > 0).length
    if (called === 0) this.violations.push('nothing was called')
    if ((await this.#server.undone()) > 0) this.violations.push(`stuck: ${await this.#server.left()}`)
  }

  /** Frozen ones go on beside what comes next. */
  async #settled(runs: readonly Promise<unknown>[]): Promise<void> {
    let isFrozen = false
    let isOver = false
    const watch = (async () => {
      for (;;) {
        await sleep(2)
        if (this.#thaw.length > 0) {
          isFrozen = true
          await sleep(20)
          return
        }
        if (isOver) return
      }
    })()
    await Promise.race([
      Promise.all(runs).then(() => {
        isOver = true
      }),
      watch,
    ])
    if (!isFrozen) await Promise.all(runs)
  }

  /** What was redriven goes before all that is undone of its key once a run that began later can know of it. */
  async #noteRedriven(): Promise<void> {
    for (const entry of this.entries.values())
      if (entry.isRedriven && (await this.#server.isPlaced(entry.id))) entry.isRedriven = false
  }

  async #publish(key: string, kind: Kind): Promise<void> {
    const n = ++this.#count
    const id = await this.#server.add({
      eventId: `e${n}`,
      eventType: 'Stepped',
      aggregateId: key,
      payload: JSON.stringify({ key, kind }),
    })
    this.entries.set(id, { id, key, kind, calls: 0, mayRepeat: false, isRedriven: false })
    this.story.push(`publish ${key} ${id} ${kind}`)
  }

  /** Time goes by: two minutes, so that leases end, and what is held is idle. */
  async #pass(): Promise<void> {
    const ms = 120_000
    this.#offset += ms
    this.story.push('two minutes go by')
    for (const process of this.#processes) process.isExcused = true
    await this.#server.pass(ms)
  }

  async #move(moves: { redrive: boolean; group: boolean; trim: boolean }): Promise<void> {
    if (moves.redrive && this.#chance.is(0.5)) {
      const letters = await this.#server.letters()
      for (const id of letters) {
        const entry = this.entries.get(id)
        if (entry) entry.mayRepeat = entry.isRedriven = true
      }
      if (letters.length > 0) {
        this.story.push('redrive')
        await this.#server.redrive(this.#make(new Process('operator')))
        for (const process of this.#processes) for (const id of letters) process.decided.delete(id)
      }
    }
    if (this.#afterDeadLetter === 'wait' && this.#chance.is(0.2)) {
      const byHand = this.#chance.is(0.3)
      this.story.push(byHand ? 'letters are deleted' : 'drop')
      await this.#server.dropLetters(this.#make(new Process('operator')), byHand)
    }
    if (this.#afterDeadLetter === 'wait' && this.#chance.is(0.02)) {
      this.story.push('a deployment that waits for no letters')
      this.#afterDeadLetter = 'continue'
    }
    if (moves.group && this.#chance.is(0.2)) {
      this.story.push('the group is lost')
      await this.#server.loseGroup()
      for (const entry of this.entries.values()) entry.mayRepeat = true
      for (const process of this.#processes) process.isExcused = true
    }
    if (moves.trim && this.#chance.is(0.3)) {
      this.story.push('trim')
      await this.#server.trim(this.#chance.int(1, 3))
    }
  }

  #clock(): Clock {
    return {
      now: () => Date.now() + this.#offset,
      monotonic: () => performance.now() + this.#offset,
      after(ms, callback) {
        const timer = setTimeout(callback, ms)
        return () => clearTimeout(timer)
      },
    }
  }

  async #run(action: 'poll' | 'claim'): Promise<void> {
    const process = new Process(`${action}${this.#processes.size}`)
    this.#processes.add(process)
    const redis = this.#server.connect(process, () => this.#fault(process))
    const options = { redis, remainingMs: 20_000, clock: this.#clock() }
    this.story.push(`${process.name} begins`)
    const consumer = this.#make(process)
    const error: unknown = await (action === 'poll'
      ? poll(consumer, options)
      : claim(consumer, { ...options, lingerMs: 0 })
    ).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    process.isExcused = true
    process.running.clear()
    this.story.push(`${process.name} ends${error ? `: ${String((error as Error).message)}` : ''}`)
    if (error && !/answer|connection|reach/i.test(String((error as Error).message)))
      this.violations.push(`${process.name} failed: ${String((error as Error).message)}`)
  }

  #make(process: Process): Consumer {
    return defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        on(Stepped, ((event, context) => this.#handle(process, event, context)) as EventHandler<never> as EventHandler),
      ],
      use: [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter: this.#afterDeadLetter })],
      ...this.#consumer,
    })
  }

  async #handle(
    process: Process,
    { payload: { key, kind } }: { payload: { key: string; kind: string } },
    { entryId, deliveryCount, maxDeliveries }: { entryId: string; deliveryCount: number; maxDeliveries: number },
  ): Promise<void> {
    if (process.isDead) return
    const entry = this.entries.get(entryId) as KnownEntry
    entry.calls++
    this.story.push(`${process.name} starts ${key} ${entryId} x${deliveryCount}`)
    for (const other of this.#processes)
      if (!other.isDead && !other.isExcused && other.running.has(key) && !process.isExcused)
        this.violations.push(
          `two at once: ${process.name} starts ${entryId} while ${other.name} runs ${other.running.get(key)}`,
        )
    process.running.set(key, entryId)
    if (!process.isExcused) await this.#watch(process, entry)
    if (this.#afterDeadLetter === 'wait' && !process.isExcused)
      for (const other of await wentPast(this.#server, entry, this.entries.values(), isBelow))
        if (!process.isExcused)
          this.violations.push(`went past: ${process.name} starts ${entryId} before the letter of ${other}`)
    if (entry.calls > maxDeliveries && !entry.mayRepeat) this.violations.push(`called ${entry.calls} times: ${entryId}`)
    await sleep(this.#chance.int(0, 3))
    const fail = (error: Error, isDone: boolean): never => {
      this.#end(process, key, entryId, isDone)
      throw error
    }
    const isLast = deliveryCount >= maxDeliveries
    if (kind === 'poison' || (kind === 'flaky' && deliveryCount === 1)) fail(new Error('no'), isLast)
    if (kind === 'fatal') fail(new NonRetryableError('never'), true)
    if (kind === 'killer' && this.#chance.is(0.6) && !process.isDead) {
      process.isDead = true
      this.story.push(`${process.name} dies`)
      process.running.clear()
      return
    }
    if (kind === 'frozen' && this.#chance.is(0.5)) {
      this.story.push(`${process.name} freezes`)
      await new Promise<void>((resolve) => this.#thaw.push(resolve))
      this.story.push(`${process.name} goes on`)
    }
    this.#end(process, key, entryId, true)
  }

  #end(process: Process, key: string, entryId: string, isDone: boolean): void {
    process.running.delete(key)
    if (isDone) process.decided.add(entryId)
    this.story.push(`${process.name} ends ${entryId}${isDone ? '' : ', failed'}`)
  }

  /** All that goes before it of its key is decided in this run, or stored. */
  async #watch(process: Process, { id, key }: KnownEntry): Promise<void> {
    const before = [...this.entries.values()].filter(
      (other) => other.key === key && isBelow(other.id, id) && !process.decided.has(other.id),
    )
    if (before.length === 0) return
    const pending = await this.#server.pending()
    for (const other of before)
      if (
        pending.includes(other.id) &&
        !process.decided.has(other.id) &&
        !process.isExcused &&
        (await this.#server.has(other.id)) &&
        !other.isRedriven
      )
        this.violations.push(`overtook: ${process.name} starts ${id} before ${other.id}`)
  }

  #fault(process: Process): Fault | undefined {
    if (!this.#chance.is(this.#faultRate)) return undefined
    const fault = this.#chance.of(['unanswered', 'never', 'part', 'late'] as const)
    this.story.push(`${process.name}: ${fault}`)
    return fault
  }
}

function isBelow(a: string, b: string): boolean {
  const [x = [], y = []] = [a, b].map((id) => id.split('-').map(Number))
  return (x[0] as number) < (y[0] as number) || (x[0] === y[0] && (x[1] as number) < (y[1] as number))
}

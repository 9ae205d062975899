import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Clock, Connection, Consumer, ConsumerOptions, EventHandler } from 'millrace'
import { claim, defineConsumer, defineEvent, NonRetryableError, on, orderedBy, poll, RedisConnectionError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { redriveDeadLetters } from 'millrace/operate'
import * as z from 'zod/mini'
import { createRedisConnection } from '../../dist/group/redis/redis-connection.js'
import type { RedisCommand, ReplyOrConnectionError, Transport } from '../../src/group/redis/transport.ts'

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
}

/** A process: its connection may lose requests and answers, and end for good. */
class Process {
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

/** Plays processes of one ordered group at a real server against each other, and watches over the order. */
export class OrderWorld {
  readonly violations: string[] = []
  readonly story: string[] = []
  readonly entries = new Map<string, KnownEntry>()
  readonly #raw: Redis
  readonly #inner: Connection & { readonly transport: Transport }
  readonly #chance: Chance
  readonly #processes = new Set<Process>()
  #faultRate = 0
  #offset = 0
  #thaw: (() => void)[] = []
  #count = 0
  readonly #consumer: Partial<ConsumerOptions>

  constructor(url: string, seed: number) {
    this.#raw = new Redis(url)
    this.#inner = connectIoredis(url) as never
    this.#chance = new Chance(seed)
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
    await this.#inner.close()
    this.#raw.disconnect()
  }

  async reset(): Promise<void> {
    await this.#raw.flushall()
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
      const who = chance.of([['poll'], ['poll', 'claim'], ['poll', 'claim', 'claim'], ['claim'], ['poll', 'poll']])
      const runs = who.map((action) => this.#run(action as 'poll' | 'claim'))
      if (chance.is(0.5) && round < 6) await publish(4)
      await this.#settled(runs)
      if (round < 6) await this.#move(moves)
      if (chance.is(0.6)) await this.#pass()
      if (chance.is(0.5)) for (const thaw of this.#thaw.splice(0)) thaw()
    }
    this.#faultRate = 0
    for (let round = 0; round < 20 && (await this.#undone()) > 0; round++) {
      for (const thaw of this.#thaw.splice(0)) thaw()
      await this.#pass()
      await this.#settled([this.#run('poll')])
      await this.#settled([this.#run('claim')])
    }
    if ((await this.#undone()) > 0) this.violations.push(`stuck: ${await this.#left()}`)
  }

  /** Frozen ones go on beside what comes next. */
  async #settled(runs: readonly Promise<unknown>[]): Promise<void> {
    let isFrozen = false
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
    let isOver = false
    await Promise.race([
      Promise.all(runs).then(() => {
        isOver = true
      }),
      watch,
    ])
    if (!isFrozen) await Promise.all(runs)
  }

  async #publish(key: string, kind: Kind): Promise<void> {
    const n = ++this.#count
    const id = (await this.#raw.xadd(
      'orders', '*', 'id', `e${n}`, 'type', 'Stepped', 'aggregateId', key, 'payload', JSON.stringify({ key, kind }),
    )) as string
    this.entries.set(id, { id, key, kind, calls: 0, mayRepeat: false })
    this.story.push(`publish ${key} ${id} ${kind}`)
  }

  async #undone(): Promise<number> {
    const groups = (await this.#raw.xinfo('GROUPS', 'orders').catch(() => [])) as unknown[][]
    const [info] = groups
    if (!info) return 1
    const read = String(info[info.indexOf('last-delivered-id') + 1])
    const behind = await this.#raw.xrange('orders', `(${read}`, '+', 'COUNT', 1)
    return Number(info[info.indexOf('pending') + 1]) + behind.length
  }

  async #left(): Promise<string> {
    return JSON.stringify([
      await this.#raw.xpending('orders', 'billing', '-', '+', 100),
      await this.#raw.zrange('{orders}:billing:due', 0, -1, 'WITHSCORES'),
      await this.#raw.zrange('{orders}:billing:waiting', 0, -1),
      await this.#raw.hgetall('{orders}:billing:lanes'),
      await this.#raw.hgetall('{orders}:billing:lane-of'),
    ])
  }

  /** Time goes by: two minutes, so that leases end, and what is held is idle. */
  async #pass(): Promise<void> {
    const ms = 120_000
    this.#offset += ms
    this.story.push('two minutes go by')
    for (const process of this.#processes) process.isExcused = true
    for (const name of ['poller-0', 'claimer-0', 'claimer-1']) await this.#raw.del(`{orders}:billing:slot:${name}`)
    const rows = (await this.#raw.xpending('orders', 'billing', '-', '+', 1_000).catch(() => [])) as [string, string, number][]
    for (const [id, owner, idle] of rows)
      if ((await this.#raw.xrange('orders', id, id)).length > 0)
        await this.#raw.xclaim('orders', 'billing', owner, 0, id, 'IDLE', idle + ms, 'JUSTID')
    const due = await this.#raw.zrangebyscore('{orders}:billing:due', '-inf', '(9000000000000000')
    for (const id of due) await this.#raw.zincrby('{orders}:billing:due', -ms * 1_024, id)
  }

  async #move(moves: { redrive: boolean; group: boolean; trim: boolean }): Promise<void> {
    if (moves.redrive && this.#chance.is(0.5)) {
      const letters = await this.#raw.xrange('{orders}:billing:dlq', '-', '+')
      for (const [, fields] of letters) {
        const id = fields[3] as string
        const entry = this.entries.get(id)
        if (entry) entry.mayRepeat = true
      }
      if (letters.length > 0) {
        this.story.push('redrive')
        await redriveDeadLetters(this.#make(new Process('operator')), { redis: this.#inner, all: true })
        for (const process of this.#processes) for (const [, fields] of letters) process.decided.delete(fields[3] as string)
      }
    }
    if (moves.group && this.#chance.is(0.2)) {
      this.story.push('the group is lost')
      await this.#raw.xgroup('DESTROY', 'orders', 'billing')
      for (const entry of this.entries.values()) entry.mayRepeat = true
      for (const process of this.#processes) process.isExcused = true
    }
    if (moves.trim && this.#chance.is(0.3)) {
      const length = await this.#raw.xlen('orders')
      this.story.push('trim')
      await this.#raw.xtrim('orders', 'MAXLEN', Math.max(0, length - this.#chance.int(1, 3)))
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
    const redis = createRedisConnection(this.#lossy(process) as never)
    const options = { redis, remainingMs: 20_000, clock: this.#clock() }
    this.story.push(`${process.name} begins`)
    const consumer = this.#make(process)
    const error: unknown = await (action === 'poll' ? poll(consumer, options) : claim(consumer, { ...options, lingerMs: 0 })).then(
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
      routes: [on(Stepped, ((event, context) => this.#handle(process, event, context)) as EventHandler<never> as EventHandler)],
      use: [orderedBy(({ aggregateId }) => aggregateId)],
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
        this.violations.push(`two at once: ${process.name} starts ${entryId} while ${other.name} runs ${other.running.get(key)}`)
    process.running.set(key, entryId)
    if (!process.isExcused) await this.#watch(process, entry)
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
    const before = [...this.entries.values()].filter((other) => other.key === key && isBelow(other.id, id) && !process.decided.has(other.id))
    if (before.length === 0) return
    const pending = (await this.#raw.xpending('orders', 'billing', '-', `(${id}`, 1_000).catch(() => [])) as [string, string][]
    for (const other of before)
      if (pending.some(([one]) => one === other.id) && !process.decided.has(other.id) && !process.isExcused && (await this.#raw.xrange('orders', other.id, other.id)).length > 0)
        this.violations.push(`overtook: ${process.name} starts ${id} before ${other.id}`)
  }

  #lossy(process: Process): Transport {
    const { transport } = this.#inner
    const lost = () => new RedisConnectionError('no answer')
    return {
      scriptPrefix: transport.scriptPrefix,
      send: async (commands: readonly RedisCommand[], timeoutMs?: number): Promise<ReplyOrConnectionError[]> => {
        if (process.isDead) throw lost()
        if (!this.#chance.is(this.#faultRate)) {
          const answers = await transport.send(commands, timeoutMs)
          if (process.isDead) throw lost()
          return answers
        }
        const fault = this.#chance.of(['unanswered', 'never', 'part', 'late'])
        this.story.push(`${process.name}: ${fault}`)
        const carryOut = (some: readonly RedisCommand[]) => transport.send(some, timeoutMs).catch(() => [])
        if (fault === 'unanswered') await carryOut(commands)
        if (fault === 'part' && commands.length > 1) await carryOut(commands.slice(0, this.#chance.int(1, commands.length - 1)))
        if (fault === 'late') process.late.push(sleep(this.#chance.int(5, 60)).then(() => carryOut(commands)))
        throw lost()
      },
      close: async () => {},
    }
  }
}

function isBelow(a: string, b: string): boolean {
  const [x = [], y = []] = [a, b].map((id) => id.split('-').map(Number))
  return (x[0] as number) < (y[0] as number) || (x[0] === y[0] && (x[1] as number) < (y[1] as number))
}

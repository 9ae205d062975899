import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Connection, Consumer } from 'millrace'
import { RedisConnectionError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { dropDeadLetters, redriveDeadLetters } from 'millrace/operate'
import { createRedisConnection } from '../../dist/group/redis/redis-connection.js'
import type { RedisCommand, ReplyOrConnectionError, Transport } from '../../src/group/redis/transport.ts'
import { passOnDue } from '../support/due.ts'
import type { Fault, OrderServer, Process } from './order-world.ts'

const GROUP = ['orders', 'billing'] as const

/** A real server for `OrderWorld`. */
export class OrderRedis implements OrderServer {
  readonly #raw: Redis
  readonly #inner: Connection & { readonly transport: Transport }

  constructor(url: string) {
    this.#raw = new Redis(url)
    this.#inner = connectIoredis(url) as never
  }

  async close(): Promise<void> {
    await this.#inner.close()
    this.#raw.disconnect()
  }

  async reset(): Promise<void> {
    await this.#raw.flushall()
  }

  async add(fields: Readonly<Record<string, string>>): Promise<string> {
    return (await this.#raw.xadd('orders', '*', ...Object.entries(fields).flat())) as string
  }

  async undone(): Promise<number> {
    const [info] = (await this.#raw.xinfo('GROUPS', 'orders').catch(() => [])) as unknown[][]
    if (!info) return 1
    const read = String(info[info.indexOf('last-delivered-id') + 1])
    const behind = await this.#raw.xrange('orders', `(${read}`, '+', 'COUNT', 1)
    return Number(info[info.indexOf('pending') + 1]) + behind.length
  }

  async left(): Promise<string> {
    return JSON.stringify([
      await this.#raw.xpending(...GROUP, '-', '+', 100).catch(() => []),
      await this.#raw.zrange('{orders}:billing:due', '0', '-1', 'WITHSCORES'),
      await this.#raw.zrange('{orders}:billing:waiting', '0', '-1'),
      await this.#raw.hgetall('{orders}:billing:lanes'),
      await this.#raw.hgetall('{orders}:billing:lane-of'),
    ])
  }

  async pass(ms: number): Promise<void> {
    for (const name of ['poller-0', 'claimer-0', 'claimer-1']) await this.#raw.del(`{orders}:billing:slot:${name}`)
    const rows = (await this.#raw.xpending(...GROUP, '-', '+', 1_000).catch(() => [])) as [string, string, number][]
    for (const [id, owner, idle] of rows)
      if (await this.has(id)) await this.#raw.xclaim(...GROUP, owner, 0, id, 'IDLE', idle + ms, 'JUSTID')
    await passOnDue(this.#raw, ms)
  }

  async letters(): Promise<readonly string[]> {
    return (await this.#raw.xrange('{orders}:billing:dlq', '-', '+')).map(([, fields]) => fields[3] as string)
  }

  async redrive(consumer: Consumer): Promise<void> {
    await redriveDeadLetters(consumer, { redis: this.#inner, all: true })
  }

  async buried(): Promise<readonly string[]> {
    return this.letters()
  }

  async dropLetters(consumer: Consumer, byHand: boolean): Promise<void> {
    if (byHand) await this.#raw.del('{orders}:billing:dlq')
    else await dropDeadLetters(consumer, { redis: this.#inner, all: true })
  }

  async loseGroup(): Promise<void> {
    await this.#raw.xgroup('DESTROY', ...GROUP)
  }

  async trim(count: number): Promise<void> {
    await this.#raw.xtrim('orders', 'MAXLEN', String(Math.max(0, (await this.#raw.xlen('orders')) - count)))
  }

  async pending(): Promise<readonly string[]> {
    const rows = (await this.#raw.xpending(...GROUP, '-', '+', 1_000).catch(() => [])) as [string][]
    return rows.map(([id]) => id)
  }

  async isPlaced(id: string): Promise<boolean> {
    return (await this.#raw.hexists('{orders}:billing:lane-of', id)) === 1
  }

  async has(id: string): Promise<boolean> {
    return (await this.#raw.xrange('orders', id, id)).length > 0
  }

  connect(process: Process, fault: () => Fault | undefined): Connection {
    const { transport } = this.#inner
    const lost = () => new RedisConnectionError('no answer')
    return createRedisConnection({
      scriptPrefix: transport.scriptPrefix,
      send: async (commands: readonly RedisCommand[], timeoutMs?: number): Promise<ReplyOrConnectionError[]> => {
        if (process.isDead) throw lost()
        const what = fault()
        const carryOut = (some: readonly RedisCommand[]) => transport.send(some, timeoutMs)
        if (what === undefined) {
          const answers = await carryOut(commands)
          if (process.isDead) throw lost()
          return answers
        }
        if (what === 'unanswered') await carryOut(commands)
        if (what === 'part' && commands.length > 1) await carryOut(commands.slice(0, Math.ceil(commands.length / 2)))
        if (what === 'late')
          process.late.push(sleep(5 + (commands.length % 3) * 25).then(() => carryOut(commands).catch(() => [])))
        throw lost()
      },
      close: async () => {},
    } as never)
  }
}

import { Redis } from 'ioredis'
import type { Connection, Consumer, ConsumerOptions, EventHandler, Report } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, poll, RedisConnectionError } from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory } from 'millrace/testing'
import { describe, expect, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { startRedisServer } from '../../tools/redis-server.ts'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides } from '../support/both-sides.ts'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'
import { startRestServer } from '../support/rest-server.ts'

export const Paid = defineEvent('Paid', { payload: z.object({ id: z.string(), key: z.optional(z.string()) }) })
export const Shipped = defineEvent('Shipped', { payload: z.object({ id: z.string(), key: z.optional(z.string()) }) })

type Handler = (
  event: { type: string; payload: { id: string; key?: string | undefined }; eventId: string },
  context: { deliveryCount: number },
) => unknown

/** Group `billing` on stream `orders`, for both types, with one handler. */
export function billing(handler: Handler, options: Partial<ConsumerOptions> = {}): Consumer {
  const handle = handler as EventHandler<never>
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, handle as EventHandler), on(Shipped, handle as EventHandler)],
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    ...options,
  })
}

/** A server, or what behaves like one, and what a test does to it from outside. */
export interface World {
  readonly redis: Connection
  /** Publishes events as `id` or `id/key`; of type Shipped where it begins with s. */
  publish(...ids: string[]): Promise<void>
  /** A command of somebody else's. */
  command(name: string, ...args: (string | number)[]): Promise<unknown>
  /** What is pending and what has been waiting becomes that much older. */
  pass(ms: number): Promise<void>
  /** The group is gone, its stream is not. */
  loseGroup(): Promise<void>
  poll(
    consumer: Consumer,
    options?: { remainingMs?: number; signal?: AbortSignal; redis?: Connection },
  ): Promise<Report>
  claim(consumer: Consumer, options?: { redis?: Connection }): Promise<Report>
  /** Ids of pending entries' payloads, with owner and count. */
  pending(): Promise<[string, string, number][]>
}

export const WORLDS: Readonly<Record<string, () => Promise<World>>> = {
  memory: inMemory,
  TCP: () => onServer(false),
  REST: () => onServer(true),
}

/** Describes a policy in memory, over TCP and over REST. */
export function describeEverywhere(title: string, body: (start: () => Promise<World>) => void): void {
  describe.each(Object.entries(WORLDS))(`${title}, %s`, (_name, start) => body(start))
}

/**
 * Polls while the answer to one request is lost, which the server has carried out; then goes on until nothing is pending.
 *
 * @param change What is done in between.
 */
export async function loseAnswer(
  world: World,
  consumer: Consumer,
  { nth, change }: { nth: number; change?: () => unknown },
): Promise<void> {
  let calls = 0
  const losing = (both: BothSides): Partial<BothSides> => ({
    async settleAndRead(...args) {
      const read = await both.settleAndRead(...args)
      if (++calls === nth) throw new RedisConnectionError('the answer was lost')
      return read
    },
  })
  const redis: Connection = {
    group: (address, remainingMs) => bothSides(world.redis.group(address, remainingMs), losing),
    close: () => world.redis.close(),
  }
  const error: unknown = await world.poll(consumer, { redis }).catch((thrown: unknown) => thrown)
  expect(String(error)).toContain('the answer was lost')
  await change?.()
  for (let round = 0; round < 5; round++) {
    await world.pass(120_000)
    await world.claim(consumer)
    await world.poll(consumer)
  }
  expect(await world.pending()).toEqual([])
}

/** Numbers of a report that are not 0. */
export function counts(report: Report): Record<string, number> {
  const names = [
    'read',
    'claimed',
    'acked',
    'duplicates',
    'ignored',
    'retried',
    'deadLettered',
    'parked',
    'released',
    'superseded',
    'unsettled',
    'invoked',
    'unguarded',
  ] as const
  return Object.fromEntries(names.flatMap((name) => (report[name] ? [[name, report[name]]] : [])))
}

function runs(redis: Connection, extra: object = {}): Pick<World, 'poll' | 'claim' | 'publish' | 'redis'> {
  const publisher = createPublisher({ stream: 'orders', redis })
  return {
    redis,
    poll: (consumer, options = {}) => poll(consumer, { redis, remainingMs: 20_000, ...extra, ...options }),
    claim: (consumer, options = {}) => claimOnce(consumer, { redis, remainingMs: 20_000, ...extra, ...options }),
    async publish(...ids) {
      for (const text of ids) {
        const [id = '', key] = text.split('/')
        await publisher.publish(id.startsWith('s') ? Shipped : Paid, { id, ...(key && { key }) }, { eventId: id })
      }
    },
  }
}

async function inMemory(): Promise<World> {
  let offset = 0
  const clock = {
    now: () => Date.now() + offset,
    monotonic: () => performance.now(),
    after(ms: number, callback: () => void) {
      const timer = setTimeout(callback, ms)
      return () => clearTimeout(timer)
    },
  }
  const redis = connectMemory({ clock })
  const address = {
    stream: 'orders',
    group: 'billing',
    keys: billing(() => {}).keys,
    settings: billing(() => {}).settings,
  }
  const idOf = (entryId: string) => {
    const entry = redis.entries('orders').find(({ id }) => id === entryId)
    const payload = entry?.fields.find(([name]) => name === 'payload')?.[1] ?? '{}'
    return (JSON.parse(payload) as { id?: string }).id ?? ''
  }
  return {
    ...runs(redis, { clock }),
    command: async (name, ...args) => (await redis.group(address).ask([[name, ...args]]))[0],
    pass: async (ms) => {
      offset += ms
    },
    loseGroup: async () => redis.destroyGroup('orders', 'billing'),
    pending: async () =>
      redis
        .pending('orders', 'billing')
        .map(({ id, consumerName, deliveryCount }) => [idOf(id), consumerName, deliveryCount]),
  }
}

async function onServer(isRest: boolean): Promise<World> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const rest = isRest ? await startRestServer({ redisUrl: server.url, token: 'secret' }) : undefined
  const redis = rest ? connectUrl(rest.url.replace('://', '://:secret@')) : connectIoredis(server.url)
  onTestFinished(async () => {
    await redis.close()
    await rest?.close()
    raw.disconnect()
    await server.stop()
  })
  const rows = async () =>
    (await raw.xpending('orders', 'billing', '-', '+', 1_000).catch(() => [])) as [string, string, number, number][]
  return {
    ...runs(redis),
    command: (name, ...args) => raw.call(name, args),
    async pass(ms) {
      for (const [id, owner, idle] of await rows())
        await raw.xclaim('orders', 'billing', owner, 0, id, 'IDLE', idle + ms, 'JUSTID')
      await passOnDue(raw, ms)
    },
    async loseGroup() {
      await raw.xgroup('DESTROY', 'orders', 'billing')
    },
    async pending() {
      const found: [string, string, number][] = []
      for (const [id, owner, , count] of await rows()) {
        const [entry] = await raw.xrange('orders', id, id)
        const at = entry?.[1].indexOf('payload') ?? -1
        found.push([(JSON.parse(entry?.[1][at + 1] ?? '{}') as { id: string }).id, owner, count])
      }
      return found
    },
  }
}

import type { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { claim, createPublisher, defineConsumer, on, poll } from 'millrace'
import type { Archive, ArchiveRange } from 'millrace/janitor'
import { decodeArchive, encodeArchive, readArchive } from 'millrace/janitor'
import { connectMemory } from 'millrace/testing'
import { systemClock } from '../../src/clock.ts'
import { OrderPaid } from '../support/consumer.ts'
import { passOnDue } from '../support/due.ts'
import { startScenario } from '../support/scenario.ts'

const HOUR_MS = 3_600_000

/** A stream `orders`, in memory or on a server, and what a test does to it. */
export interface JanitorWorld {
  readonly redis: Connection
  /** Only of a server. */
  readonly raw: Redis | undefined
  publish(...orderIds: string[]): Promise<string[]>
  /** A group reads all, and handles what `handle` does not throw for, which waits for an hour; then its claimer runs. */
  read(group: string, handle?: (orderId: string) => unknown): Promise<void>
  /** Ids in the stream. */
  ids(stream?: string): Promise<string[]>
  trimByHand(length: number): Promise<void>
  destroy(group: string): Promise<void>
  /** Makes two hours pass for what is set aside. */
  passDue(): Promise<void>
  /** Makes an hour pass for what a group or a floor has kept, by the field of the janitor's notes. */
  passBlocked(field: string): Promise<void>
}

export async function startWorld(kind: 'memory' | 'redis'): Promise<JanitorWorld> {
  return kind === 'memory' ? memoryWorld() : redisWorld()
}

function memoryWorld(): JanitorWorld {
  let passedMs = 0
  const redis = connectMemory({ clock: { ...systemClock, now: () => Date.now() + passedMs } })
  return {
    redis,
    raw: undefined,
    ...common(redis),
    ids: async (stream = 'orders') => redis.entries(stream).map(({ id }) => id),
    trimByHand: async (length) => redis.trim('orders', length),
    destroy: async (group) => redis.destroyGroup('orders', group),
    passDue: async () => {
      passedMs += 2 * HOUR_MS
    },
    passBlocked: async () => {
      passedMs += HOUR_MS
    },
  }
}

async function redisWorld(): Promise<JanitorWorld> {
  const { redis, raw } = await startScenario()
  return {
    redis,
    raw,
    ...common(redis),
    ids: async (stream = 'orders') => (await raw.xrange(stream, '-', '+')).map(([id]) => id),
    trimByHand: async (length) => void (await raw.xtrim('orders', 'MAXLEN', length)),
    destroy: async (group) => void (await raw.xgroup('DESTROY', 'orders', group)),
    passDue: () => passOnDue(raw, 2 * HOUR_MS),
    passBlocked: async (field) => void (await raw.hincrby('{orders}::stream::janitor', field, -HOUR_MS)),
  }
}

/** What a test does to a stream, `orders` unless it says so. */
export function common(redis: Connection, stream = 'orders'): Pick<JanitorWorld, 'publish' | 'read'> {
  const publisher = createPublisher({ stream, redis })
  return {
    async publish(...orderIds) {
      const published = await publisher.publishMany(orderIds.map((orderId) => [OrderPaid, { orderId }] as const))
      return published.map(({ entryId }) => entryId)
    },
    async read(group, handle = () => {}) {
      const consumer = defineConsumer({
        stream,
        group,
        routes: [on(OrderPaid, ({ payload }) => handle((payload as { orderId: string }).orderId) as never)],
        backoff: { firstMs: HOUR_MS, maxMs: HOUR_MS },
      })
      await poll(consumer, { redis })
      // notes the group's mark
      await claim(consumer, { redis, remainingMs: 20_000, lingerMs: 0 })
    },
  }
}

/** An archive in memory: objects by their names, each written once. */
export function memoryArchive() {
  const objects = new Map<string, Buffer>()
  const ranges: ArchiveRange[] = []
  const archive: Archive = async (range) => {
    ranges.push(range)
    if (!objects.has(range.name)) objects.set(range.name, await encodeArchive(range.entries))
  }
  return {
    archive,
    objects,
    ranges,
    /** Ids of all entries in it, object by object. */
    async ids(): Promise<string[]> {
      const all = await Promise.all([...objects.values()].map(decodeArchive))
      return all.flat().map(({ id }) => id)
    },
    async read(): Promise<string[]> {
      const source = [...objects].map(([name, bytes]) => ({ name, read: async () => bytes }))
      const ids: string[] = []
      for await (const { id } of readArchive(source)) ids.push(id)
      return ids
    },
  }
}

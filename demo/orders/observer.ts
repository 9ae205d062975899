import { Cluster, Redis } from 'ioredis'
import type { Consumer } from 'millrace'

/** Names and values in turn, as a stream keeps them. */
export type Fields = readonly (string | Buffer)[]

/** What the server itself says of a consumer. */
export interface Gauges {
  readonly length: number
  /** Entries that the group has not been given yet. */
  readonly backlog: number
  readonly pending: number
  /** Milliseconds since the oldest pending entry was written; 0 if nothing is pending. */
  readonly oldestPendingMs: number
}

export interface DeadLetter {
  readonly id: string
  /** In the order in which they are kept. */
  readonly fields: readonly (readonly [name: string, value: string])[]
}

/** Claimers' names, which no setting changes. */
const CLAIMERS = ['claimer-0', 'claimer-1']

/** A second client that knows nothing of the package: it writes what other producers write, and reads what Redis holds. */
export class Observer {
  readonly #redis: Redis

  private constructor(redis: Redis) {
    this.#redis = redis
  }

  /** @throws {Error} The server does not answer. The message does not show the URL, which may hold a password. */
  static async connect(url: string): Promise<Observer> {
    const redis = url.endsWith('?cluster')
      ? clusterOf(url)
      : new Redis(url, {
          lazyConnect: true,
          connectTimeout: 5_000,
          maxRetriesPerRequest: 0,
          retryStrategy: () => null,
          protocol: 2,
          replyMapping: 'legacy',
        })
    let failure: Error | undefined
    redis.on('error', (error: Error) => {
      failure = error
    })
    await redis.connect().catch((error: Error) => {
      redis.disconnect()
      throw new Error(`Cannot reach Redis: ${(failure ?? error).message}`)
    })
    return new Observer(redis)
  }

  append(stream: string, fields: Fields): Promise<string | null> {
    return this.#redis.xadd(stream, '*', ...fields)
  }

  async gauges({ stream, group }: Consumer): Promise<Gauges> {
    const [length, groups, time] = await Promise.all([
      this.#redis.xlen(stream),
      // the poller makes stream and group when it first runs
      this.#redis.xinfo('GROUPS', stream).catch(() => []) as Promise<unknown[][]>,
      this.#redis.time(),
    ])
    const info = groups.map(asRecord).find(({ name }) => name === group)
    if (!info) return { length, backlog: length, pending: 0, oldestPendingMs: 0 }
    const [pending, oldest] = (await this.#redis.xpending(stream, group)) as [number, string | null]
    const now = Number(time[0]) * 1_000 + Number(time[1]) / 1_000
    return {
      length,
      backlog: await this.#backlog(stream, info),
      pending,
      oldestPendingMs: oldest === null ? 0 : Math.max(0, now - Number(oldest.split('-')[0])),
    }
  }

  /** From Redis 7 on the server counts; before that, and where it lost count, the entries are counted here. */
  async #backlog(stream: string, info: Record<string, unknown>): Promise<number> {
    if (typeof info.lag === 'number') return info.lag
    return (await this.#redis.xrange(stream, `(${info['last-delivered-id']}`, '+')).length
  }

  async deadLetters({ keys }: Consumer): Promise<DeadLetter[]> {
    const entries = await this.#redis.xrange(keys.deadLetters, '-', '+')
    return entries.map(([id, values]) => ({ id, fields: asPairs(values) }))
  }

  length(key: string): Promise<number> {
    return this.#redis.xlen(key)
  }

  /** Deletes the keys of that consumer, each by its name, and no other. */
  async deleteKeys({ keys, settings }: Consumer): Promise<void> {
    const pollers = Array.from({ length: settings.maxPollers }, (_, n) => `poller-${n}`)
    const leases = [...pollers, ...CLAIMERS].map((name) => keys.slot(name))
    await this.#redis.del(keys.stream, keys.deadLetters, keys.due, keys.state, ...leases)
  }

  close(): void {
    this.#redis.disconnect()
  }
}

/** The keys of a consumer are on one node, so that all that is asked here works there. */
function clusterOf(url: string): Redis {
  const { hostname, port } = new URL(url)
  const redisOptions = { protocol: 2, replyMapping: 'legacy' } as const
  const cluster = new Cluster([{ host: hostname, port: Number(port) }], { lazyConnect: true, redisOptions })
  return cluster as unknown as Redis
}

function asRecord(values: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(asPairs(values))
}

function asPairs<T>(values: readonly T[]): [string, T][] {
  return Array.from({ length: values.length / 2 }, (_, n) => [String(values[2 * n]), values[2 * n + 1] as T])
}

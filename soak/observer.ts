import { Redis } from 'ioredis'
import type { Consumer } from 'millrace'

/** What the server says while the soak runs. */
export interface Gauges {
  /** Entries that the group has not been given yet. */
  readonly backlog: number
  readonly pending: number
  readonly deadLetters: number
  /** Keys beside the stream, the dead letters, the state and how delayed events ended: leases, due times and what is delayed. */
  readonly sideKeys: readonly string[]
}

/** An entry of the stream. */
export interface StreamEntry {
  readonly id: string
  readonly eventId: string
  readonly kind: string
  /** By which it is ordered; left out: nothing orders it. */
  readonly key?: string
}

export interface Letter {
  readonly id: string
  readonly entryId: string
  readonly reason: string
  readonly deliveryCount: number
}

interface PendingEntry {
  readonly id: string
  readonly owner: string
  readonly deliveryCount: number
}

/** What the server holds in the end. */
export interface Holdings {
  readonly entries: readonly StreamEntry[]
  readonly letters: readonly Letter[]
  readonly pending: readonly PendingEntry[]
  readonly backlog: number
  readonly sideKeys: readonly string[]
  readonly consumerNames: readonly string[]
}

const PAGE = 2_000
const MAX_PENDING = 10_000

/** A second client that knows nothing of the package, on a connection that no fault but the server's own touches. */
export class Observer {
  readonly #redis: Redis
  readonly #consumer: Consumer

  constructor(url: string, consumer: Consumer) {
    this.#redis = new Redis(url, {
      connectTimeout: 2_000,
      commandTimeout: 5_000,
      maxRetriesPerRequest: 1,
      retryStrategy: () => 100,
      protocol: 2,
      replyMapping: 'legacy',
    })
    this.#redis.on('error', () => {})
    this.#consumer = consumer
  }

  async append(fields: readonly string[]): Promise<string> {
    return String(await this.#redis.xadd(this.#consumer.stream, '*', ...fields))
  }

  async ping(): Promise<void> {
    await this.#redis.ping()
  }

  /** Rejects while the server is away. */
  async gauges(): Promise<Gauges> {
    const { stream, group, keys } = this.#consumer
    const [backlog, summary, deadLetters, sideKeys] = await Promise.all([
      this.#backlog(),
      this.#redis.xpending(stream, group),
      this.#redis.xlen(keys.deadLetters),
      this.#sideKeys(),
    ])
    return { backlog, pending: Number(summary[0]), deadLetters, sideKeys }
  }

  /** @param archived Entries that a janitor took out of the stream. */
  async holdings(archived: readonly [string, string[]][] = []): Promise<Holdings> {
    const { stream, group, keys } = this.#consumer
    const pending = (await this.#redis.xpending(stream, group, '-', '+', MAX_PENDING)) as [
      string,
      string,
      number,
      number,
    ][]
    const consumers = (await this.#redis.xinfo('CONSUMERS', stream, group)) as unknown[][]
    return {
      entries: [...archived, ...(await this.#all(stream))].map(([id, values]) => asEntry(id, asPairs(values))),
      letters: (await this.#all(keys.deadLetters)).map(([id, values]) => asLetter(id, asPairs(values))),
      pending: pending.map(([id, owner, , deliveryCount]) => ({ id, owner, deliveryCount })),
      backlog: await this.#backlog(),
      sideKeys: await this.#sideKeys(),
      consumerNames: consumers.map((info) => String(Object.fromEntries(asPairs(info.map(String))).name)),
    }
  }

  close(): void {
    this.#redis.disconnect()
  }

  async #sideKeys(): Promise<string[]> {
    const { keys } = this.#consumer
    const known = [keys.stream, keys.deadLetters, keys.state]
    // of others on the same stream
    const isOthers = (key: string) =>
      key.startsWith(`{${this.#consumer.stream}}:`) &&
      !key.startsWith(`{${this.#consumer.stream}}:${this.#consumer.group}:`) &&
      !/:delayed/.test(key)
    return (await this.#redis.keys('*'))
      .filter((key) => !known.includes(key) && !isOthers(key) && !/:delayed:ended:|::stream:/.test(key))
      .sort()
  }

  /** Counted here: the server may have lost count over a restart. */
  async #backlog(): Promise<number> {
    const { stream, group } = this.#consumer
    const groups = (await this.#redis.xinfo('GROUPS', stream)) as unknown[][]
    const infos = groups.map((info) => Object.fromEntries(asPairs(info.map(String))))
    const last = infos.find(({ name }) => name === group)?.['last-delivered-id'] ?? '0-0'
    return (await this.#all(stream, `(${last}`)).length
  }

  async #all(key: string, from = '-'): Promise<[string, string[]][]> {
    const entries: [string, string[]][] = []
    for (let start = from; ; ) {
      const page = await this.#redis.xrange(key, start, '+', 'COUNT', PAGE)
      entries.push(...page)
      if (page.length < PAGE) return entries
      start = `(${page.at(-1)?.[0]}`
    }
  }
}

function asEntry(id: string, pairs: [string, string][]): StreamEntry {
  const { eventId = '', payload = '{}', kind = '', aggregateId } = Object.fromEntries(pairs)
  return {
    id,
    eventId,
    kind: kind || (JSON.parse(payload) as { kind: string }).kind,
    ...(aggregateId && { key: aggregateId }),
  }
}

function asLetter(id: string, pairs: [string, string][]): Letter {
  // the head comes first; what follows are the entry's own pairs
  const head = Object.fromEntries(
    pairs.slice(
      0,
      pairs.findIndex(([name]) => name === 'fieldCount'),
    ),
  )
  const { originalId = '', reason = '', deliveryCount } = head
  return { id, entryId: originalId, reason, deliveryCount: Number(deliveryCount) }
}

function asPairs(values: readonly string[]): [string, string][] {
  return Array.from({ length: values.length / 2 }, (_, n) => [String(values[2 * n]), String(values[2 * n + 1])])
}

import { Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'
import type { PrivateRedis } from '../tools/redis-server.ts'
import { Bullmq } from './contend-bullmq.ts'
import { Millrace } from './contend-millrace.ts'
import { Raw } from './contend-raw.ts'
import type { Contender } from './contender.ts'
import { countCommands } from './inspect.ts'
import { startLatencyProxy } from './latency.ts'
import { measure } from './measure.ts'
import { publishOrders } from './orders.ts'

/** Events a round: the slower ones get fewer, since it is rates that are compared. */
export interface Sizes {
  readonly local: number
  readonly distant: number
  readonly bullmq: number
}

/** One round: events a second, and what the local run of this package cost. */
export interface Round {
  readonly millrace: number
  readonly raw: number
  readonly millraceDistant: number
  readonly rawDistant: number
  readonly bullmq: number
  readonly commandsPerEvent: number
  readonly roundTripsPerEvent: number
}

export const LATENCY_MS = 2

/** Runs the rounds on one server, after one short round that does not count. */
export async function runRounds(server: PrivateRedis, rounds: number, sizes: Sizes): Promise<Round[]> {
  const { host, port } = server
  const proxy = await startLatencyProxy({ host, port, latencyMs: LATENCY_MS })
  const field = new Field(server, proxy.url)
  const results: Round[] = []
  try {
    await field.round('warm-up', shorten(sizes))
    for (let n = 0; n < rounds; n++) results.push(await field.round(`${n}`, sizes))
  } finally {
    await field.close()
    await proxy.close()
  }
  return results
}

function shorten({ local, distant, bullmq }: Sizes): Sizes {
  return { local: Math.ceil(local / 5), distant: Math.ceil(distant / 5), bullmq: Math.ceil(bullmq / 5) }
}

/** The contenders and what they run on. */
class Field {
  readonly #url: string
  readonly #admin: Redis
  readonly #local: { readonly millrace: Millrace; readonly raw: Raw }
  readonly #distant: { readonly millrace: Millrace; readonly raw: Raw }
  readonly #bullmq: Bullmq

  constructor({ url, host, port }: PrivateRedis, distantUrl: string) {
    this.#url = url
    this.#admin = new Redis(url)
    this.#local = { millrace: new Millrace(url, url), raw: new Raw(url, url) }
    this.#distant = { millrace: new Millrace(distantUrl, url), raw: new Raw(distantUrl, url) }
    this.#bullmq = new Bullmq({ host, port })
  }

  /** Each contender takes its turn; the two on a stream read the same entries, each in a new group. */
  async round(name: string, { local, distant, bullmq }: Sizes): Promise<Round> {
    let commands = 0
    const count = async (work: () => Promise<void>) => {
      commands = await countCommands(this.#url, work)
    }
    await this.#fillStream(local)
    const millrace = await measure(this.#local.millrace, name, local, count)
    const raw = await measure(this.#local.raw, name, local)
    await this.#fillStream(distant)
    const rawDistant = await measure(this.#distant.raw, name, distant)
    const millraceDistant = await measure(this.#distant.millrace, name, distant)
    await this.#admin.flushall()
    await this.#bullmq.fill(bullmq)
    return {
      millrace,
      raw,
      millraceDistant,
      rawDistant,
      bullmq: await measure(this.#bullmq, name, bullmq),
      commandsPerEvent: commands / local,
      roundTripsPerEvent: this.#local.millrace.roundTrips / local,
    }
  }

  async close(): Promise<void> {
    const contenders: Contender[] = [...Object.values(this.#local), ...Object.values(this.#distant), this.#bullmq]
    await Promise.all(contenders.map((contender) => contender.close()))
    this.#admin.disconnect()
  }

  async #fillStream(count: number): Promise<void> {
    await this.#admin.flushall()
    const redis = connectIoredis(this.#url)
    try {
      await publishOrders(redis, count)
    } finally {
      await redis.close()
    }
  }
}

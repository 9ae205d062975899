import { Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'
import type { PrivateRedis } from '../tools/redis-server.ts'
import type { LatencyProxy } from './latency.ts'
import { startLatencyProxy } from './latency.ts'
import type { Measured } from './measure.ts'
import { publishOrders, STREAM } from './orders.ts'
import { SideProcess } from './side-process.ts'
import { SIDES, type Side, type SideName } from './sides.ts'

/** What each side cost in one round. */
export type Round = ReadonlyMap<SideName, Measured>

const LATENCY_MS = 2
/** V8 compiles what matters, and gives its heap the size it then keeps, within so many events: what is compared is what follows. */
const WARM_UP_EVENTS = 200_000
/** The slowest sides warm up for as long as a bench may take. */
const WARM_UP_ROUNDS = 10
const FRESH_WARM_UP = { events: 10_000, rounds: 25 }
/** Memory hardly differs from round to round, and is measured with many events: the first rounds do. */
const FRESH_ROUNDS = 3

/**
 * Runs the rounds on one server, after some that do not count. In each all sides take their turn, every other round in reverse.
 *
 * @param entries Events a round of the sides that handle most.
 */
export async function runRounds(
  server: PrivateRedis,
  names: readonly SideName[],
  rounds: number,
  entries: number,
): Promise<Round[]> {
  const results: Round[] = []
  await withField(server, async (field) => {
    const lasting = names.filter((name) => !sideOf(name).isFresh)
    await field.warmUp(lasting, entries)
    for (let n = 0; n < rounds; n++) {
      const taking = n < FRESH_ROUNDS ? names : lasting
      results.push(await field.round(`${n}`, n % 2 === 0 ? taking : taking.toReversed(), entries))
    }
  })
  return results
}

/** Runs one side twice, the second time under a profiler. @param file Where the CPU profile goes. */
export async function profileSide(
  server: PrivateRedis,
  name: SideName,
  entries: number,
  file: string,
): Promise<Measured> {
  return withField(server, async (field) => {
    await field.warmUp([name], entries)
    return (await field.round('profiled', [name], entries, file)).get(name) as Measured
  })
}

export function countOf(name: SideName, entries: number): number {
  return Math.ceil(entries * sideOf(name).part)
}

async function withField<T>({ url, host, port }: PrivateRedis, work: (field: Field) => Promise<T>): Promise<T> {
  const proxy = await startLatencyProxy({ host, port, latencyMs: LATENCY_MS })
  const field = new Field(url, proxy)
  try {
    return await work(field)
  } finally {
    await field.close()
    await proxy.close()
  }
}

/** The sides, and what they run on. */
class Field {
  readonly #url: string
  readonly #proxy: LatencyProxy
  readonly #admin: Redis
  readonly #processes = new Map<SideName, SideProcess>()

  constructor(url: string, proxy: LatencyProxy) {
    this.#url = url
    this.#proxy = proxy
    this.#admin = new Redis(url)
  }

  async warmUp(names: readonly SideName[], entries: number): Promise<void> {
    for (let n = 0; n < WARM_UP_ROUNDS; n++) {
      const cold = names.filter((name) => n < 2 || n * countOf(name, entries) < WARM_UP_EVENTS)
      if (cold.length > 0) await this.round(`warm-up-${n}`, cold, entries)
    }
  }

  /** Sides that read the same number of events read the same entries, each in a new group. */
  async round(round: string, names: readonly SideName[], entries: number, profileTo?: string): Promise<Round> {
    const measured = new Map<SideName, Measured>()
    const key = (name: SideName) => (sideOf(name).reads ? countOf(name, entries) : name)
    for (const [count, sharing] of Map.groupBy(names, key)) {
      await this.#ready(typeof count === 'number' ? count : 0)
      for (const name of sharing) measured.set(name, await this.#run(name, round, countOf(name, entries), profileTo))
    }
    return measured
  }

  async close(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((side) => side.close()))
    this.#admin.disconnect()
  }

  async #run(name: SideName, round: string, count: number, profileTo: string | undefined): Promise<Measured> {
    const { isFar, isFresh } = sideOf(name)
    const urls = { url: isFar ? this.#proxy.url : this.#url, adminUrl: this.#url }
    const side = this.#processes.get(name) ?? new SideProcess(name, urls)
    if (!isFresh) this.#processes.set(name, side)
    try {
      if (isFresh) await this.#warmUpFresh(side, name, round, count)
      return await side.run({ round: `${name}-${round}`, count, profileTo })
    } finally {
      if (isFresh) await side.close()
    }
  }

  /** All of them alike, whatever their own count is. */
  async #warmUpFresh(side: SideProcess, name: SideName, round: string, count: number): Promise<void> {
    await this.#ready(FRESH_WARM_UP.events)
    for (let n = 0; n < FRESH_WARM_UP.rounds; n++)
      await side.run({ round: `${name}-${round}-warm-up-${n}`, count: FRESH_WARM_UP.events })
    await this.#ready(count)
  }

  /** The stream has so many events. Those of the last round do: every reader has a group of its own. */
  async #ready(count: number): Promise<void> {
    if (count > 0 && (await this.#admin.xlen(STREAM)) === count) return
    await this.#admin.flushall()
    if (count > 0) await this.#fillStream(count)
  }

  async #fillStream(count: number): Promise<void> {
    const redis = connectIoredis(this.#url)
    try {
      await publishOrders(redis, count)
    } finally {
      await redis.close()
    }
  }
}

const sideOf = (name: SideName): Side => SIDES[name]

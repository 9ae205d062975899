import { Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'
import type { PrivateRedis } from '../tools/redis-server.ts'
import type { LatencyProxy } from './latency.ts'
import { DELAYS, type Place, startLatencyProxy } from './latency.ts'
import type { Measured } from './measure.ts'
import { publishOrders, STREAM } from './orders.ts'
import { SideProcess } from './side-process.ts'
import { SIDES, type Side, type SideName } from './sides.ts'

/** What each side cost in one round. */
export type Round = ReadonlyMap<SideName, Measured>

/**
 * V8 compiles what matters, and gives its heap the size it then keeps, within some hundred thousand events: what is compared is what follows.
 * Every side handles twice `--entries` first, the slowest at least as many as ten of its rounds have.
 */
const WARM_UP = { rounds: 10, parts: 2 }
const FRESH_WARM_UP = { of: 'few', rounds: 60 } as const
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
  const proxies = new Map<Place, LatencyProxy>()
  for (const [place, delay] of Object.entries(DELAYS))
    proxies.set(place as Place, await startLatencyProxy({ host, port, ...delay }))
  const field = new Field(url, proxies)
  try {
    return await work(field)
  } finally {
    await field.close()
    for (const proxy of proxies.values()) await proxy.close()
  }
}

/** The sides, and what they run on. */
class Field {
  readonly #url: string
  readonly #proxies: ReadonlyMap<Place, LatencyProxy>
  readonly #admin: Redis
  readonly #processes = new Map<SideName, SideProcess>()

  constructor(url: string, proxies: ReadonlyMap<Place, LatencyProxy>) {
    this.#url = url
    this.#proxies = proxies
    this.#admin = new Redis(url)
  }

  async warmUp(names: readonly SideName[], entries: number): Promise<void> {
    for (let n = 0; n < WARM_UP.rounds; n++) {
      const cold = names.filter((name) => n * sideOf(name).part < WARM_UP.parts)
      if (cold.length > 0) await this.round(`warm-up-${n}`, cold, entries)
    }
  }

  /** Sides that read the same number of events read the same entries, each in a new group. */
  async round(round: string, names: readonly SideName[], entries: number, profileTo?: string): Promise<Round> {
    const measured = new Map<SideName, Measured>()
    const key = (name: SideName) => (sideOf(name).reads ? countOf(name, entries) : name)
    for (const [count, sharing] of Map.groupBy(names, key)) {
      await this.#ready(typeof count === 'number' ? count : 0)
      for (const name of sharing) measured.set(name, await this.#run(name, round, entries, profileTo))
    }
    return measured
  }

  async close(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((side) => side.close()))
    this.#admin.disconnect()
  }

  async #run(name: SideName, round: string, entries: number, profileTo: string | undefined): Promise<Measured> {
    const { place, isFresh } = sideOf(name)
    const count = countOf(name, entries)
    const behind = place && this.#proxies.get(place)
    const urls = { url: behind?.url ?? this.#url, adminUrl: this.#url }
    const side = this.#processes.get(name) ?? new SideProcess(name, urls)
    if (!isFresh) this.#processes.set(name, side)
    try {
      if (isFresh) await this.#warmUpFresh(side, `${name}-${round}`, entries, count)
      return await side.run({ round: `${name}-${round}`, count, profileTo })
    } finally {
      if (isFresh) await side.close()
    }
  }

  /** All of them alike, whatever their own count is. */
  async #warmUpFresh(side: SideProcess, round: string, entries: number, next: number): Promise<void> {
    const count = countOf(FRESH_WARM_UP.of, entries)
    await this.#ready(count)
    for (let n = 0; n < FRESH_WARM_UP.rounds; n++) await side.run({ round: `${round}-warm-up-${n}`, count })
    await this.#ready(next)
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

import { startRedisServer } from '../../../tools/redis-server.ts'
import { MemoryOrderServer } from './memory.ts'
import type { RedisClients } from './redis.ts'
import { RedisOrderServer, redisClients } from './redis.ts'
import { OrderWorld } from './world.ts'

export interface Found {
  readonly seed: number
  readonly violations: readonly string[]
  readonly story: readonly string[]
}

/** Plays worlds until so many have shown something. */
export async function playSeeds({
  from,
  to,
  where,
  most = 3,
  isTraced = false,
}: {
  readonly from: number
  /** The first that is not played. */
  readonly to: number
  readonly where: 'memory' | 'redis'
  readonly most?: number
  readonly isTraced?: boolean
}): Promise<readonly Found[]> {
  const server = where === 'redis' ? await startRedisServer() : undefined
  const clients = server && redisClients(server.url)
  const found: Found[] = []
  try {
    for (let seed = from; seed < to && found.length < most; seed++) {
      const one = await playSeed(seed, clients, isTraced)
      if (one.violations.length > 0) found.push(one)
    }
  } finally {
    await clients?.close()
    await server?.stop()
  }
  return found
}

/** @param clients Left out: in memory. */
export async function playSeed(seed: number, clients?: RedisClients, isTraced = false): Promise<Found> {
  await clients?.raw.pipeline().config('SET', 'maxmemory', '0').flushall().exec()
  const world = new OrderWorld(
    (network) => (clients ? new RedisOrderServer(network, clients) : new MemoryOrderServer(network)),
    seed,
    isTraced,
  )
  const { violations, story } = world
  try {
    await world.play()
  } catch (error) {
    violations.push(String((error as Error).stack))
  }
  return { seed, violations, story }
}

import { afterAll, beforeAll, test } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { OrderMemory } from './order-memory.ts'
import { OrderRedis } from './order-redis.ts'
import type { OrderServer } from './order-world.ts'
import { OrderWorld } from './order-world.ts'

const FROM = Number(process.env.MILLRACE_ORDER_FROM ?? 1)
const RUNS = Number(process.env.MILLRACE_ORDER_RUNS ?? 30)

let server: PrivateRedis
let redis: OrderRedis

beforeAll(async () => {
  server = await startRedisServer()
  redis = new OrderRedis(server.url)
})

afterAll(async () => {
  await redis.close()
  await server.stop()
})

test.each<[string, () => Promise<OrderServer>]>([
  ['in memory', async () => new OrderMemory()],
  [
    'on Redis',
    async () => {
      await redis.reset()
      return redis
    },
  ],
])(
  'processes that fail, freeze, die and lose answers keep the order of each key %s',
  { timeout: 900_000 },
  async (_name, start) => {
    const found: string[] = []
    for (let seed = FROM; seed < FROM + RUNS && found.length < 3; seed++) {
      const world = new OrderWorld(await start(), seed)
      await world.play()
      await world.close()
      if (world.violations.length > 0)
        found.push(`seed ${seed}: ${world.violations.join('; ')}\n${world.story.join('\n')}`)
    }
    if (found.length > 0) throw new Error(`Property failed: ${found.join('\n\n')}`)
  },
)

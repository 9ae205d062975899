import { afterAll, beforeAll, test } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { OrderWorld } from './order-world.ts'

const FROM = Number(process.env.MILLRACE_ORDER_FROM ?? 1)
const RUNS = Number(process.env.MILLRACE_ORDER_RUNS ?? 60)

let server: PrivateRedis

beforeAll(async () => {
  server = await startRedisServer()
})

afterAll(() => server.stop())

test('processes that fail, freeze, die and lose answers keep the order of each key', { timeout: 600_000 }, async () => {
  const found: string[] = []
  for (let seed = FROM; seed < FROM + RUNS && found.length < 3; seed++) {
    const world = new OrderWorld(server.url, seed)
    await world.reset()
    await world.play()
    await world.close()
    if (world.violations.length > 0) found.push(`seed ${seed}: ${world.violations.join('; ')}\n${world.story.join('\n')}`)
  }
  if (found.length > 0) throw new Error(`Property failed: ${found.join('\n\n')}`)
})

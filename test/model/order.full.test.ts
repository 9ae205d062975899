import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { playSeed } from './order/play.ts'
import { redisClients } from './order/redis.ts'

// Pollers and claimers of an ordered group as processes that freeze, die, and lose requests and answers, in the model's own time. Nothing of a seed depends on the machine.
//
// npm run model:order                                                10,000 seeds in memory, 500 on Redis
// MILLRACE_ORDER_FROM=17 MILLRACE_ORDER_RUNS=1 npx vitest run test/model/order.full.test.ts      one seed, in both
const FROM = Number(process.env.MILLRACE_ORDER_FROM ?? 1)
const RUNS = Number(process.env.MILLRACE_ORDER_RUNS ?? 600)
const ON_REDIS = Number(process.env.MILLRACE_ORDER_RUNS_ON_REDIS ?? Math.ceil(RUNS / 20))
/** For a seed, on a busy machine. */
const PATIENCE_MS = { memory: 200, Redis: 2_000 }

let server: PrivateRedis
let clients: ReturnType<typeof redisClients>

beforeAll(async () => {
  server = await startRedisServer()
  clients = redisClients(server.url)
})

afterAll(async () => {
  await clients.close()
  await server.stop()
})

test.each<['memory' | 'Redis', number]>([
  ['memory', RUNS],
  ['Redis', ON_REDIS],
])(
  'processes that fail, freeze, die and lose answers keep the order of each key, %s',
  { timeout: 60_000 + RUNS * PATIENCE_MS.memory + ON_REDIS * PATIENCE_MS.Redis },
  async (where, runs) => {
    const found: string[] = []
    for (let seed = FROM; seed < FROM + runs && found.length < 3; seed++) {
      const { violations, story } = await playSeed(seed, where === 'Redis' ? clients : undefined)
      if (violations.length > 0) found.push(`seed ${seed}: ${violations.join('; ')}\n${story.join('\n')}`)
    }
    if (found.length > 0) throw new Error(`Property failed: ${found.join('\n\n')}`)
    expect(found).toEqual([])
  },
)

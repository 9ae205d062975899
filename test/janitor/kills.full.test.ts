import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { connectIoredis } from '../../src/clients/ioredis.ts'
import { keepingOf } from '../../src/group/redis/keeping.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { memoryKillWorld, redisKillWorld } from './kill-worlds.ts'
import { type KillStep, playKills } from './kills.ts'

// Archive and stream together hold every published entry, the archive each once, wherever a janitor dies or is frozen: between planning, archiving, noting and trimming. What a group has not done is never gone.
const group = fc.constantFrom('billing', 'search')
const step: fc.Arbitrary<KillStep> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('publish' as const), entries: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('deliver' as const), group, entries: fc.nat(8) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('ack' as const), group, n: fc.nat(8) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('work' as const), entries: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('run' as const), diesAt: fc.nat(14), isAfter: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('freeze' as const), isAfter: fc.boolean() }) },
)
const steps = fc.array(step, { minLength: 4, maxLength: 24 })

describe('a janitor that dies', () => {
  it('in memory leaves every entry in the stream or once in the archive, 10,000 runs', async () => {
    await fc.assert(
      fc.asyncProperty(steps, (play) => playKills(memoryKillWorld(), play)),
      { numRuns: 10_000 },
    )
  }, 300_000)

  describe('on Redis', () => {
    let server: PrivateRedis
    let raw: Redis
    let redis: Connection

    beforeAll(async () => {
      server = await startRedisServer()
      raw = new Redis(server.url)
      redis = connectIoredis(server.url)
    })

    afterAll(async () => {
      await redis.close()
      raw.disconnect()
      await server.stop()
    })

    it('leaves every entry in the stream or once in the archive, 100 runs', async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (play) => playKills(await redisKillWorld(raw, keepingOf('test', redis)), play)),
        { numRuns: 100 },
      )
    }, 300_000)
  })
})

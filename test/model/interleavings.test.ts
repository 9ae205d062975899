import fc from 'fast-check'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { plans } from './commands.ts'
import { play } from './interleaving.ts'
import { createMemoryWorld } from './memory-world.ts'
import { createRedisWorld } from './redis-world.ts'
import { REGRESSIONS } from './regressions.ts'
import type { World } from './world.ts'

// Pollers and claimers as processes that do one call or one handler at a time, in any order, beside a simple model (model.ts), in memory
// and on a real server. A failure prints its seed, the shortest plan that shows it, and the story; the plan goes into regressions.ts.
//
// MILLRACE_MODEL_RUNS=20000 npx vitest run test/model    that many random plans a property in memory, a tenth of them on Redis
const RUNS = Number(process.env.MILLRACE_MODEL_RUNS ?? (process.env.MILLRACE_TIER === 'fast' ? 60 : 400))

/** Shrinking a failure ends by then, so that it is reported before the test's own time is over. */
const LIMIT_MS = 60_000 + 400 * RUNS

let server: PrivateRedis
let redis: ReturnType<typeof createRedisWorld>

beforeAll(async () => {
  server = await startRedisServer()
  redis = createRedisWorld(server.url)
})

afterAll(async () => {
  redis.close()
  await server.stop()
})

describe.each([
  { name: 'in memory', world: createMemoryWorld, runs: RUNS },
  { name: 'on Redis', world: (): World => redis, runs: Math.ceil(RUNS / 10) },
])('random interleavings $name', ({ world, runs }) => {
  const hold = (isCalm: boolean) =>
    fc.assert(
      fc.asyncProperty(plans(isCalm), (plan) => play(world(), plan)),
      {
        numRuns: runs,
        interruptAfterTimeLimit: LIMIT_MS,
        markInterruptAsFailure: process.env.MILLRACE_MODEL_RUNS !== undefined,
        includeErrorInReport: true,
      },
    )

  it('of processes that nothing disturbs call and dead-letter exactly', { timeout: 2 * LIMIT_MS }, () => hold(true))

  it(
    'of processes with crashes, freezes and lost calls lose no entry, and call none too often',
    {
      timeout: 2 * LIMIT_MS,
    },
    () => hold(false),
  )

  it.each(REGRESSIONS)('hold though $why', ({ plan }) => play(world(), plan))
})

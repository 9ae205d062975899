import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import type { Equation } from './equation.ts'
import { createRandom } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'

const PEOPLE = 200
const PAUSE_MS = 20
const REFRESH_MS = 250
const NEXT = 'profiles-v2'

/** Commands as people send them, several for one address at once; after half of the time profiles are made anew, from the first event, and switched over. */
export const demo: SystemDemo = { run }

async function run(stage: DemoStage): Promise<readonly Equation[]> {
  process.env.PROFILES = 'v1,v2'
  const system = await load()
  const raw = new Redis(stage.url)
  const over = new AbortController()
  const tally = { sent: 0, done: 0, refused: 0, failed: 0, unknown: 0, reads: 0, backwards: 0, switchedAt: '' }
  const schedule = startSchedule([
    { functionName: 'poller', everyMs: 1_000, handler: system.poller, onEnd: ignore },
    { functionName: 'claimer', everyMs: 1_000, handler: system.claimer, onEnd: ignore },
  ])
  try {
    return await play(stage, system, raw, tally)
  } finally {
    over.abort()
    await schedule.stop()
    system.client.disconnect()
    raw.disconnect()
    await system.redis.close()
  }
}

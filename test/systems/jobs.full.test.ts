import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { configure, createCustomers, delayOf, faultsOf } from '../../demo/jobs/customers.ts'
import { startServices } from '../../demo/jobs/services.ts'
import { createRandom } from '../../demo/random.ts'
import { startSystem } from './kit/start-system.ts'

/** In a whole run thousands; a part of it elsewhere. */
const JOBS = process.env.MILLRACE_SYSTEMS === 'whole' ? 3_000 : 200
const FUNCTIONS = ['poller', 'claimer'].map((name) => `examples/jobs/${name}.ts`)
const GROUPS = ['high', 'normal', 'low'].map((priority) => ({ stream: `{jobs}:${priority}`, group: 'work' }))
const AT_ONCE = 10
const KILLS = 6
/** For a handler to hear that its job is canceled. */
const SOON_MS = 2_000

test('jobs: each ends as it should, once, and progress never goes back, whatever is killed', {
  timeout: 900_000,
}, async () => {
  const random = createRandom(Number(process.env.MILLRACE_SEED ?? 1))
  const services = await startServices()
  onTestFinished(() => services.close())
  const system = await startSystem(FUNCTIONS, GROUPS, { environment: services.environment })
  const ask = await loadApi(system.server.url, services.environment)
  const customers = createCustomers(ask, random)
  await system.start()
  // the poller runs already
  await configure(ask)

  /** Ends of processes: who was canceled at one of these may have been given up by the kill, or later. */
  const kills: number[] = []
  const submitting = (async () => {
    for (let n = 0; n < JOBS; n += AT_ONCE) {
      await customers.submit(AT_ONCE)
      await customers.look()
      await sleep(20)
    }
  })()
  for (let n = 0; n < KILLS; n++) {
    await sleep(random.integer(300, 1_500))
    await system.kill()
    kills.push(performance.now())
    await system.start()
    kills.push(performance.now())
  }
  await submitting
  while ((await customers.look()) > 0) await sleep(50)
  await system.drained()

  const { asked, backwards } = customers
  const letters = (await Promise.all(GROUPS.map(system.deadLetters))).flat()
  // five processes that had read it died: these may have been the kills, whatever the job is
  const crashed = new Set(letters.filter(({ reason }) => reason === 'crashed').map(({ eventId }) => eventId))
  const others = asked.filter(({ jobId, state }) => !(state === 'failed' && crashed.has(jobId)))
  expect(faultsOf(others, services)).toEqual([])
  expect(crashed.size).toBeLessThan(JOBS / 20)
  expect(backwards).toEqual([])
  const wasAlive = (at: number) => kills.every((kill) => kill < at || kill > at + SOON_MS)
  const late = asked.filter((one) => one.canceled && wasAlive(one.canceled.at) && delayOf(one, services) > SOON_MS)
  expect(late).toEqual([])
  const failed = asked.filter(({ state }) => state === 'failed')
  expect(letters).toHaveLength(failed.length)
  expect(new Set(letters.map(({ eventId }) => eventId))).toEqual(new Set(failed.map(({ jobId }) => jobId)))
  for (const state of ['done', 'failed', 'canceled'])
    expect(asked.filter((one) => one.state === state).length).toBeGreaterThan(JOBS / 50)
})

/** The module reads the environment. */
async function loadApi(url: string, environment: Readonly<Record<string, string>>) {
  for (const [name, value] of Object.entries({ ...environment, REDIS_URL: url })) vi.stubEnv(name, value)
  const { client, redis } = await import('../../examples/jobs/redis.ts')
  const { handler } = await import('../../examples/jobs/api.ts')
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    client.disconnect()
    await redis.close()
  })
  return handler
}

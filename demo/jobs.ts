import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Report, ScheduledHandler } from 'millrace'
import type { Equation } from './equation.ts'
import type { Asked, Customers } from './jobs/customers.ts'
import { configure, createCustomers, delayOf, faultsOf } from './jobs/customers.ts'
import type { Services } from './jobs/services.ts'
import { startServices } from './jobs/services.ts'
import { createRandom } from './random.ts'
import { lambdaContext } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'

const TICK_MS = 50
const JOBS_PER_TICK = 3
const PATIENCE_MS = 60_000
/** A handler's time, the reserve, and a few seconds to listen. */
const INVOCATION_MS = 28_000
/** For a handler to hear that its job is canceled. */
const SOON_MS = 2_000
const STREAMS = ['high', 'normal', 'low'].map((priority) => `{jobs}:${priority}`)

/** Primes, mails that fail and hang, and jobs of a type that is configured while the poller runs; some are submitted twice, some canceled before they start, and what hangs while it runs. */
export const demo: SystemDemo = {
  async run(stage) {
    const services = await startServices()
    Object.assign(process.env, services.environment)
    const raw = new Redis(stage.url)
    const [poller, claimer, api, { redis, client }] = await Promise.all([
      import('../examples/jobs/poller.ts'),
      import('../examples/jobs/claimer.ts'),
      import('../examples/jobs/api.ts'),
      import('../examples/jobs/redis.ts'),
    ])
    const failures: Error[] = []
    const over = new AbortController()
    const functions = [poller, claimer].map(({ handler }) => wakeUntil(over.signal, handler, failures))
    try {
      await configure(api.handler)
      const customers = createCustomers(api.handler, createRandom(stage.seed))
      await play(stage, customers)
      return await equationsOf(customers, services, raw, failures.length)
    } finally {
      over.abort()
      raw.disconnect()
      await Promise.all(functions)
      client.disconnect()
      await redis.close()
      await services.close()
    }
  },
}

/** One invocation after the other, as a process of Lambda has it. */
async function wakeUntil(over: AbortSignal, handler: ScheduledHandler<Report>, failures: Error[]): Promise<void> {
  while (!over.aborted) {
    await handler({ source: 'aws.scheduler' }, lambdaContext('jobs', INVOCATION_MS)).catch((error: Error) =>
      failures.push(error),
    )
    await sleep(TICK_MS)
  }
}

async function play(stage: DemoStage, customers: Customers): Promise<void> {
  const endsAt = performance.now() + stage.seconds * 1_000
  for (;;) {
    const now = performance.now()
    if (now < endsAt) await customers.submit(JOBS_PER_TICK)
    const open = await customers.look()
    const states = Map.groupBy(customers.asked, ({ state }) => state ?? 'new')
    stage.show([
      `${now < endsAt ? 'submitting' : 'ending'}: ${customers.asked.length} jobs, ${open} have not ended`,
      [...states].map(([state, of]) => `${state} ${of.length}`).join('  '),
    ])
    if (now >= endsAt && (open === 0 || now > endsAt + PATIENCE_MS)) return
    await sleep(TICK_MS, undefined, { signal: stage.signal })
  }
}

async function equationsOf(
  { asked, backwards }: Customers,
  services: Services,
  raw: Redis,
  failed: number,
): Promise<readonly Equation[]> {
  const count = (is: (one: Asked) => boolean) => asked.filter(is).length
  const letters = await Promise.all(STREAMS.map((stream) => raw.xlen(`${stream}:work:dlq`)))
  const late = count((one) => delayOf(one, services) > SOON_MS)
  const never = asked.filter(({ attempts, state }) => attempts === 0 && state === 'canceled')
  const started = services.mails.filter(({ jobId }) => never.some((one) => one.jobId === jobId))
  const isKnown = new Set(services.notices.map((notice) => JSON.parse(notice).type))
  const failing = new Set(asked.filter(({ state }) => state === 'failed').map(({ type }) => type))
  return [
    {
      left: [['jobs', asked.length]],
      right: [
        ['done', count(({ state }) => state === 'done')],
        ['failed', count(({ state }) => state === 'failed')],
        ['canceled before they started', never.length],
        ['canceled later', count(({ state, attempts }) => state === 'canceled' && attempts > 0)],
      ],
    },
    {
      left: [['dead letters', letters.reduce((sum, each) => sum + each)]],
      right: [['failed', count(({ state }) => state === 'failed')]],
    },
    { left: [['types that somebody was notified of', isKnown.size]], right: [['types that failed', failing.size]] },
    { left: [['faults in states and results', faultsOf(asked, services).length]], right: [['', 0]] },
    { left: [['canceled and then started', started.length]], right: [['', 0]] },
    { left: [['given up later than 2 s after that was asked for', late]], right: [['', 0]] },
    { left: [['progress that went back', backwards.length]], right: [['', 0]] },
    { left: [['failed invocations', failed]], right: [['', 0]] },
  ]
}

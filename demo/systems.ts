import { startRedisServer } from '../tools/redis-server.ts'
import { equationLines, equationText, isEven } from './equation.ts'
import type { DemoOptions } from './options.ts'
import { paint } from './paint.ts'
import type { SystemDemo } from './system-demo.ts'
import { createView } from './view.ts'

/** The systems of `functions/` and `examples/`, each with a sentence. */
const SYSTEMS: readonly {
  readonly name: string
  readonly about: string
  readonly load?: () => Promise<{ readonly demo: SystemDemo }>
}[] = [
  { name: 'orders', about: 'Payments and shipments: retries, dead letters, crashes, and an account that adds up' },
  {
    name: 'checkout',
    about: 'A saga over order, payment, stock and shipping: every order is sent, or compensated whole',
    load: () => import('./checkout.ts'),
  },
  {
    name: 'webhooks',
    about: "Merchants' endpoints that fail, hang and refuse: each event done once, a dead letter, or of who is gone",
    load: () => import('./webhooks.ts'),
  },
  {
    name: 'jobs',
    about: 'Background jobs: priorities, retries, progress, results, cancellations, and a type by configuration',
    load: () => import('./jobs.ts'),
  },
  {
    name: 'fan-out',
    about:
      'One stream of orders, six groups: billing, search, cache, warehouse, EventBridge and S3, none of them behind',
    load: () => import('./fan-out.ts'),
  },
  {
    name: 'activity',
    about: 'Users, orders and hosts in three streams: counted once, though producers send twice and in any order',
    load: () => import('./activity.ts'),
  },
  {
    name: 'analytics',
    about: 'What users do: windows, a funnel, rankings and anomalies, equal to an offline computation',
    load: () => import('./analytics.ts'),
  },
  {
    name: 'monitoring',
    about: 'Time series of many sources: samples twice, late and refused, compared with what is computed offline',
    load: () => import('./monitoring.ts'),
  },
  {
    name: 'users',
    about: 'Commands with outcomes, addresses that one user has, profiles made anew while they are read',
    load: () => import('./users.ts'),
  },
  {
    name: 'accounts',
    about: 'Accounts as their events: deposits, withdrawals and transfers, and not a cent lost',
    load: () => import('./accounts.ts'),
  },
  {
    name: 'outbox',
    about: 'Orders in Postgres, their events in a stream: each row once and in order, by two relays',
    load: () => import('./outbox.ts'),
  },
]

export const NAMES = SYSTEMS.map(({ name }) => name)

/** A line a system. */
export function listOf(): string[] {
  const width = Math.max(...NAMES.map((name) => name.length))
  return SYSTEMS.map(({ name, about }) => `${name.padEnd(width)}  ${about}`)
}

/** Runs a system on a Redis of its own, and prints its invariants. Resolves to whether they hold. */
export async function runSystem(options: DemoOptions, signal: AbortSignal): Promise<boolean> {
  const server = await startRedisServer()
  const view = createView(process.stdout)
  try {
    process.env.REDIS_URL = server.url
    // their reports are on the screen
    process.env.POWERTOOLS_METRICS_DISABLED = 'true'
    process.env.POWERTOOLS_LOG_LEVEL = 'SILENT'
    const system = await SYSTEMS.find(({ name }) => name === options.name)?.load?.()
    if (!system) throw new Error(`Cannot run ${options.name}`)
    const equations = await system.demo.run({ url: server.url, ...options, signal, show: (lines) => view.show(lines) })
    for (const line of ['', paint('bold', 'Whether it adds up'), ...equationLines(equations), '']) console.log(line)
    const wrong = equations.filter((equation) => !isEven(equation))
    for (const equation of wrong) console.error(`Does not add up: ${equationText(equation)}`)
    if (wrong.length === 0) console.log(paint('green', 'Everything adds up'))
    return wrong.length === 0
  } finally {
    await server.stop()
  }
}

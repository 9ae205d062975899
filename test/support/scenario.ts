import { Redis } from 'ioredis'
import type { Connection, EventHandler, Report } from 'millrace'
import { createPublisher } from 'millrace'
import { onTestFinished } from 'vitest'
import { reportImbalance } from '../../src/report.ts'
import type { PrivateRedis, PrivateRedisOptions } from '../../tools/redis-server.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { connectByName } from './clients.ts'
import { billing, OrderPaid } from './consumer.ts'
import { passOnDue } from './due.ts'

export { billing, OrderPaid }

/** The dead-letter stream of group `billing` on stream `orders`. */
export const DLQ = '{orders}:billing:dlq'

/** A private server, a connection of ours, and a second client that inspects what was left behind. */
export interface Scenario {
  readonly server: PrivateRedis
  readonly redis: Connection
  readonly raw: Redis
  /** Publishes an OrderPaid an order; answers their entry ids. */
  publish(...orderIds: string[]): Promise<string[]>
  /** Pending entries as [order id, owner, delivery count], oldest first. */
  pending(group?: string): Promise<[string, string, number][]>
  /** Dead letters, oldest first: the head by name, and the entry's own pairs. */
  deadLetters(key?: string): Promise<{ id: string; head: Record<string, string>; fields: [string, string][] }[]>
  /** Makes every pending entry look as if nothing had happened to it for that long. */
  age(idleMs: number, group?: string): Promise<void>
  /** Another connection, closed with the test. */
  connect(url?: string): Connection
}

/** How a scenario differs from the plain one. */
export interface ScenarioOptions {
  readonly server?: PrivateRedisOptions
  /** How our connections are made. Default: over the client that the environment names. */
  readonly connect?: (url: string) => Connection
}

export async function startScenario(options: ScenarioOptions = {}): Promise<Scenario> {
  const server = await startRedisServer(options.server)
  const raw = new Redis(server.url)
  raw.on('error', () => {})
  const connections: Connection[] = []
  onTestFinished(async () => {
    await Promise.all(connections.map((connection) => connection.close()))
    raw.disconnect()
    await server.stop()
  })
  const connect = (url = server.url) => {
    const connection = (options.connect ?? connectByName)(url)
    connections.push(connection)
    return connection
  }
  const redis = connect()
  const publisher = createPublisher({ stream: 'orders', redis })

  return {
    server,
    redis,
    raw,
    connect,
    async publish(...orderIds) {
      const published = await publisher.publishMany(orderIds.map((orderId) => [OrderPaid, { orderId }] as const))
      return published.map(({ entryId }) => entryId)
    },
    async pending(group = 'billing') {
      const rows = (await raw.xpending('orders', group, '-', '+', 10_000)) as [string, string, number, number][]
      return Promise.all(
        rows.map(async ([id, owner, , count]) => [await orderIdOf(raw, id), owner, count] as [string, string, number]),
      )
    },
    async deadLetters(key = DLQ) {
      return (await raw.xrange(key, '-', '+')).map(([id, flat]) => {
        const pairs = Array.from(
          { length: flat.length / 2 },
          (_, n) => [flat[2 * n], flat[2 * n + 1]] as [string, string],
        )
        const headLength = pairs.findIndex(([name]) => name === 'fieldCount') + 1
        return { id, head: Object.fromEntries(pairs.slice(0, headLength)), fields: pairs.slice(headLength) }
      })
    },
    async age(idleMs, group = 'billing') {
      for (const [id, owner] of (await raw.xpending('orders', group, '-', '+', 10_000)) as [string, string][]) {
        await raw.xclaim('orders', group, owner, 0, id, 'IDLE', idleMs, 'JUSTID')
      }
      await passOnDue(raw, idleMs, `{orders}:${group}:due`)
    },
  }
}

/** A handler that notes the orders it was called for, in order. */
export function noting(then: EventHandler<never> = () => {}): { calls: string[]; handler: EventHandler<never> } {
  const calls: string[] = []
  return {
    calls,
    handler: (event, context) => {
      calls.push((event as { payload: { orderId: string } }).payload.orderId)
      return then(event, context)
    },
  }
}

/** A Lambda-like context with that much time. */
export function lambdaContext(timeoutMs = 30_000) {
  const deadline = performance.now() + timeoutMs
  return {
    awsRequestId: 'request-1',
    functionName: 'orders',
    getRemainingTimeInMillis: () => deadline - performance.now(),
  }
}

/** Members of a report that differ from run to run, or that say again what the others do. */
const VARYING = new Set(['action', 'consumers', 'durationMs', 'roundTrips', 'iteratorAgeMs', 'invoked', 'failed'])

/** The numbers of a report that are not 0, without the ones that vary from run to run. */
export function counts(report: Report): Record<string, number | boolean> {
  const counted = Object.entries(report).filter(([name, value]) => !VARYING.has(name) && value !== 0 && value !== false)
  return Object.fromEntries(counted) as Record<string, number | boolean>
}

/** What is missing from the sum of a report: 0. */
export const difference: (report: Report) => number = reportImbalance

export function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${n}`)
}

async function orderIdOf(raw: Redis, id: string): Promise<string> {
  const [entry] = await raw.xrange('orders', id, id)
  const payload = entry?.[1].at(-1) ?? '{}'
  return (JSON.parse(payload) as { orderId?: string }).orderId ?? id
}

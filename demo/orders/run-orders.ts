import { randomBytes } from 'node:crypto'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { startCluster } from '../../tools/redis-cluster.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { equationText, isEven } from '../equation.ts'
import type { DemoOptions } from '../options.ts'
import { paint } from '../paint.ts'
import type { Holdings } from './audit.ts'
import { equationsOf, readHoldings } from './audit.ts'
import type { Writers } from './generator.ts'
import { orderTicks } from './generator.ts'
import { Observer } from './observer.ts'
import { CLAIM_EVERY_MS, POLL_EVERY_MS, play } from './play.ts'
import { createScreen } from './screen.ts'
import { summaryOf } from './summary.ts'
import type { Tally } from './tally.ts'

/** What it runs on. */
const GIVEN = 'the Redis of REDIS_URL'
const A_REDIS = 'a Redis of its own'
const A_CLUSTER = 'a cluster of its own, three masters and three replicas'

/** Runs against the Redis that is given, or against one that lives only as long. Resolves to whether everything adds up. */
export async function runOrders(options: DemoOptions, signal: AbortSignal): Promise<boolean> {
  const given = process.env.REDIS_URL
  if (given && !options.cluster) return runOn(given, GIVEN, options, signal)
  const server = options.cluster ? await startCluster() : await startRedisServer()
  const url = 'plainUrl' in server ? `${server.plainUrl}?cluster` : server.url
  try {
    return await runOn(url, options.cluster ? A_CLUSTER : A_REDIS, options, signal)
  } finally {
    await server.stop()
  }
}

/** @param where For who reads. */
async function runOn(
  url: string,
  where: string,
  { seconds, seed }: DemoOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const stream = `millrace-demo-${randomBytes(4).toString('hex')}:orders`
  const { redis, ...functions } = await loadFunctions(url, stream)
  const { billing } = functions
  const observer = await Observer.connect(url)
  const shop = connectIoredis(url)
  console.log(`Stream ${stream}, group ${billing.group}, on ${where}`)
  console.log(`Poller every ${POLL_EVERY_MS} ms, claimer every ${CLAIM_EVERY_MS} ms, orders of seed ${seed}`)
  const writers: Writers = {
    publisher: createPublisher({ stream, redis: shop, producer: 'shop' }),
    append: (fields) => observer.append(stream, fields),
  }
  const stage = { functions, writers, observer, screen: createScreen(process.stdout), signal }
  try {
    const tally = await play(orderTicks(seed, seconds), stage)
    return conclude(tally, await readHoldings(observer, billing))
  } finally {
    try {
      if (where === GIVEN) await observer.deleteKeys(billing)
    } finally {
      await Promise.all([shop.close(), redis.close()])
      observer.close()
    }
  }
}

/** Loads the deployable functions as Lambda would, with their environment set. */
async function loadFunctions(url: string, stream: string) {
  process.env.REDIS_URL = url
  process.env.ORDERS_STREAM = stream
  // their reports are on the screen
  process.env.POWERTOOLS_METRICS_DISABLED = 'true'
  process.env.POWERTOOLS_LOG_LEVEL = 'SILENT'
  const { billing } = await import('../../functions/orders/consumer.ts')
  const { redis } = await import('../../functions/shared/redis.ts')
  const { handler: poller } = await import('../../functions/orders/poller.ts')
  const { handler: claimer } = await import('../../functions/orders/claimer.ts')
  return { billing, redis, poller, claimer }
}

/** Prints the summary; whether everything adds up. */
function conclude(tally: Tally, holdings: Holdings): boolean {
  const equations = equationsOf(tally, holdings)
  for (const line of [...summaryOf(tally, holdings, equations), '']) console.log(line)
  const wrong = equations.filter((equation) => !isEven(equation))
  for (const equation of wrong) console.error(`Does not add up: ${equationText(equation)}`)
  for (const { message } of tally.failures) console.error(`An invocation failed: ${message}`)
  if (wrong.length === 0) console.log(paint('green', 'Everything adds up'))
  return wrong.length === 0
}

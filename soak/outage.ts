import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { circuitBreaker, claim, createPublisher, defineConsumer, defineEvent, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import { startRedisServer } from '../tools/redis-server.ts'

const PUBLISH_MS = 20
const BREAKER = { failures: 5, perMs: 10_000, probeAfterMs: 500 }
const CONCURRENCY = 4
const POLLERS = 2
const MAX_DELIVERIES = 3
/** Of one invocation. */
const RUN_MS = 4_000
/** What is left once the outage is over is handled within that time. */
const AFTER_MS = 60_000

const Paid = defineEvent('Paid', { payload: z.object({ n: z.number() }) })
const Shipped = defineEvent('Shipped', { payload: z.object({ n: z.number() }) })

/** What an outage came to. */
export interface OutageAccount {
  readonly published: number
  readonly handled: number
  readonly failedCalls: number
  readonly deadLetters: number
  /** Deliveries that entries had used when the outage ended. */
  readonly spent: number
  /** Entries of a type that needs nothing that was out, handled while it was. */
  readonly othersMeanwhile: number
  readonly breaches: readonly string[]
}

/**
 * Publishes two types, of which one needs something that is out for so long, while pollers and a claimer run; with `circuitBreaker`, and three deliveries at most.
 *
 * @param outageMs How long the outage is.
 */
export async function soakOutage(outageMs: number): Promise<OutageAccount> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  const publisher = createPublisher({ stream: 'orders', redis })
  const startedAt = performance.now()
  const isOut = () => performance.now() - startedAt < outageMs
  const handled = new Set<string>()
  let [failedCalls, othersMeanwhile] = [0, 0]
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [
      on(
        Paid,
        async ({ eventId }) => {
          await sleep(5)
          if (isOut()) {
            failedCalls++
            throw new Error('out of order')
          }
          handled.add(eventId)
        },
        { use: [circuitBreaker(BREAKER)] },
      ),
      on(Shipped, ({ eventId }) => {
        handled.add(eventId)
        if (isOut()) othersMeanwhile++
      }),
    ],
    backoff: { firstMs: 50, factor: 2, maxMs: 500 },
    maxDeliveries: MAX_DELIVERIES,
    concurrency: CONCURRENCY,
    handlerTimeoutMs: 1_000,
    reserveMs: 500,
    minIdleMs: 10_000,
    maxParked: 1_000_000,
  })
  let isOver = false
  const keepOn = async (run: () => Promise<unknown>) => {
    while (!isOver) {
      await run()
      await sleep(PUBLISH_MS)
    }
  }
  const running = [
    ...Array.from({ length: POLLERS }, () => keepOn(() => poll(consumer, { redis, remainingMs: RUN_MS }))),
    keepOn(() => claim(consumer, { redis, remainingMs: RUN_MS })),
  ]
  const pending = async () => (await raw.xpending('orders', 'billing', '-', '+', 1_000_000)) as unknown[][]
  try {
    let published = 0
    for (; isOut(); published += 2) {
      await publisher.publish(Paid, { n: published })
      await publisher.publish(Shipped, { n: published })
      await sleep(PUBLISH_MS)
    }
    const spent = (await pending()).reduce((sum, row) => sum + Number(row[3]), 0)
    const until = performance.now() + AFTER_MS
    while (handled.size < published && performance.now() < until) await sleep(PUBLISH_MS)
    isOver = true
    await Promise.all(running)
    const deadLetters = await raw.xlen('{orders}:billing:dlq')
    const most = BREAKER.failures + (POLLERS + 1) * CONCURRENCY
    const left = await pending()
    const breaches = [
      ...(deadLetters > 0 ? [`${deadLetters} dead letters`] : []),
      ...(handled.size < published ? [`${published - handled.size} of ${published} were not handled`] : []),
      ...(spent > most ? [`${spent} deliveries were spent, more than ${most}`] : []),
      ...(othersMeanwhile === 0 ? ['other types did not flow'] : []),
      ...(left.length > 0 ? [`${left.length} are pending still`] : []),
    ]
    return { published, handled: handled.size, failedCalls, deadLetters, spent, othersMeanwhile, breaches }
  } finally {
    isOver = true
    await Promise.allSettled(running)
    await redis.close()
    raw.disconnect()
    await server.stop()
  }
}

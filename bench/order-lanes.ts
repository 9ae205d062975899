import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Connection, Consumer, ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import * as z from 'zod/mini'
import { usedMemory } from './server-cost.ts'

interface World {
  readonly raw: Redis
  readonly redis: Connection
}

const Paid = defineEvent('Paid', { payload: z.object({ n: z.number() }) })
const LANES = ['{orders}:billing:lanes', '{orders}:billing:lane-of'] as const

/** Events a second of the hot key, and for how long they come. */
const HOT = { perSecond: 200, seconds: 8 }

function ordered(
  handle: (n: number, deliveryCount: number) => unknown,
  options: Partial<ConsumerOptions> = {},
): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, ({ payload: { n } }, { deliveryCount }) => handle(n, deliveryCount))],
    use: [orderedBy(({ aggregateId }) => aggregateId)],
    maxPollers: 1,
    ...options,
  })
}

async function publish({ redis }: World, count: number, keyOf: (n: number) => string): Promise<void> {
  const publisher = createPublisher({ stream: 'orders', redis })
  for (let at = 0; at < count; at += 1_000)
    await publisher.publishMany(
      Array.from({ length: Math.min(1_000, count - at) }, (_, n) => {
        return [Paid, { n: at + n }, { aggregateId: keyOf(at + n) }] as const
      }),
    )
}

/** A key with steady arrivals whose first event fails once: how long it has a lane. */
export async function measureHotKey(world: World): Promise<string> {
  const { redis } = world
  await world.raw.flushall()
  let failedAt = 0
  let freeAt = 0
  const consumer = ordered(
    async (n, deliveryCount) => {
      await delay(1)
      if (n > 0 || deliveryCount > 1) return
      failedAt = performance.now()
      throw new Error('once')
    },
    { backoff: { firstMs: 500, factor: 1, maxMs: 500 } },
  )
  await poll(consumer, { redis })
  const publisher = createPublisher({ stream: 'orders', redis: world.redis })
  let isOver = false
  const publishing = (async () => {
    const start = performance.now()
    for (let n = 0; n < HOT.perSecond * HOT.seconds; n++) {
      await publisher.publish(Paid, { n }, { aggregateId: 'hot' })
      await delay(Math.max(0, start + ((n + 1) * 1_000) / HOT.perSecond - performance.now()))
    }
    isOver = true
  })()
  const watching = (async () => {
    while (!isOver && freeAt === 0) {
      const sizes = await Promise.all(LANES.map((key) => world.raw.hlen(key)))
      if (failedAt > 0 && performance.now() > failedAt + 400 && sizes.every((size) => size === 0))
        freeAt = performance.now()
      await delay(5)
    }
  })()
  while (!isOver) await poll(consumer, { redis, remainingMs: 60_000 })
  await Promise.all([publishing, watching])
  const seconds = freeAt === 0 ? `not within ${HOT.seconds}` : ((freeAt - failedAt) / 1_000).toFixed(2)
  return `a key with ${HOT.perSecond} events/s, handlers of 1 ms: free ${seconds} s after a failure whose retry came after 0.5 s`
}

/** So many events of one key behind one that fails once. */
export async function measureLane(world: World, behind: number): Promise<string> {
  const { redis } = world
  await world.raw.flushall()
  let calls = 0
  const consumer = ordered(
    (n, deliveryCount) => {
      calls++
      if (n === 0 && deliveryCount === 1) throw new Error('once')
    },
    { backoff: { firstMs: 3_600_000, factor: 1, maxMs: 3_600_000 } },
  )
  await poll(consumer, { redis })
  await publish(world, behind + 1, () => 'one')
  const before = await usedMemory(world.raw)
  const parking = await poll(consumer, { redis, remainingMs: 600_000 })
  const bytes = ((await usedMemory(world.raw)) - before) / behind
  const waiting = await poll(consumer, { redis })
  // its time comes
  const [first] = await world.raw.zrange('{orders}:billing:due', '0', '0')
  await world.raw.zadd('{orders}:billing:due', 1, String(first))
  const start = performance.now()
  const draining = await poll(consumer, { redis, remainingMs: 600_000 })
  const ms = performance.now() - start
  if (draining.acked !== behind + 1 || calls !== behind + 2) throw new Error(`acked ${draining.acked}, called ${calls}`)
  return `${behind} events behind a failed one: set aside in ${parking.roundTrips} requests, ${Math.round(bytes)} bytes each; ${waiting.roundTrips} requests of a run while they wait; drained in ${draining.roundTrips} requests, ${Math.round(ms)} ms`
}

/** So many keys whose first events failed, and are not due. */
export async function measureLanes(world: World, lanes: number): Promise<string> {
  const { redis } = world
  await world.raw.flushall()
  const consumer = ordered(
    () => {
      throw new Error('no')
    },
    { backoff: { firstMs: 3_600_000, factor: 1, maxMs: 3_600_000 }, maxPending: 10 * lanes, maxParked: 10 * lanes },
  )
  await poll(consumer, { redis })
  await publish(world, lanes, (n) => `k${n}`)
  await poll(consumer, { redis, remainingMs: 600_000 })
  if ((await world.raw.hlen(LANES[0])) !== lanes) throw new Error(`made ${await world.raw.hlen(LANES[0])} lanes`)
  const empty = ordered(() => {}, { group: 'empty' })
  await poll(empty, { redis, remainingMs: 600_000 })
  const start = performance.now()
  const { roundTrips } = await poll(consumer, { redis })
  const ms = performance.now() - start
  const { roundTrips: without } = await poll(empty, { redis })
  return `${lanes} keys of which none may start: ${roundTrips} requests of a run, ${without} of one of a group with none; ${Math.round(ms)} ms`
}

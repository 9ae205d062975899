import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineEvent } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { type DelayPlace, delaysOn, promoteAll } from '../support/delays.ts'

// Delays and markers of event ids have two texts: scripts, and MemoryDelays with MemoryMarkers. The same random calls go to both, and what they answer and leave behind must be equal. Steps of time are apart by
// more than a real server's clock goes on by itself; no two events are due at the same time.
const STEP_MS = 30_500
const APART_MS = 10
/** Longer than all steps together: the markers of a real server do not end sooner than those of memory. */
const WINDOW_MS = 86_400_000

const Reminder = defineEvent('Reminder', { payload: z.number() })

type Step =
  | { readonly do: 'delay'; readonly id: string; readonly steps: number; readonly most: number; readonly once: boolean }
  | { readonly do: 'publish'; readonly id: string; readonly most: number }
  | { readonly do: 'cancel'; readonly id: string }
  | { readonly do: 'pass' | 'promote' }

const id = fc.constantFrom('a', 'b', 'c', '0193b2a4-7c1e-7d3f-8a5b-0123456789ab')
const most = fc.constantFrom(2, 1_000)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('delay' as const), id, steps: fc.nat(4), most, once: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('publish' as const), id, most }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), id }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('pass' as const, 'promote' as const) }) },
)

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

function inMemory(): DelayPlace {
  const clock = createVirtualClock()
  const memory = connectMemory({ clock })
  return {
    redis: memory,
    now: () => clock.now(),
    pass: (ms) => clock.advance(ms),
    entries: async () => memory.entries('orders').map(({ fields }) => fields),
    delayed: async () => memory.delayed('orders').length,
  }
}

/** What each step answers, without times, and what is left. */
async function outcomes(place: DelayPlace, steps: readonly Step[]): Promise<unknown> {
  const told: unknown[] = []
  for (const [n, each] of steps.entries()) told.push(await carryOut(place, each, n), await place.delayed())
  const entries = await place.entries()
  return { told, payloads: entries.map((fields) => [new Map(fields).get('eventId'), new Map(fields).get('payload')]) }
}

async function carryOut(place: DelayPlace, each: Step, n: number): Promise<unknown> {
  const publisher = createPublisher({
    stream: 'orders',
    redis: place.redis,
    ...('most' in each && { maxLength: each.most, exactTrimming: true }),
  })
  if (each.do === 'cancel') return publisher.cancel(each.id)
  const once = { eventId: each.do === 'delay' || each.do === 'publish' ? each.id : '', deduplicateMs: WINDOW_MS }
  if (each.do === 'publish') return Object.keys(await publisher.publish(Reminder, n, once))
  if (each.do !== 'delay') return each.do === 'pass' ? place.pass(STEP_MS) : promoteAll(place.redis)
  const later = { delayMs: each.steps * STEP_MS - STEP_MS / 2 + n * APART_MS }
  const time = each.steps === 0 ? { deliverAt: new Date(n) } : later
  return Object.keys(await publisher.publish(Reminder, n, { ...(each.once ? once : { eventId: each.id }), ...time }))
}

it('delays in memory answer and leave behind the same as on Redis for random calls', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
      await raw.flushall()

      const [onRedis, memory] = [await outcomes({ redis, ...delaysOn(raw) }, steps), await outcomes(inMemory(), steps)]

      expect(onRedis).toEqual(memory)
    }),
    { numRuns: 150 },
  )
})

import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineEvent, EventsTrimmedError, readEvents, VersionConflictError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory } from 'millrace/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

// Versions of aggregates have two texts: scripts, and memoryAggregates. The same random calls go to both, and to a plain count of what was added; what they answer must be equal.
const Counted = defineEvent('Counted', { payload: z.number() })

/** Of one aggregate, versions that follow each other: `off` from where the aggregate is, by the count. */
interface Run {
  readonly aggregate: string
  readonly off: number
  readonly length: number
}
type Step =
  | { readonly do: 'publish'; readonly runs: readonly Run[]; readonly most: number; readonly again: boolean }
  | { readonly do: 'read'; readonly aggregate: string; readonly from: number; readonly more: number }
  | { readonly do: 'plain' }

const aggregate = fc.constantFrom('', 'a', 'b')
const run = fc.record({ aggregate, off: fc.constantFrom(0, 0, 0, -1, -2, 1), length: fc.integer({ min: 1, max: 3 }) })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      runs: fc.uniqueArray(run, { selector: (each) => each.aggregate, minLength: 1, maxLength: 3 }),
      most: fc.constantFrom(3, 1_000, 1_000),
      again: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      aggregate,
      from: fc.integer({ min: 1, max: 12 }),
      more: fc.nat(6),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('plain' as const) }) },
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

const named = (name: string) => (name === '' ? {} : { aggregateId: name })

/** What each step answers, with places as the number of the event that stands there. */
async function outcomes(connection: Connection, steps: readonly Step[]): Promise<readonly unknown[]> {
  const counts = new Map<string, number>()
  const told: unknown[] = []
  for (const [n, each] of steps.entries()) told.push(await carryOut(connection, each, n, counts))
  return told
}

async function carryOut(connection: Connection, each: Step, n: number, counts: Map<string, number>): Promise<unknown> {
  const options = 'most' in each ? { maxLength: each.most, exactTrimming: true } : {}
  const publisher = createPublisher({ stream: 'orders', redis: connection, ...options })
  if (each.do === 'plain') return Object.keys(await publisher.publish(Counted, n))
  if (each.do === 'read') return read(connection, each)
  const events = each.runs.flatMap(({ aggregate: name, off, length }) =>
    Array.from({ length }, (_, at) => {
      const expectedVersion = Math.max(0, (counts.get(name) ?? 0) + off) + at
      // the same id at the same version: published again
      const eventId = each.again ? `e-${name}-${expectedVersion}` : `${n}-${name}-${at}`
      return [Counted, n, { ...named(name), expectedVersion, eventId }] as const
    }),
  )
  try {
    const published = await publisher.publishMany(events)
    for (const [, , { expectedVersion, ...of }] of events) {
      const name = 'aggregateId' in of ? of.aggregateId : ''
      counts.set(name, Math.max(counts.get(name) ?? 0, expectedVersion + 1))
    }
    return published.map(({ eventId }) => eventId)
  } catch (error) {
    if (!(error instanceof VersionConflictError)) throw error
    expect(error.actualVersion).toBe(counts.get(error.aggregateId ?? '') ?? 0)
    return [error.aggregateId, error.expectedVersion, error.actualVersion]
  }
}

async function read(
  connection: Connection,
  { aggregate: name, from, more }: Extract<Step, { do: 'read' }>,
): Promise<unknown> {
  const found: unknown[] = []
  try {
    const options = { redis: connection, events: [Counted], ...named(name), from, to: from + more }
    for await (const { aggregateVersion, eventId, payload } of readEvents('orders', options))
      found.push([aggregateVersion, eventId, payload])
  } catch (error) {
    if (!(error instanceof EventsTrimmedError)) throw error
    found.push(error.aggregateVersion)
  }
  return found
}

it('aggregates in memory answer the same as on Redis for random calls', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30, size: 'max' }), async (steps) => {
      await raw.flushall()

      expect(await outcomes(redis, steps)).toEqual(await outcomes(connectMemory(), steps))
    }),
    { numRuns: 150 },
  )
})

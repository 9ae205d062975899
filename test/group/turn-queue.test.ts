import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectIoredis } from '../../src/clients/ioredis.ts'
import { RUNS_PER_QUEUE } from '../../src/core/gates.ts'
import type { Connection } from '../../src/group/connection.ts'
import type { GateOperation } from '../../src/policies/flow/gate-request.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import type { Side } from './gate-sides.ts'
import { keys, memorySide, serverSide } from './gate-sides.ts'

const RATE = { key: keys.rate('a'), max: 1, perMs: 60_000, lateMs: 10_000, slackMs: 0 }
const PLACES = [{ key: keys.places('a'), max: 1 }]

let server: PrivateRedis
let redis: Connection
beforeAll(async () => {
  server = await startRedisServer()
  redis = connectIoredis(server.url)
})
afterAll(async () => {
  await redis.close()
  await server.stop()
})

function pass(order: number, isKnown: boolean, places: typeof PLACES = []): GateOperation {
  const entryId = `${1_700_000_000_000 + Math.floor(order / 3)}-${order % 3}`
  return { op: 'pass', entryId, holder: entryId, isKnown, eventType: '', places, turns: [RATE] }
}

const ask = fc.record({
  orders: fc.uniqueArray(fc.integer({ min: 0, max: 600 }), { minLength: 1, maxLength: 90 }),
  isKnown: fc.boolean(),
  hasPlaces: fc.boolean(),
  most: fc.integer({ min: 0, max: 3 }),
  steps: fc.integer({ min: 0, max: 1 }),
})

/** How many wait, by the queue's text. */
function countOf(queue: string): number {
  const counts = queue.split(' ').map((run) => Number(run.split(':')[2] ?? (run === '' ? 0 : 1)))
  return counts.reduce((sum, count) => sum + count, 0)
}

it('memory has those who wait for a turn stand as the server does, in no more than so many runs', async () => {
  const [real, memory] = [serverSide(redis), memorySide()]
  let most = 0
  await fc.assert(
    fc.asyncProperty(fc.array(ask, { minLength: 4, maxLength: 12 }), async (asks) => {
      await Promise.all([real.clear(), memory.clear()])
      for (const [n, { orders, isKnown, hasPlaces, most: room, steps }] of asks.entries()) {
        const operations = orders.map((order) => pass(order, isKnown, hasPlaces && order % 7 === 0 ? PLACES : []))
        await Promise.all([real, memory].map((side) => side.ask(`n${n}`, room, operations)))
        if (steps > 0) await Promise.all([real.pass(), memory.pass()])
        const [ofServer = '', ofMemory] = await Promise.all([real, memory].map((side) => side.queue(RATE.key)))
        expect(ofServer).toBe(ofMemory)
        expect(ofServer.split(' ').length).toBeLessThanOrEqual(RUNS_PER_QUEUE)
        const places = ofServer.split(/[ :]/).filter((text) => text.length > 9)
        expect(places).toEqual(places.toSorted())
        most = Math.max(most, countOf(ofServer))
      }
    }),
    { numRuns: 60, endOnFailure: true },
  )
  expect(most).toBeGreaterThan(RUNS_PER_QUEUE)
}, 120_000)

const SIDES: readonly [string, () => Side][] = [
  ['server', () => serverSide(redis)],
  ['memory', memorySide],
]

it.each(SIDES)('who waits stands by its id, in whatever order they ask, on the %s', async (_, start) => {
  const side = start()
  await side.clear()
  const answers: unknown[] = []
  for (const [n, order] of [9, 4, 7, 2].entries()) answers.push(...(await side.ask(`n${n}`, 4, [pass(order, n > 1)])))

  // the first took the turn, and who came before the others is next
  expect((answers as { kind: string }[]).map(({ kind }) => kind)).toEqual(['pass', 'turn', 'turn', 'turn'])
  const inOrder = [2, 4, 7].map((order) => (1_700_000_000_000 + Math.floor(order / 3)) * 1_000 + (order % 3))
  expect(await side.queue(RATE.key)).toBe(inOrder.join(' '))
})

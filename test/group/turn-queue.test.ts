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

/** Who waits, without when each comes back: clocks differ. */
const whoWaits = (queue: string) => queue.replaceAll(/@[\d:]+/g, '')

/** How many wait, by that. */
function countOf(queue: string): number {
  const counts = queue.split(' ').map((run) => Number(run.split(':')[2] ?? (run === '' ? 0 : 1)))
  return counts.reduce((sum, count) => sum + count, 0)
}

it('who waits for a turn stands in memory as on the server', async () => {
  const [real, memory] = [serverSide(redis), memorySide()]
  let most = 0
  await fc.assert(
    fc.asyncProperty(fc.array(ask, { minLength: 4, maxLength: 12 }), async (asks) => {
      await Promise.all([real.clear(), memory.clear()])
      const joins = Array.from({ length: 150 }, (_, n) => pass(4 * n, false))
      await Promise.all([real, memory].map((side) => side.ask('first', 1, joins)))
      for (const [n, { orders, isKnown, hasPlaces, most: room, steps }] of asks.entries()) {
        const operations = orders.map((order) => pass(order, isKnown, hasPlaces && order % 7 === 0 ? PLACES : []))
        await Promise.all([real, memory].map((side) => side.ask(`n${n}`, room, operations)))
        if (steps > 0) await Promise.all([real.pass(), memory.pass()])
        const queues = await Promise.all([real, memory].map((side) => side.queue(RATE.key)))
        const [ofServer = '', ofMemory] = queues.map(whoWaits)
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
  expect(whoWaits(await side.queue(RATE.key))).toBe(inOrder.join(' '))
})

it('a queue that somebody else wrote is read alike, and stops nobody', async () => {
  const texts = [
    'x',
    '@',
    '1',
    '1:2@3',
    '1:2:0@3:3',
    '9:3:1@0:0 4@0',
    `1:${'9'.repeat(16)}:${'9'.repeat(12)}@1:9`,
    '5@5 '.repeat(400),
  ]
  for (const text of texts) {
    const after = await Promise.all(
      [serverSide(redis), memorySide()].map(async (side) => {
        await side.clear()
        await side.ask('n1', 4, [pass(1, false), pass(2, false)])
        await side.set(RATE.key, 'queue', text)
        await side.ask('n2', 4, [pass(3, false), pass(2, true)])
        for (let steps = 0; steps < 5; steps++) await side.pass()
        const first = await side.ask('n3', 4, [pass(2, true)])
        // nobody has asked for longer than a turn is kept
        await side.set(RATE.key, 'woke', '0')
        await side.set(RATE.key, 'asked', '9000000000000')
        const again = await side.ask('n4', 4, [pass(2, true)])
        return { kinds: [...first, ...again].map(({ kind }) => kind), queue: whoWaits(await side.queue(RATE.key)) }
      }),
    )

    expect(after[0]).toEqual(after[1])
    expect(after[0]?.kinds).toContain('pass')
  }
})

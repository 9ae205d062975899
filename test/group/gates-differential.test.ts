import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectIoredis } from '../../src/clients/ioredis.ts'
import type { Clock } from '../../src/clock.ts'
import type { Connection } from '../../src/group/connection.ts'
import { connectMemory } from '../../src/group/memory/memory-connection.ts'
import type { GateAnswer, GateOperation } from '../../src/policies/flow/gate-request.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { asker, keys, memorySide, serverSide } from './gate-sides.ts'

const TOLERANCE_MS = 3_000

const entryId = fc.integer({ min: 1, max: 5 }).map((n) => `${n}-0`)
const eventType = fc.constantFrom('Paid', 'Shipped of')
const place = fc.constantFrom({ key: keys.places('a'), max: 1 }, { key: keys.places('b'), max: 2 })
const turn = fc.constantFrom(
  { key: keys.rate('a'), max: 3, perMs: 60_000, lateMs: 10_000, slackMs: 0 },
  { key: keys.rate('a'), max: 2, perMs: 60_000, lateMs: 10_000, slackMs: 0 },
  { key: keys.rate('b'), max: 4, perMs: 60_000, lateMs: 0, slackMs: 20_000 },
  { key: keys.rate('b'), max: 4, perMs: 60_000, lateMs: 20_000, slackMs: 20_000 },
)
const operation: fc.Arbitrary<GateOperation> = fc.oneof(
  fc.record({
    op: fc.constant('pass' as const),
    entryId,
    holder: entryId.map((id) => `poller-0:x:${id}`),
    isKnown: fc.boolean(),
    eventType: fc.oneof(fc.constant(''), eventType),
    places: fc.uniqueArray(place, { maxLength: 2, selector: ({ key }) => key }),
    turns: fc.uniqueArray(turn, { maxLength: 2, selector: ({ key }) => key }),
  }),
  fc.record({
    op: fc.constant('left' as const),
    holder: entryId.map((id) => `poller-0:x:${id}`),
    heldMs: fc.constantFrom(20_000, 60_000),
    places: fc.uniqueArray(place, { minLength: 1, maxLength: 2, selector: ({ key }) => key }),
  }),
  fc.record({
    op: fc.constant('failed' as const),
    eventType,
    failuresKey: fc.constant(keys.failures('x')),
    member: fc.integer({ min: 1, max: 9 }).map((n) => `${n}-0:1`),
    entryId,
    failures: fc.constant(2),
    perMs: fc.constant(45_000),
    probeAfterMs: fc.constant(45_000),
    error: fc.constant('Error'),
    isLast: fc.boolean(),
  }),
  fc.record({ op: fc.constant('worked' as const), eventType, failuresKey: fc.constant(keys.failures('x')), entryId }),
  fc.record({ op: fc.constant('void' as const), eventType, entryId }),
)
const step = fc.oneof(
  { weight: 1, arbitrary: fc.constant('pass' as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      most: fc.integer({ min: 0, max: 4 }),
      operations: fc.array(operation, { minLength: 1, maxLength: 6 }),
      isAskedTwice: fc.boolean(),
    }),
  },
)

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

it('memory passes gates as the server does, and a repeated request changes nothing', async () => {
  const [real, memory] = [serverSide(redis), memorySide()]
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      await Promise.all([real.clear(), memory.clear()])
      for (const [n, one] of steps.entries()) {
        if (one === 'pass') {
          await Promise.all([real.pass(), memory.pass()])
          continue
        }
        const sides = await Promise.all([real, memory].map((side) => side.ask(`n${n}`, one.most, one.operations)))
        const [ofServer = [], ofMemory = []] = sides
        expect(ofServer.map(({ kind }) => kind)).toEqual(ofMemory.map(({ kind }) => kind))
        for (const [at, answer] of ofServer.entries())
          expect(Math.abs(answer.at - (ofMemory[at] as GateAnswer).at)).toBeLessThan(TOLERANCE_MS)
        if (!one.isAskedTwice) continue
        const again = await Promise.all([real, memory].map((side) => side.ask(`n${n}`, 4, one.operations)))
        expect(again.map((side) => side.map(({ kind }) => kind))).toEqual(
          sides.map((side) => side.map(({ kind }) => kind)),
        )
      }
    }),
    { numRuns: 60, endOnFailure: true },
  )
}, 120_000)

it('no window has more than max turns, and there are nearly as many', async () => {
  let now = 1_700_000_000_000
  const clock: Clock = { now: () => now, monotonic: () => now, after: () => () => {} }
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.record({ waitMs: fc.integer({ min: 0, max: 300 }), most: fc.integer({ min: 0, max: 6 }) }), {
        minLength: 50,
        maxLength: 50,
      }),
      async (max, asks) => {
        const ask = asker(connectMemory({ clock }))
        const [perMs, lateMs, slackMs] = [1_000, 20, 20]
        const turns: number[] = []
        for (const [n, { waitMs, most }] of asks.entries()) {
          now += waitMs
          const operations = Array.from({ length: 8 }, (_, m): GateOperation => {
            const id = `${n}-${m}`
            const one = { key: keys.rate('a'), max, perMs, lateMs, slackMs }
            return { op: 'pass', entryId: id, holder: id, isKnown: true, eventType: '', places: [], turns: [one] }
          })
          const answers = await ask(`n${n}`, most, operations)
          turns.push(...answers.flatMap(({ kind, at }) => (kind === 'pass' ? [now + at] : [])))
        }
        const inOrder = turns.toSorted((a, b) => a - b)
        for (const [n, at] of inOrder.entries()) {
          const later = inOrder[n + max]
          if (later !== undefined) expect(later - (at + lateMs)).toBeGreaterThan(perMs - 0.01)
        }
        const span = (inOrder.at(-1) ?? 0) - (inOrder[0] ?? 0)
        const isBusy = asks.every(({ most }) => most > 0) && span > 5 * perMs
        if (isBusy) expect(inOrder.length).toBeGreaterThanOrEqual((0.95 * max * span) / perMs - 1)
      },
    ),
    { numRuns: 100 },
  )
}, 60_000)

it.each(['server', 'memory'] as const)('who waits holds nothing that it was given before, on the %s', async (where) => {
  const side = { server: () => serverSide(redis), memory: memorySide }[where]()
  await side.clear()
  const turn = { key: keys.rate('a'), max: 1, perMs: 60_000, lateMs: 10, slackMs: 0 }
  const pass = (id: string, turns: readonly (typeof turn)[]): GateOperation => ({
    op: 'pass',
    entryId: id,
    holder: id,
    isKnown: true,
    eventType: '',
    places: [{ key: keys.places('a'), max: 1 }],
    turns,
  })
  const kinds = async (nonce: string, ...operations: GateOperation[]) =>
    (await side.ask(nonce, 4, operations)).map(({ kind }) => kind)

  expect(await kinds('n1', pass('1-0', [turn]))).toEqual(['pass'])
  expect(await kinds('n2', pass('1-0', [turn]), pass('2-0', []))).toEqual(['turn', 'pass'])
})

it.each(['server', 'memory'] as const)(
  'a place that is given back leaves those of others, on the %s',
  async (where) => {
    const side = { server: () => serverSide(redis), memory: memorySide }[where]()
    await side.clear()
    const places = [{ key: keys.places('a'), max: 2 }]
    const pass = (id: string): GateOperation => ({
      op: 'pass',
      entryId: id,
      holder: id,
      isKnown: false,
      eventType: '',
      places,
      turns: [],
    })
    const kinds = async (nonce: string, ...operations: GateOperation[]) =>
      (await side.ask(nonce, 4, operations)).map(({ kind }) => kind)
    await kinds('n1', pass('1-0'), pass('2-0'))

    await kinds('n2', { op: 'left', holder: '1-0', heldMs: 1, places })

    expect(await kinds('n3', pass('3-0'), pass('4-0'))).toEqual(['pass', 'place'])
  },
)

it.each(['server', 'memory'] as const)('a request that comes late gives nothing, on the %s', async (where) => {
  const side = { server: () => serverSide(redis), memory: memorySide }[where]()
  await side.clear()
  const pass: GateOperation = {
    op: 'pass',
    entryId: '1-0',
    holder: '1-0',
    isKnown: true,
    eventType: '',
    places: [{ key: keys.places('a'), max: 1 }],
    turns: [],
  }
  await side.ask('run:1', 1, [pass])
  await side.ask('run:2', 1, [{ op: 'left', holder: '1-0', heldMs: 1, places: pass.places }])

  const late = await side.ask('run:1', 1, [pass]).catch(() => [])
  const others = await side.ask('other:1', 1, [{ ...pass, entryId: '2-0', holder: '2-0' }])

  expect([late, others.map(({ kind }) => kind)]).toEqual([[], ['pass']])
})

it('a turn that one limit has later uses up none of another', async () => {
  const now = 1_700_000_000_000
  const clock: Clock = { now: () => now, monotonic: () => now, after: () => () => {} }
  const ask = asker(connectMemory({ clock }))
  const needs = (name: string, id: string, max: number): GateOperation => {
    const one = { max, perMs: 1_000, lateMs: 20, slackMs: 0 }
    const turns = [
      { key: keys.rate(name), ...one },
      { key: keys.rate('all'), ...one, max: 100 },
    ]
    return { op: 'pass', entryId: id, holder: id, isKnown: false, eventType: '', places: [], turns }
  }

  const answers = await ask('n1', 9, [needs('a', '1-0', 1), needs('a', '2-0', 1), needs('b', '3-0', 1)])

  expect(answers.map(({ kind }) => kind)).toEqual(['pass', 'turn', 'pass'])
  expect(answers[1]?.at).toBeGreaterThan(1_000)
  expect(answers[2]?.at).toBeLessThan(11)
})

it.each(['server', 'memory'] as const)('who came later stands behind whose turn passed, on the %s', async (where) => {
  const side = { server: () => serverSide(redis), memory: memorySide }[where]()
  await side.clear()
  const turn = { key: keys.rate('a'), max: 1, perMs: 60_000, lateMs: 10, slackMs: 0 }
  const pass = (id: string, isKnown = false): GateOperation => {
    return { op: 'pass', entryId: id, holder: id, isKnown, eventType: '', places: [], turns: [turn] }
  }
  const kinds = async (nonce: string, ...operations: GateOperation[]) =>
    (await side.ask(nonce, 4, operations)).map(({ kind }) => kind)
  const passes = async (steps: number) => {
    for (let n = 0; n < steps; n++) await side.pass()
  }

  expect(await kinds('n1', pass('1-0'), pass('2-0'), pass('3-0'))).toEqual(['pass', 'turn', 'turn'])
  await passes(5)
  expect(await kinds('n2', pass('9-0'), pass('2-0', true), pass('3-0', true))).toEqual(['turn', 'pass', 'turn'])
  await passes(1)
  // its turn is near, and the other's as well, who stands before it
  expect(await kinds('n3', pass('9-0', true), pass('3-0', true))).toEqual(['turn', 'pass'])
  await passes(2)
  expect(await kinds('n4', pass('10-0'), pass('9-0', true))).toEqual(['turn', 'pass'])
  await passes(3)
  expect(await kinds('n5', pass('11-0'), pass('10-0', true))).toEqual(['turn', 'pass'])
})

it.each([
  ['a server', () => serverSide(redis)],
  ['memory', memorySide],
] as const)('%s has who waits ask rarely once no place has been free for long', async (_name, make) => {
  const side = make()
  await side.clear()
  const passing = (n: number): GateOperation => ({
    op: 'pass',
    entryId: `${n}-0`,
    holder: `poller-0:x:${n}-0`,
    isKnown: true,
    eventType: '',
    places: [{ key: keys.places('a'), max: 1 }],
    turns: [],
  })
  await side.ask('n1', 1, [passing(1)])
  await side.set(keys.places('a'), 'avg', '5')
  const [soon] = await side.ask('n2', 1, [passing(2)])
  await side.pass()
  const [rare] = await side.ask('n3', 1, [passing(3)])

  expect([soon?.kind, rare?.kind]).toEqual(['place', 'place'])
  expect(soon?.at).toBeLessThan(100)
  expect(rare?.at).toBeGreaterThanOrEqual(512)
  expect(rare?.at).toBeLessThan(1_024 + 10)
})

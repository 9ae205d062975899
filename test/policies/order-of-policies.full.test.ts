import type { ConsumerOptions, Policy } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  createPublisher,
  defineConsumer,
  defineEvent,
  idempotent,
  on,
  rateLimit,
} from 'millrace'
import { pause } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import type { World } from './world.ts'
import { billing, counts, Paid, WORLDS } from './world.ts'

const HOUR_MS = 3_600_000
const BREAKERS = '{orders}:billing:breakers'
const PLACES = '{orders}:billing:places:*'
const RATE = '{orders}:billing:rate:*'
const NewerPaid = defineEvent('Paid', {
  version: 2,
  payload: z.object({ id: z.string() }),
  upcast: { 1: (payload) => payload as { id: string } },
})

/** What may keep an entry from its handler. */
interface Gate {
  readonly name: string
  readonly options?: Partial<ConsumerOptions>
  readonly use?: readonly Policy[]
  readonly when?: () => boolean
  readonly isNewer?: boolean
  /** Has it refuse whatever comes. */
  refuse?(world: World): Promise<unknown>
  /** What the report counts then. */
  readonly told: Readonly<Record<string, number>>
  /** What the entry waits for then. */
  readonly waitsFor?: string
}

/** In the order in which they decide. */
const GATES: readonly Gate[] = [
  { name: 'max age', options: { maxAgeMs: 1 }, told: { deadLettered: 1 } },
  { name: 'when', when: () => false, told: { ignored: 1 } },
  {
    name: 'pause',
    refuse: (world) => pause(defineConsumer(consumerOptions([])), { redis: world.redis, type: 'Paid' }),
    told: { parked: 1 },
    waitsFor: 'paused Paid',
  },
  {
    name: 'version',
    isNewer: true,
    options: { newerVersion: 'park' },
    told: { parked: 1 },
    waitsFor: 'newer-version 2 Paid',
  },
  {
    name: 'circuitBreaker',
    use: [circuitBreaker({ failures: 1, perMs: HOUR_MS, probeAfterMs: HOUR_MS })],
    refuse: (world) => world.command('HSET', BREAKERS, 'until Paid', Date.now() + HOUR_MS),
    told: { parked: 1, circuitOpen: 1 },
    waitsFor: 'circuitBreaker Paid',
  },
  {
    name: 'idempotent',
    use: [idempotent({ ttlMs: HOUR_MS })],
    refuse: (world) => world.command('SET', billing(() => {}).keys.marker('id:p1'), 'd1-0'),
    told: { acked: 1, duplicates: 1 },
  },
  {
    name: 'concurrencyLimit',
    use: [concurrencyLimit({ max: 1 })],
    refuse: (world) => world.command('HSET', PLACES, '@poller-3:other:1-0', Date.now() + HOUR_MS),
    told: { parked: 1, concurrencyLimited: 1 },
  },
  {
    name: 'rateLimit',
    use: [rateLimit({ max: 1, perMs: HOUR_MS })],
    refuse: (world) => world.command('HSET', RATE, 'free', Date.now() + HOUR_MS, 'line', 0),
    told: { parked: 1, rateLimited: 1 },
  },
]

const PAIRS = GATES.flatMap((first, n) => GATES.slice(n + 1).map((second) => [first, second] as const))

function consumerOptions(gates: readonly Gate[], calls: string[] = []): ConsumerOptions {
  const when = gates.find((gate) => gate.when)?.when
  return {
    stream: 'orders',
    group: 'billing',
    mode: 'once',
    routes: [on(Paid, ({ payload }) => void calls.push(payload.id), when ? { when } : {})],
    ...Object.assign({}, ...gates.map(({ options }) => options)),
    // as they do not stand in their order
    use: gates.flatMap(({ use = [] }) => use).toReversed(),
  }
}

async function publish(world: World, gates: readonly Gate[]): Promise<void> {
  const publisher = createPublisher({ stream: 'orders', redis: world.redis })
  const event = gates.some(({ isNewer }) => isNewer) ? NewerPaid : Paid
  await publisher.publish(event, { id: 'p1' }, { eventId: 'p1' })
  // it is older than a millisecond
  const { promise, resolve } = Promise.withResolvers<void>()
  setTimeout(resolve, 5)
  await promise
}

/** What somebody else finds of what these gates give. */
async function given(world: World): Promise<Readonly<Record<string, unknown>>> {
  const fields = async (key: string, ...names: string[]) =>
    (await Promise.all(names.map((name) => world.command('HGET', key, name)))).map(String)
  const places = ((await world.command('HGETALL', PLACES)) ?? []) as readonly string[]
  return {
    probe: await fields(BREAKERS, 'probe Paid', 'held Paid'),
    places: [places].flat().filter((name) => name.startsWith('@poller-0') || name.startsWith('@claimer-0')),
    turn: await fields(RATE, 'free', 'used'),
  }
}

describe.each(['memory', 'TCP'] as const)('of two gates, in %s', (where) => {
  const start = WORLDS[where] as () => Promise<World>
  // in memory the index is none of the values that commands see
  const showsWaiting = where !== 'memory'

  /** Polls an entry that these gates are about. @param refusing Those of them that refuse it. */
  async function poll(gates: readonly Gate[], refusing: readonly Gate[]) {
    const world = await start()
    const calls: string[] = []
    await world.poll(billing(() => {}))
    for (const gate of refusing) await gate.refuse?.(world)
    await publish(world, gates)
    const before = await given(world)
    const report = await world.poll(defineConsumer(consumerOptions(gates, calls)))
    const { circuitOpen, concurrencyLimited, rateLimited } = report
    const limited = Object.entries({ circuitOpen, concurrencyLimited, rateLimited }).filter(([, count]) => count > 0)
    const { read: _, ...told } = { ...counts(report), ...Object.fromEntries(limited) }
    const waits = showsWaiting ? await world.command('ZRANGEBYLEX', '{orders}:billing:waiting', '-', '+') : []
    return { calls, told, waits, before, after: await given(world), world }
  }

  test.each(PAIRS.map((pair) => [pair[0].name, pair[1].name, ...pair] as const))(
    '%s decides before %s, which gives nothing',
    async (_first, _second, first, second) => {
      // `when` is asked about what can be read
      const decides = first.when && second.isNewer ? second : first
      const both = await poll([first, second], [first, second])

      expect([both.calls, both.told]).toEqual([[], decides.told])
      expect(both.waits).toEqual(
        decides.waitsFor && showsWaiting ? [expect.stringMatching(new RegExp(`^${decides.waitsFor}\\b`))] : [],
      )
      expect(both.after).toEqual(both.before)

      const open = await poll([first, second], [decides])
      expect([open.calls, open.told, open.after]).toEqual([[], decides.told, open.before])
    },
  )

  test.each(GATES.map((gate) => [gate.name, gate] as const))('%s gives back what a call had', async (_name, gate) => {
    if (gate.when || gate.isNewer || gate.options?.maxAgeMs) return
    const { calls, after } = await poll([gate], [])

    expect(calls).toEqual(['p1'])
    expect([after.probe, after.places]).toEqual([['null', 'null'], []])
  })
})

import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { compareEntryIds } from '../../src/core/entry.ts'
import type { DeadLetterReason, JoinedCommand, Outcome } from '../../src/core/outcome.ts'
import type { ClaimedEntry, Delivery, HeldEntry } from '../../src/group/delivery.ts'
import type { Slot } from '../../src/group/group.ts'
import type { Pausing } from '../../src/group/pausing.ts'
import { AnsweredDelivery } from '../../src/group/redis/answered-delivery.ts'
import { joinScriptCalls } from '../../src/group/redis/joining.ts'
import { pausingOf } from '../../src/group/redis/pausing.ts'
import { holdMarkersScript } from '../../src/group/redis/scripts/hold-markers.ts'
import { effectScriptCalls } from '../../src/group/redis/settling-effects.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { createMemoryWorld } from '../model/memory-world.ts'
import { createRedisWorld } from '../model/redis-world.ts'
import type { Caller, World } from '../model/world.ts'
import { GROUP, KEYS, STREAM } from '../model/world.ts'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides } from '../support/both-sides.ts'
import { plainDelivery } from '../support/plain-delivery.ts'

// Each server-side script has a second text in memory. The same random calls go to both, and whatever they answer and leave behind must be equal, but
// for what a clock or chance gives. Steps of time and waits are apart by more than a real server's clock goes on by itself.
const STEP_MS = 30_500
const LEASE_MS = 100_000
const MIN_IDLE_MS = 60_000
const OF_TYPES = { field: 'eventType', values: [] }

type Step =
  | { readonly do: 'add' | 'read' | 'claim' | 'take-on'; readonly count: number }
  | { readonly do: 'take' | 'give'; readonly kind: 'poller' | 'claimer' }
  | { readonly do: 'settle'; readonly outcomes: readonly Outcome[] }
  | { readonly do: 'settle-effects'; readonly asked: readonly AskedEffects[]; readonly together: boolean }
  | { readonly do: 'start' | 'hold' | 'renew' | 'finish' | 'pass' | 'measure' | 'lose' | 'heal' | 'give-back' }
  | { readonly do: 'trim'; readonly which: number }
  | { readonly do: 'pause' | 'resume'; readonly type: string | undefined }

interface AskedEffects {
  readonly outcome: Outcome
  readonly commands: readonly JoinedCommand[]
}

const reason: DeadLetterReason = 'non-retryable'
const markers = ['a', 'b'].map((key) => ({ key: `{${STREAM}}:${GROUP}:done:${key}`, ttlMs: 100_000_000 }))
const JOINED = [`{${STREAM}}:marker`, `{${STREAM}}:joined`]
const outcome = fc.constantFrom<Outcome>(
  ...markers.map((marker): Outcome => ({ kind: 'ack-with', commands: [], marker })),
  ...markers.map((marker): Outcome => ({ kind: 'duplicate', marker })),
  { kind: 'ack-with', commands: [['SET', `{${STREAM}}:joined`, 'x']], marker: markers[0] },
  { kind: 'ack-with', commands: [['SADD', `{${STREAM}}:marker`, 'x']], marker: markers[1] },
  { kind: 'ack' },
  { kind: 'ignore' },
  { kind: 'ack-with', commands: [['SET', `{${STREAM}}:marker`, 'x']] },
  // refused, once the marker is there
  { kind: 'ack-with', commands: [['SADD', `{${STREAM}}:marker`, 'x']] },
  ...[0, 45_000, 90_000].map((delayMs): Outcome => ({ kind: 'retry', delayMs })),
  ...[0, 90_000].map((delayMs): Outcome => ({ kind: 'park', delayMs })),
  ...['shelf a', 'shelf b', 'held x'].map((condition): Outcome => ({ kind: 'park', delayMs: 0, condition })),
  { kind: 'release', owner: 'parked', deliveryCount: 0 },
  { kind: 'release', owner: 'parked', deliveryCount: 0, condition: 'shelf a' },
  { kind: 'release', owner: 'poller-9', deliveryCount: 1 },
  { kind: 'dead-letter', letter: { reason, lastDeliveredAt: 1, failedAt: 2 } },
)
const effect = fc.constantFrom<JoinedCommand>(
  ['INCRBY', `{${STREAM}}:n`, '9223372036854775807'],
  ['INCRBY', `{${STREAM}}:n`, '-1'],
  ['HINCRBY', `{${STREAM}}:h`, 'f', '2'],
  ['SADD', `{${STREAM}}:n`, 'x'],
  ['XADD', `{${STREAM}}:x`, 'MAXLEN', '=', 2, '*', 'a', 'b'],
  ['DEL', `{${STREAM}}:n`],
  ['SADD', markers[0]?.key ?? '', 'x'],
)
const asked = fc.record({
  outcome: fc.constantFrom<Outcome>(
    { kind: 'ack-with', commands: [] },
    { kind: 'ack-with', commands: [['SADD', `{${STREAM}}:marker`, 'x']] },
    ...markers.map((marker): Outcome => ({ kind: 'ack-with', commands: [], marker })),
  ),
  commands: fc.array(effect, { maxLength: 3 }),
})
const count = fc.integer({ min: 1, max: 4 })
const kind = fc.constantFrom('poller' as const, 'poller' as const, 'claimer' as const)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('add' as const, 'read' as const, 'claim' as const, 'take-on' as const),
      count,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('take' as const, 'take' as const, 'give' as const), kind }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      outcomes: fc.array(outcome, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('settle-effects' as const),
      asked: fc.array(asked, { minLength: 1, maxLength: 4 }),
      together: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'start' as const,
        'start' as const,
        'renew' as const,
        'hold' as const,
        'hold' as const,
        'finish' as const,
        'pass' as const,
        'pass' as const,
        'measure' as const,
        'heal' as const,
        'give-back' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'lose' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom('pause' as const, 'resume' as const, 'resume' as const),
      type: fc.constantFrom(undefined, 'OrderPaid'),
    }),
  },
)

let server: PrivateRedis
let redis: ReturnType<typeof createRedisWorld>

beforeAll(async () => {
  server = await startRedisServer()
  redis = createRedisWorld(server.url)
})

afterAll(async () => {
  redis.close()
  await server.stop()
})

it('a group in memory answers and stores the same as on Redis for random calls', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
      const sides = [new Side(createMemoryWorld()), new Side(redis)]
      for (const side of sides) await side.clear()
      for (const one of steps) {
        const [inMemory, onRedis] = await Promise.all(sides.map((side) => side.carryOut(one)))
        expect(inMemory, JSON.stringify(one)).toEqual(onRedis)
      }
    }),
    { numRuns: process.env.MILLRACE_TIER === 'fast' ? 40 : 200 },
  )
})

/** One of the two, and what its caller has in hand. */
class Side {
  readonly world: World
  readonly #group: BothSides
  readonly #pausing: Pausing
  readonly #slots = new Map<string, Slot>()
  #held: (HeldEntry & Pick<Delivery, 'isTaken'>)[] = []
  #claimed: readonly ClaimedEntry[] = []
  #added = 0

  constructor(world: World) {
    this.world = world
    const caller: Caller = { call: async (request) => request.reply(await request.carryOut(0, request.parts)) }
    const settings = { startAt: '0', maxDeadLetters: Infinity, minIdleMs: MIN_IDLE_MS, maxPollers: 2 }
    const connection = world.connect(caller)
    this.#group = bothSides(
      connection.group({ stream: STREAM, group: GROUP, keys: KEYS, settings, joinCalls: joinScriptCalls }),
    )
    this.#pausing = pausingOf('pause', connection)
  }

  /** Memory keeps the keys of policies. */
  async clear(): Promise<void> {
    await this.world.clear()
    await this.#group.ask([...markers.map(({ key }) => key), ...JOINED].map((key) => ['DEL', key]))
  }

  /** What a step was answered, and what it left behind. */
  async carryOut(step: Step): Promise<unknown> {
    const answer = await this.#answer(step)
    // whether a read that finds nothing makes its name is each server version's own
    const { leases, consumers: _consumers, lastDelivered, ...sight } = await this.world.look()
    const delivered = lastDelivered === '0' ? '0-0' : lastDelivered
    return comparable({
      answer,
      ...sight,
      due: [...sight.due].sort(),
      waiting: [...sight.waiting].sort(),
      delivered,
      leases: [...leases.keys()].sort(),
    })
  }

  /** What has failed stays in hand, first. */
  async #settleEffects(slot: Slot, asked: readonly AskedEffects[], isTogether: boolean): Promise<unknown> {
    const together = isTogether ? {} : undefined
    const how = { together, joinCalls: effectScriptCalls, refused: () => {} }
    const settlements = asked.flatMap(({ outcome, commands }, n) =>
      this.#held[n] ? [{ ...this.#held[n], outcome, effects: { ...how, commands } }] : [],
    )
    this.#held = this.#held.slice(settlements.length)
    const { failed = [], ...result } = await this.#group.settle(slot, settlements)
    this.#held = [...failed.map(({ settlement: { id, deliveryCount } }) => ({ id, deliveryCount })), ...this.#held]
    const values = await this.#group.ask([
      ['GET', `{${STREAM}}:n`],
      ['HGET', `{${STREAM}}:h`, 'f'],
      ['TYPE', `{${STREAM}}:n`],
      ...markers.map((marker) => ['GET', marker.key] as const),
    ])
    return {
      ...result,
      failed: failed.map(({ settlement: { id } }) => id),
      values: values.map((value) => (value instanceof Error ? 'refused' : value)),
    }
  }

  async #answer(step: Step): Promise<unknown> {
    const poller = this.#slots.get('poller')
    const claimer = this.#slots.get('claimer')
    const slot = claimer ?? poller
    switch (step.do) {
      case 'add':
        await this.world.add(
          Array.from({ length: step.count }, () => [`${++this.#added}-0`, `o${this.#added}`] as const),
        )
        return undefined
      case 'hold': {
        const held = this.#held.slice(0, 3)
        const names = held.map(({ id }) => markers[Number.parseInt(id, 10) % 2]?.key as string)
        const args = [GROUP, 100_000_000, MIN_IDLE_MS, ...held.map(({ id }) => id)]
        const keys = [STREAM, KEYS.due, ...names]
        const [answers] = await this.#group.ask([{ script: holdMarkersScript, keys, args }])
        const soon = (answer: unknown) =>
          typeof answer === 'number' && answer > 0 ? Math.round(answer / 5_000) : answer
        return [(answers as unknown[]).map(soon), await this.#group.ask(markers.map(({ key }) => ['GET', key]))]
      }
      case 'take': {
        const taken = await this.#group.takeSlot(step.kind, 2, LEASE_MS)
        if (taken) this.#slots.set(step.kind, taken)
        this.#held = []
        return taken?.consumerName
      }
      case 'give': {
        const given = this.#slots.get(step.kind)
        this.#slots.delete(step.kind)
        return given && this.#group.giveSlot(given)
      }
      case 'read': {
        const read = poller && (await this.#group.settleAndRead(poller, [], { count: step.count, maxPending: 20 }))
        this.#held = [...(read?.entries ?? []).map(plainDelivery), ...this.#held]
        return read
      }
      case 'claim': {
        // a page with room for all: how far one looks that has not, is each one's own
        if (!claimer) return undefined
        const page = await this.#group.settleAndClaim(claimer, [], {
          minIdleMs: MIN_IDLE_MS,
          cursor: undefined,
          room: 100,
        })
        this.#claimed = page.claimed
        return page
      }
      case 'take-on': {
        if (!claimer) return undefined
        // with room for all: what came within a few milliseconds has no order that both know of
        const request = { room: 100, maxDeliveries: 3, till: undefined, conditions: ['shelf a'], unless: OF_TYPES }
        const taken = await this.#group.settleAndTake(claimer, [], request)
        this.#claimed = taken.handed
        this.#held = [...taken.started.map(plainDelivery), ...this.#held]
        const inOrder = <T extends HeldEntry>(entries: readonly T[]) =>
          entries.toSorted((a, b) => compareEntryIds(a.id, b.id))
        return { ...taken, started: inOrder(taken.started), handed: inOrder(taken.handed), till: undefined }
      }
      case 'give-back':
        return claimer && this.#group.settleAndGiveBack(claimer, [])
      case 'heal':
        return claimer && this.#group.heal(claimer)
      case 'start': {
        if (!claimer || this.#claimed.length === 0) return undefined
        const started = await this.#group.settleAndStart(claimer, [], this.#claimed, { unless: OF_TYPES })
        this.#held = [...started.started.map(plainDelivery), ...this.#held]
        this.#claimed = []
        return started
      }
      case 'settle': {
        if (!slot) return undefined
        const settlements = step.outcomes.flatMap((outcome, n) =>
          this.#held[n] ? [{ ...this.#held[n], outcome }] : [],
        )
        this.#held = this.#held.slice(settlements.length)
        return this.#group.settle(
          slot,
          settlements.map(({ id, deliveryCount, outcome, isTaken }) => ({ id, deliveryCount, outcome, isTaken })),
        )
      }
      case 'settle-effects':
        return slot && this.#settleEffects(slot, step.asked, step.together)
      case 'renew':
        return slot && this.#held.length > 0 ? (await this.#group.renew(slot, this.#held)).leaseLost : undefined
      case 'finish': {
        if (!claimer) return undefined
        this.#slots.delete('claimer')
        return this.#group.finishClaims(claimer, '0-0', MIN_IDLE_MS, { hasAcked: true })
      }
      case 'pass':
        await this.world.pass(STEP_MS)
        return undefined
      case 'measure':
        return this.#group.measure()
      case 'pause':
        return this.#pausing.pause({ group: GROUP, keys: KEYS }, { type: step.type, by: 'anna' })
      case 'resume':
        return this.#pausing.resume({ group: GROUP, keys: KEYS }, { type: step.type })
      case 'trim':
        await this.world.trim([`${step.which}-0`])
        return undefined
      default:
        await this.world.lose('group')
        return undefined
    }
  }
}

/** Without what a clock or chance gives and where the next page starts, which is each one's own; bytes as text, and errors by their messages. */
function comparable(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString()
  if (value instanceof Error) return value.message
  if (typeof value === 'function' || typeof value === 'symbol') return typeof value
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null) return value
  const plain = value instanceof AnsweredDelivery ? plainDelivery(value) : value
  return Object.fromEntries(
    Object.entries(plain).flatMap(([name, member]) =>
      /Ms$|^lag$|^cursor$|^now$|^at$/.test(name) ? [] : [[name, comparable(member)]],
    ),
  )
}

import type { Connection, Consumer, Report } from 'millrace'
import { defineConsumer, effects, idempotent, on, RedisConnectionError } from 'millrace'
import { describe, expect, it } from 'vitest'
import type { Random } from '../../demo/random.ts'
import { createRandom } from '../../demo/random.ts'
import { Paid, WORLDS, type World } from '../policies/world.ts'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides } from '../support/both-sides.ts'

const EVENTS = 3
const COUNTER = '{orders}:booked'
const SLOTS = ['poller-0', 'poller-1', 'poller-2', 'poller-3', 'claimer-0', 'claimer-1']
/** Requests of a run in which it may die: from its slot to its last settlement. */
const REQUESTS = 7

/** A process that dies at its n-th request: before the server has it, or after it was carried out and before its answer. Then nothing of it reaches the server. */
class Mortal {
  isDead = false
  #left: number
  readonly #isAnswerLost: boolean

  constructor(random: Random) {
    this.#left = random.integer(1, REQUESTS)
    this.#isAnswerLost = random.integer(0, 1) === 1
  }

  connect(redis: Connection): Connection {
    return {
      group: (address, remainingMs) =>
        bothSides(
          redis.group(address, remainingMs),
          (both) => new Proxy({}, { get: (_, name) => this.#of(both, name) }),
        ),
      close: async () => {},
    }
  }

  #of(both: BothSides, name: string | symbol): unknown {
    const member: unknown = Reflect.get(both, name)
    if (typeof member !== 'function') return member
    return async (...args: unknown[]) => {
      const dies = !this.isDead && --this.#left === 0
      this.isDead ||= dies
      if (dies && this.#isAnswerLost) await Reflect.apply(member, both, args)
      if (this.isDead) throw new RedisConnectionError('the process is dead')
      return Reflect.apply(member, both, args)
    }
  }
}

type Book = (world: World, context: never) => unknown

const asEffect: Book = (_world, context) => void effects(context).increment(COUNTER)
const beforehand: Book = (world) => world.command('INCR', COUNTER)

function booking(world: World, book: Book, mortal: Mortal | undefined, isIdempotent: boolean): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [
      on(Paid, async (_event, context) => {
        if (!mortal?.isDead) await book(world, context as never)
      }),
    ],
    batchSize: 2,
    maxDeliveries: 100,
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    handlerTimeoutMs: 5_000,
    minIdleMs: 10_000,
    ...(isIdempotent && { use: [idempotent({ ttlMs: 86_400_000 })] }),
  })
}

/** What a dead process held may be taken at once. */
async function bury(world: World, name: string): Promise<void> {
  if (name !== 'memory') await world.command('DEL', ...SLOTS.map((slot) => `{orders}:billing:slot:${slot}`))
  await world.pass(120_000)
}

/** Publishes events, kills a poller and a claimer at their work, and has others finish it. @returns How often the events were booked. */
async function bookAll(world: World, name: string, book: Book, random: Random): Promise<number> {
  const isIdempotent = random.integer(0, 1) === 1
  await world.publish(...Array.from({ length: EVENTS }, () => `p${crypto.randomUUID()}`))
  for (const action of ['poll', 'claim'] as const) {
    const mortal = new Mortal(random)
    const consumer = booking(world, book, mortal, isIdempotent)
    await world[action](consumer, { redis: mortal.connect(world.redis) }).catch(() => {})
    await bury(world, name)
  }
  const consumer = booking(world, book, undefined, isIdempotent)
  let done = 0
  for (let round = 0; round < 20; round++) {
    const reports: Report[] = [await world.poll(consumer), await world.claim(consumer)]
    done = reports.reduce((sum, { read, claimed }) => sum + read + claimed, 0)
    if (done === 0 && (await world.pending()).length === 0) break
    await bury(world, name)
  }
  const booked = Number(await world.command('GET', COUNTER))
  await world.command('DEL', COUNTER)
  return booked
}

describe.each([
  ['memory', 10_000, 200],
  ['TCP', 500, 60],
] as const)('processes killed between effect, acknowledgement and answer, %s', (name, runs, control) => {
  it(`effects take place once in each of ${runs} runs`, { timeout: 300_000 }, async () => {
    const start = WORLDS[name] as () => Promise<World>
    let world = await start()
    const random = createRandom(20)
    const wrong = new Map<number, number>()
    for (let run = 0; run < runs; run++) {
      // memory keeps all that ever was
      if (name === 'memory' && run % 100 === 0) world = await start()
      const booked = await bookAll(world, name, asEffect, random)
      if (booked !== EVENTS) wrong.set(run, booked)
    }
    expect([...wrong]).toEqual([])
  })

  it('without them some are booked twice', { timeout: 60_000 }, async () => {
    const world = await (WORLDS[name] as () => Promise<World>)()
    const random = createRandom(20)
    let extra = 0
    for (let run = 0; run < control; run++) extra += (await bookAll(world, name, beforehand, random)) - EVENTS
    expect(extra).toBeGreaterThan(0)
  })
})

import type { Connection, Consumer } from 'millrace'
import { createPublisher, defineConsumer, on, poll, rateLimit } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { Paid } from './world.ts'

const RATE = { max: 5, perMs: 1_000 }

type Mode = 'drain' | 'listen'

/** A connection whose requests go out later, and whose replies come later, each by so many turns of the queue of microtasks. */
function lateBy(redis: Connection, ticks: () => number): Connection {
  const late =
    <Args extends readonly unknown[], T>(call: (...args: Args) => T) =>
    async (...args: Args) => {
      for (let left = ticks(); left > 0; left--) await Promise.resolve()
      const reply = await call(...args)
      for (let left = ticks(); left > 0; left--) await Promise.resolve()
      return reply
    }
  const METHODS = ['ask', 'settle', 'settleAndRead', 'settleAndClaim', 'settleAndTake', 'settleAndStart']
  const inGroup = <T extends object>(group: T): T =>
    new Proxy(group, {
      get(of, name) {
        const method: unknown = Reflect.get(of, name, of)
        if (typeof method !== 'function') return method
        return METHODS.includes(String(name)) ? late(method.bind(of)) : method.bind(of)
      },
    })
  return new Proxy(redis, {
    get(of, name) {
      const method: unknown = Reflect.get(of, name, of)
      return name === 'group' ? (address: never) => inGroup(of.group(address)) : method
    },
  })
}

/** A group whose handler notes the numbers of its events, by a virtual clock. */
function startWorld(mode: Mode, ticks = () => 0) {
  const clock = createVirtualClock()
  const memory = connectMemory({ clock })
  const redis = lateBy(memory, ticks)
  const started: number[] = []
  const consumer: Consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    mode,
    routes: [on(Paid, ({ payload }) => void started.push(Number(payload.id)))],
    use: [rateLimit(RATE)],
  })
  const publisher = createPublisher({ stream: 'orders', redis: memory })
  const key = consumer.keys.rate('*')
  return {
    clock,
    started,
    command: (...command: [string, ...string[]]) =>
      memory.group({ ...consumer, settings: consumer.settings }).ask([[command[0], key, ...command.slice(1)]]),
    async publish(from: number, to: number) {
      for (let n = from; n < to; n++) {
        await publisher.publish(Paid, { id: String(n) })
        await clock.advance(1)
      }
    },
    /** Pollers and a claimer run again and again for so long. */
    async run(pollers: number, ms: number) {
      const stop = new AbortController()
      const options = { redis, clock, signal: stop.signal, remainingMs: 100_000 }
      const again = async (pauseMs: number, once: () => Promise<unknown>) => {
        while (!stop.signal.aborted) {
          await once()
          await new Promise<void>((resolve) => void clock.after(pauseMs, resolve))
        }
      }
      const polling = Array.from({ length: pollers }, () => again(100, () => poll(consumer, options)))
      const claiming = again(500, () => claimOnce(consumer, options))
      await clock.advance(ms)
      stop.abort()
      await clock.advance(3_000)
      await Promise.all([...polling, claiming])
    },
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)

it.each([
  ['listen', 1],
  ['listen', 3],
  ['drain', 1],
  ['drain', 3],
] as const)('what missed its turn has it before what came later: %s, %i at once', async (mode, pollers) => {
  expect(await startedAfterAPause(startWorld(mode), pollers)).toEqual(numbers(90))
})

it.each((['listen', 'drain'] as const).flatMap((mode) => numbers(24).map((seed) => [mode, seed] as const)))(
  'those that come back have their turns in order, whoever asks first: %s, %i',
  async (mode, seed) => {
    let state = seed * 7_919 + 1
    const ticks = () => {
      state = (state * 48_271) % 2_147_483_647
      return state % 4
    }
    expect(await startedAfterAPause(startWorld(mode, ticks), 1 + (seed % 3))).toEqual(numbers(90))
  },
)

async function startedAfterAPause(world: ReturnType<typeof startWorld>, pollers: number): Promise<readonly number[]> {
  await world.publish(0, 60)
  // of several, one may ask for free turns before another that has read what is older
  await world.run(1, 2_000)
  await world.clock.advance(600_000)
  await world.publish(60, 90)
  await world.run(pollers, 25_000)
  return world.started
}

it('those who stood in line and are gone keep nobody waiting for long', async () => {
  const { started, command, publish, run } = startWorld('drain')
  await publish(0, 10)
  await run(1, 1_000)
  const before = Array.from({ length: 30 }, (_, n) => `${n + 1}000`)
  await command('hset', 'queue', [...before, '50000:90000:1000'].join(' '))
  await publish(10, 30)

  await run(1, 10_000)

  expect(started.toSorted((a, b) => a - b)).toEqual(numbers(30))
})

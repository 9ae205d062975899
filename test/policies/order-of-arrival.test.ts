import type { Consumer } from 'millrace'
import { createPublisher, defineConsumer, on, poll, rateLimit } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { Paid } from './world.ts'

const RATE = { max: 5, perMs: 1_000 }

/** A group whose handler notes the numbers of its events, by a virtual clock. */
function startWorld(mode: 'drain' | 'listen') {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const started: number[] = []
  const consumer: Consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    mode,
    routes: [on(Paid, ({ payload }) => void started.push(Number(payload.id)))],
    use: [rateLimit(RATE)],
  })
  const publisher = createPublisher({ stream: 'orders', redis })
  const key = consumer.keys.rate('*')
  return {
    clock,
    started,
    command: (...command: [string, ...string[]]) =>
      redis.group({ ...consumer, settings: consumer.settings }).ask([[command[0], key, ...command.slice(1)]]),
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
  const { clock, started, publish, run } = startWorld(mode)
  await publish(0, 60)
  await run(pollers, 2_000)
  await clock.advance(600_000)
  await publish(60, 90)

  await run(pollers, 25_000)

  expect(started).toEqual(numbers(90))
})

it('those who stood in line and are gone keep nobody waiting for long', async () => {
  const { started, command, publish, run } = startWorld('drain')
  await publish(0, 10)
  await run(1, 1_000)
  await command('hset', 'waits', '1000')
  await publish(10, 30)

  await run(1, 10_000)

  expect(started.toSorted((a, b) => a - b)).toEqual(numbers(30))
})

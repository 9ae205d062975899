import { createPublisher, defineConsumer, on, poll, rateLimit } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { expect, it } from 'vitest'
import { Paid } from './world.ts'

const RATES = [
  { max: 5, perMs: 1_000, windows: 30 },
  { max: 50, perMs: 1_000, windows: 10 },
  { max: 500, perMs: 1_000, windows: 4 },
  { max: 10, perMs: 60_000, windows: 6 },
  { max: 10, perMs: 400, windows: 20 },
]

const CASES = RATES.flatMap((rate) => [1, 3].map((pollers) => ({ ...rate, pollers })))

/** The most that are in any window; times in order. */
function mostWithin(times: readonly number[], perMs: number): number {
  let most = 0
  let to = 0
  for (const [from, at] of times.entries()) {
    while (to < times.length && (times[to] as number) < at + perMs) to++
    most = Math.max(most, to - from)
  }
  return most
}

/** Runs pollers that listen while there is more than they can start. @returns When handlers started, in order. */
async function startsOf({ max, perMs, windows, pollers }: (typeof CASES)[number]): Promise<readonly number[]> {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const times: number[] = []
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    mode: 'listen',
    routes: [on(Paid, () => void times.push(clock.monotonic()))],
    use: [rateLimit({ max, perMs })],
  })
  const publisher = createPublisher({ stream: 'orders', redis })
  for (let n = 0; n < max * windows; n++) await publisher.publish(Paid, { id: String(n) })

  const stop = new AbortController()
  const options = { redis, clock, signal: stop.signal, remainingMs: 800_000 }
  const runs = Array.from({ length: pollers }, () => poll(consumer, options))
  await clock.advance(perMs * windows)
  stop.abort()
  await clock.advance(2_000)
  await Promise.all(runs)
  return times
}

it.each(CASES)('rateLimit() uses 0.95 of $max per $perMs ms, and never more, with $pollers listening', async (rate) => {
  const { max, perMs, windows } = rate

  const times = await startsOf(rate)

  expect(mostWithin(times, perMs)).toBeLessThanOrEqual(max)
  expect(times.length).toBeGreaterThanOrEqual(0.95 * max * windows)
})

it.each([1, 3])('of two limits both are used, though one key has most, with %i listening', async (pollers) => {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const started: string[] = []
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    mode: 'listen',
    routes: [on(Paid, ({ payload }) => void started.push(payload.key ?? ''))],
    use: [
      rateLimit({ max: 1, perMs: 1_000, by: ({ payload }) => (payload as { key: string }).key }),
      rateLimit({ max: 5, perMs: 1_000 }),
    ],
  })
  const publisher = createPublisher({ stream: 'orders', redis })
  for (let n = 0; n < 400; n++) {
    await publisher.publish(Paid, { id: String(n), key: n % 2 === 0 ? `key ${n}` : 'one' })
    if (n % 50 === 0) await clock.advance(1)
  }
  const stop = new AbortController()
  const options = { redis, clock, signal: stop.signal, remainingMs: 100_000 }

  const runs = Array.from({ length: pollers }, () => poll(consumer, options))
  await clock.advance(40_000)
  stop.abort()
  await clock.advance(2_000)
  await Promise.all(runs)

  expect(started.length).toBeGreaterThanOrEqual(0.95 * 5 * 40)
  expect(started.filter((key) => key === 'one').length).toBeGreaterThanOrEqual(0.9 * 40)
})

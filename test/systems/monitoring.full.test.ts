import { createPublisher } from 'millrace'
import { expect, test } from 'vitest'
import { computeOffline, intoBuckets, isSame, quantileError, type Sample } from '../../demo/monitoring/offline.ts'
import { measure } from '../../demo/monitoring/sources.ts'
import { createRandom } from '../../demo/random.ts'
import { SampleTaken } from '../../examples/monitoring/events.ts'
import { LEVELS, type Level, readBuckets, summarize } from '../../examples/monitoring/rollups.ts'
import { type RunningSystem, startSystem } from './kit/start-system.ts'

const ROLLUP = { stream: 'samples', group: 'rollup' }
const MINUTE_MS = 60_000
const random = createRandom(7)

test('monitoring: every sample is in its buckets once, whatever is killed, late or sent twice', {
  timeout: 180_000,
}, async () => {
  const system = await startSystem(
    ['examples/monitoring/poller.ts', 'examples/monitoring/poller.ts', 'examples/monitoring/claimer.ts'],
    [ROLLUP],
    { environment: { MAX_SERIES: '12' } },
  )
  const publisher = createPublisher({ stream: ROLLUP.stream, redis: system.redis })
  const now = Date.now()
  const fresh = Array.from({ length: 50 }, () => measure(random, now, 8_000)).flat()
  const late = Array.from({ length: 5 }, () => measure(random, now - 20 * MINUTE_MS, MINUTE_MS)).flat()
  const tooLate = measure(random, now - 61 * MINUTE_MS, MINUTE_MS)
  const ahead = measure(random, now + 10 * MINUTE_MS, MINUTE_MS)
  const publications = [...fresh, ...late, ...tooLate, ...ahead].flatMap((payload, n) => {
    const once = [SampleTaken, payload, { eventId: `sample-${n}` }] as const
    return n % 4 === 0 ? [once, once] : [once]
  })
  await publisher.publishMany(shuffled(publications))
  await system.raw.xadd(
    'samples',
    '*',
    'eventType',
    'SampleTaken',
    'payload',
    JSON.stringify({ ...fresh[0], value: 'NaN' }),
  )

  await system.start()
  await system.killTimes(6, random)
  await system.drained()
  // all twelve series are admitted: one more is not
  await publisher.publishMany(
    [0, 1, 2].map((n) => [SampleTaken, { source: 'one-more', metric: 'm', value: `${n}`, at: now }]),
  )
  await system.drained()

  expect(await system.raw.hgetall('{samples}:refused')).toEqual({ late: '12', series: '3' })
  const reasons = (await system.deadLetters(ROLLUP)).map(({ reason }) => reason)
  expect(Map.groupBy(reasons, (reason) => reason).get('invalid')).toHaveLength(1)
  expect(new Set(reasons)).toEqual(new Set(['invalid', 'non-retryable']))
  expect(await compare(system, [...fresh, ...late], '1m')).toEqual([])
  expect(await compare(system, [...fresh, ...late], '1h')).toEqual([])
  expect(await compare(system, fresh, '1s')).toEqual([])
})

/** Buckets that differ from what is computed offline. */
async function compare(system: RunningSystem, samples: readonly Sample[], level: Level): Promise<string[]> {
  const differing = []
  for (const [series, all] of Map.groupBy(samples, ({ source, metric }) => `${source} ${metric}`)) {
    const times = all.map(({ at }) => at)
    const buckets = await readBuckets(system.raw, series, level, Math.min(...times), Math.max(...times) + 1)
    const offline = intoBuckets(all, LEVELS[level].bucketMs)
    const wrong = [...offline].filter(([at, own]) => {
      const [exact, got] = [computeOffline(own), summarize(buckets.filter((bucket) => bucket.at === at))]
      return !isSame(exact, got) || !(quantileError(exact, got) <= 0.01)
    })
    differing.push(...wrong.map(([at]) => `${series} ${at}`))
    if (buckets.length !== offline.size) differing.push(`${series}: ${buckets.length} buckets, not ${offline.size}`)
    const [exact, total] = [computeOffline(all), summarize(buckets)]
    if (!isSame(exact, total) || !(quantileError(exact, total) <= 0.01)) differing.push(series)
  }
  return differing
}

function shuffled<T>(values: readonly T[]): T[] {
  return values
    .map((value) => [random.integer(0, 2 ** 30), value] as const)
    .sort(([a], [b]) => a - b)
    .map(([, value]) => value)
}

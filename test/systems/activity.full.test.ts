import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { countsOf, readCounts } from '../../demo/activity/account.ts'
import { createRandom } from '../../demo/random.ts'
import { createActivityPublisher } from '../../functions/activity/load.ts'
import { type Simulated, simulateActivity } from '../../functions/activity/simulation.ts'
import { MetricSampled, OrderPlaced, PageViewed, Purchased } from '../../functions/events/activity.ts'
import { findPythonWithRedis } from '../../tools/find-python.ts'
import { startSystem } from './kit/start-system.ts'

const FUNCTIONS = ['functions/activity/poller.ts', 'functions/activity/claimer.ts']
const GROUPS = [
  { stream: 'user-actions', group: 'analytics' },
  { stream: 'user-orders', group: 'fulfilment' },
  { stream: 'system-metrics', group: 'monitoring' },
]
const PRODUCER = join(import.meta.dirname, '../../functions/activity/producer.py')
const EVENTS = 3_000
const BY_PYTHON = 60
const KILLS = 8

/** Neither has a type or an amount as it should be; the third is of a type that nobody handles. */
const MISTAKES = [
  ['user-actions', ['user_id', 'u-1', 'action', 'view']],
  ['user-orders', ['event_type', 'order_placed', 'event_id', 'e-1', 'order_id', 'o-1', 'user_id', 'u-1']],
  ['system-metrics', ['event_type', 'disk_swapped', 'host', 'web-1']],
] as const

test('activity: every event counts once, from both producers, whatever is killed', { timeout: 180_000 }, async () => {
  const python = await findPythonWithRedis()
  const activity = await startSystem(FUNCTIONS, GROUPS)
  const events = simulateActivity({ seed: 7, run: 'test', users: 50 })
  const published = Array.from({ length: EVENTS }, () => events.next().value as Simulated)
  await createActivityPublisher(activity.redis)(published)
  for (const [stream, fields] of MISTAKES) await activity.raw.xadd(stream, '*', ...fields)
  const producer = promisify(execFile)(python, [PRODUCER, activity.server.url, `${BY_PYTHON}`, 'etl'])

  await activity.start()
  await activity.killTimes(KILLS, createRandom(3))
  await producer
  await activity.drained()

  expect(published.length - new Set(published.map(({ eventId }) => eventId)).size).toBeGreaterThan(30)
  expect(await readCounts(activity.raw)).toEqual(countsOf([...published, ...producedByPython()]))
  const letters = await Promise.all(GROUPS.map((group) => activity.deadLetters(group)))
  expect(letters.map((ofGroup) => ofGroup.map(({ reason }) => reason))).toEqual([['malformed'], ['invalid'], []])
})

/** What producer.py publishes, each once. */
function producedByPython(): Simulated[] {
  return Array.from({ length: BY_PYTHON }, (_, n): Simulated[] => {
    const who = { user_id: `${n % 7}`, session_id: `etl-${n}` }
    const cart = { amount: `${n}.50`, items: ['mug', 'tea'] }
    const sampled = { host: 'etl-1', name: 'cpu', value: `${0.1 + n / BY_PYTHON}` }
    return [
      { to: 'actions', event: PageViewed, payload: { ...who, action: 'view', page: '/tea' }, eventId: `view-${n}` },
      { to: 'actions', event: Purchased, payload: { ...who, action: 'buy', ...cart }, eventId: `buy-${n}` },
      { to: 'orders', event: OrderPlaced, payload: { order_id: `etl-${n}`, ...cart }, eventId: `order-${n}` },
      { to: 'metrics', event: MetricSampled, payload: sampled, eventId: `cpu-${n}` },
    ]
  }).flat()
}

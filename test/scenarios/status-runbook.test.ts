import { poll } from 'millrace'
import { inspectStreams } from 'millrace/operator'
import { expect, test } from 'vitest'
import { statusLines } from '../../src/cli/status-lines.ts'
import { billing, names, type Scenario, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'

/** What `millrace status --details` shows of group billing, ages left out. */
async function shown({ redis }: Scenario): Promise<{ row: string; details: string[] }> {
  const inspection = await inspectStreams({ redis, streams: ['orders'], group: 'billing' })
  const lines = statusLines(inspection, { details: true, colour: (_format, text) => text }).map((line) =>
    line
      .trim()
      .replace(/<1s|\d+[dhms]( \d+[dhms])?\b/g, 'AGE')
      .replace(/\d+-\d+/, 'ID')
      .replace(/ +/g, ' '),
  )
  const [, , row = '', ...details] = lines
  return { row, details }
}

test('a stream that nobody reads: lag grows, nothing is pending, no slot is held', async () => {
  const scenario = await startScenario()
  await scenario.publish('o-0')
  await poll(
    billing(() => {}),
    { redis: scenario.redis },
  )
  await scenario.publish(...names('more', 40))

  expect(await shown(scenario)).toEqual({
    row: 'billing 40 0 0 - 1 0 -',
    details: ['oldest undelivered published AGE ago', 'poller-0 0 pending, idle AGE'],
  })
})

test('a stream that nobody trims: its length grows, lag and pending are 0', async () => {
  const scenario = await startScenario()
  await scenario.publish(...names('o', 40))
  await poll(
    billing(() => {}),
    { redis: scenario.redis },
  )

  const { streams } = await inspectStreams({ redis: scenario.redis })
  expect(streams).toMatchObject([{ length: 40, groups: [{ lag: 0, pending: 0 }] }])
})

test('handlers that fail: what is pending is parked, and its deliveries rise until it is a dead letter', async () => {
  const scenario = await startScenario()
  await scenario.publish(...names('o', 3))
  const failing = billing(() => {
    throw new Error('down')
  })
  await poll(failing, { redis: scenario.redis })

  expect(await shown(scenario)).toEqual({
    row: 'billing 0 3 3 AGE 2 0 -',
    details: [
      'oldest pending ID of parked, delivery 1, failed',
      'deliveries of the oldest 3 1 × 3',
      'parked 3 pending, idle AGE',
      'poller-0 0 pending, idle AGE',
    ],
  })
})

test('handlers that take long: what is pending is under slots that are held', async () => {
  const scenario = await startScenario()
  await scenario.publish(...names('o', 3))
  const ending = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  const running = poll(
    billing(() => {
      started.resolve()
      return ending.promise
    }),
    { redis: scenario.redis },
  )
  await started.promise
  const seen = await shown(scenario)
  ending.resolve()
  await running

  expect(seen).toEqual({
    row: 'billing 0 3 0 AGE 1, 1 held 0 -',
    details: [
      'oldest pending ID of poller-0, delivery 1, idle AGE',
      'deliveries of the oldest 3 1 × 3',
      expect.stringMatching(/^poller-0 3 pending, idle AGE, held/),
    ],
  })
})

test('a poller that died, and no claimer: what is pending is under a slot that nobody holds', async () => {
  const scenario = await startScenario()
  await scenario.publish('o-0', 'o-1')
  const victim = startVictim({ url: scenario.server.url, action: 'poll', options: {}, poison: 'o-0', death: 'hang' })
  await victim.poisoned
  await victim.kill()
  // as when its time is over
  await scenario.raw.del('{orders}:billing:slot:poller-0')

  const { row, details } = await shown(scenario)
  expect([row, details[0], details.at(-1)]).toEqual([
    'billing 0 2 0 AGE 1 0 -',
    'oldest pending ID of poller-0, delivery 1, idle AGE',
    'poller-0 2 pending, idle AGE',
  ])
})

test('entries that were trimmed before they were done: the oldest pending one says so', async () => {
  const scenario = await startScenario()
  await scenario.publish(...names('o', 3))
  await poll(
    billing(() => {
      throw new Error('down')
    }),
    { redis: scenario.redis },
  )
  await scenario.raw.xtrim('orders', 'MAXLEN', 1)

  const { details } = await shown(scenario)
  expect(details[0]).toBe('oldest pending ID of parked, delivery 1, failed, trimmed from the stream')
})

import { expect, test } from 'vitest'
import { LocalSchedules, ratePeriodMs, type ScheduleDefinition } from '../../src/local/schedules.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { aFunction, startLambda } from '../support/local-lambda.ts'

function startSchedules(...definitions: Partial<ScheduleDefinition>[]) {
  const clock = createVirtualClock({ startMs: 0 })
  const woken: (readonly [seconds: number, functionName: string])[] = []
  const payloads: unknown[] = []
  const schedules = new LocalSchedules(
    definitions.map((definition) => ({
      name: 'tick',
      expression: 'rate(1 minute)',
      functionName: 'fn',
      ...definition,
    })),
    {
      clock,
      region: 'eu-west-1',
      accountId: '000000000000',
      wake(functionName, payload) {
        woken.push([clock.now() / 1_000, functionName])
        payloads.push(JSON.parse(payload))
      },
    },
  )
  return { clock, schedules, woken, payloads }
}

test.each([
  ['rate(1 minute)', 60_000],
  ['rate(5 minutes)', 300_000],
  ['rate(1 hour)', 3_600_000],
  ['rate(2 days)', 172_800_000],
])('%s is a period of %i ms', (expression, ms) => {
  expect(ratePeriodMs(expression)).toBe(ms)
})

test.each([
  'cron(0 12 * * ? *)',
  'rate(0 minutes)',
  'rate(1 second)',
  'rate(one minute)',
  'at(2026-01-01T00:00:00)',
  '',
])('%j is refused, and what is supported is named', (expression) => {
  expect(() => ratePeriodMs(expression)).toThrow(
    new RangeError(
      `Cannot run schedule ${JSON.stringify(expression)}: only rate(n minutes), rate(n hours) and rate(n days) are run locally`,
    ),
  )
})

test('a schedule wakes its function every period, for the first time after one', async () => {
  const { clock, woken } = startSchedules({}, { functionName: 'slow', expression: 'rate(2 minutes)' })
  await clock.advance(59_999)
  expect(woken).toEqual([])
  await clock.advance(120_001)

  expect(woken).toEqual([
    [60, 'fn'],
    [120, 'slow'],
    [120, 'fn'],
    [180, 'fn'],
  ])
})

test('a disabled schedule wakes nothing, unless it is ticked by its name', async () => {
  const { clock, schedules, woken } = startSchedules({ enabled: false })
  await clock.advance(120_000)
  schedules.tick()
  expect(woken).toEqual([])
  schedules.tick('tick')

  expect(woken).toEqual([[120, 'fn']])
  expect(() => schedules.tick('tock')).toThrow(RangeError)
})

test('stopped schedules wake nothing more', async () => {
  const { clock, schedules, woken } = startSchedules({})
  await clock.advance(60_000)
  schedules.stop()
  await clock.advance(120_000)

  expect(woken).toHaveLength(1)
})

test("the event is EventBridge Scheduler's, or the schedule's own input", () => {
  const { schedules, payloads } = startSchedules({}, { name: 'own', input: '{"slot":1}' })
  schedules.tick()

  expect(payloads).toEqual([
    {
      version: '0',
      id: expect.stringMatching(/^[\da-f-]{36}$/),
      'detail-type': 'Scheduled Event',
      source: 'aws.scheduler',
      account: '000000000000',
      time: '1970-01-01T00:00:00Z',
      region: 'eu-west-1',
      resources: ['arn:aws:scheduler:eu-west-1:000000000000:schedule/default/tick'],
      detail: '{}',
    },
    { slot: 1 },
  ])
})

test('a schedule invokes its function asynchronously, without retry where that is off', async () => {
  const clock = createVirtualClock()
  const code = `export const handler = async () => { throw new Error('no') }`
  const lambda = await startLambda({
    clock,
    functions: [await aFunction(code, { maxRetryAttempts: 0 })],
    schedules: [{ name: 'tick', expression: 'rate(1 minute)', functionName: 'fn' }],
  })
  await clock.advance(60_000)
  await lambda.idle()

  expect(lambda.reports.map(({ type, functionError }) => [type, functionError])).toEqual([['Event', 'Unhandled']])
})

test('a schedule of a function that is not there is refused', async () => {
  const schedules = [{ name: 'tick', expression: 'rate(1 minute)', functionName: 'gone' }]

  await expect(startLambda({ functions: [], schedules })).rejects.toThrow('Function not found')
})

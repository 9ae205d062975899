import { expect, test } from 'vitest'
import { deliverAsyncEvent } from '../../src/local/asynchronous.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { aFunction, startLambda } from '../support/local-lambda.ts'

type Outcome = 'handled' | 'failed' | 'throttled'

/** Delivers an event to a function with these outcomes, the last one for ever; reports when each attempt was made, in seconds. */
function startDelivery(outcomes: readonly Outcome[], settings: { maxRetryAttempts: number; maxEventAgeMs: number }) {
  const clock = createVirtualClock({ startMs: 0 })
  const closing = new AbortController()
  const attempts: (readonly [seconds: number, number: number])[] = []
  const reason = deliverAsyncEvent({
    clock,
    signal: closing.signal,
    settings: () => settings,
    async attempt(number) {
      attempts.push([clock.now() / 1_000, number])
      return outcomes[attempts.length - 1] ?? (outcomes.at(-1) as Outcome)
    },
  })
  return { clock, closing, attempts, reason }
}

test('with retries off a failure is the end', async () => {
  const { reason, attempts } = startDelivery(['failed'], { maxRetryAttempts: 0, maxEventAgeMs: 60_000 })

  expect(await reason).toBe('RetriesExhausted')
  expect(attempts).toEqual([[0, 1]])
})

test('with two retries a failure is tried again after one minute and after two more', async () => {
  const { clock, reason, attempts } = startDelivery(['failed'], { maxRetryAttempts: 2, maxEventAgeMs: 21_600_000 })
  await clock.advance(600_000)

  expect(await reason).toBe('RetriesExhausted')
  expect(attempts).toEqual([
    [0, 1],
    [60, 2],
    [180, 3],
  ])
})

test('a retry that succeeds is the last', async () => {
  const { clock, reason, attempts } = startDelivery(['failed', 'handled'], {
    maxRetryAttempts: 2,
    maxEventAgeMs: 600_000,
  })
  await clock.advance(600_000)

  expect(await reason).toBeUndefined()
  expect(attempts).toHaveLength(2)
})

test('a throttled event is tried again with back-off until its maximum age, without a retry', async () => {
  const { clock, reason, attempts } = startDelivery(['throttled'], { maxRetryAttempts: 0, maxEventAgeMs: 60_000 })
  await clock.advance(60_000)

  expect(await reason).toBe('EventAgeExceeded')
  expect(attempts).toEqual([0, 1, 3, 7, 15, 31].map((seconds) => [seconds, 1]))
})

test('a delivery that waits ends with its signal', async () => {
  const { closing, reason, attempts } = startDelivery(['throttled'], { maxRetryAttempts: 0, maxEventAgeMs: 60_000 })
  await Promise.resolve()
  closing.abort()

  expect(await reason).toBeUndefined()
  expect(attempts).toHaveLength(1)
})

test('an asynchronous invocation whose function fails is tried again as its settings say', async () => {
  const clock = createVirtualClock()
  const code = `let calls = 0
export const handler = async () => { if (++calls < 2) throw new Error('not yet'); return calls }`
  const lambda = await startLambda({ clock, functions: [await aFunction(code, { maxRetryAttempts: 1 })] })

  const { requestId, statusCode } = await lambda.invoke('fn', {}, { type: 'Event' })
  expect(statusCode).toBe(202)
  await lambda.said(/^platform REPORT/)
  await clock.advance(60_000)
  await lambda.idle()

  expect(lambda.reports.map((one) => [one.requestId, one.attempt, one.functionError])).toEqual([
    [requestId, 1, 'Unhandled'],
    [requestId, 2, undefined],
  ])
})

test('an asynchronous invocation that is throttled runs when there is room', async () => {
  const clock = createVirtualClock()
  const code = `export const handler = async (event) => event.n`
  const lambda = await startLambda({ clock, functions: [await aFunction(code, { reservedConcurrency: 1 })] })
  const first = lambda.invoke('fn', { n: 1 })
  await lambda.invoke('fn', { n: 2 }, { type: 'Event' })
  await first
  expect(lambda.reports.map(({ payload }) => payload)).toEqual(['1'])

  await clock.advance(1_000)
  await lambda.idle()

  expect(lambda.reports.map(({ payload, type }) => [payload, type])).toEqual([
    ['1', 'RequestResponse'],
    ['2', 'Event'],
  ])
})

test('an event given up for its age is reported', async () => {
  const clock = createVirtualClock()
  const code = `export const handler = () => new Promise((done) => setTimeout(done, 30_000))`
  const definition = { reservedConcurrency: 1, maxEventAgeMs: 2_000, timeoutMs: 60_000 }
  const lambda = await startLambda({ clock, functions: [await aFunction(code, definition)] })
  void lambda.invoke('fn')
  const { requestId } = await lambda.invoke('fn', {}, { type: 'Event' })
  await clock.advance(1_000)

  expect(await lambda.said(/DROPPED/)).toBe(`platform DROPPED RequestId: ${requestId} Reason: EventAgeExceeded`)
})

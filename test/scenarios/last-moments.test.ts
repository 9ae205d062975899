import type { InvocationFailedError, Report } from 'millrace'
import { createPoller, defineConsumer, on, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { billing, difference, lambdaContext, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'

const caught = async (run: Promise<unknown>) => (await run.catch((error: unknown) => error)) as InvocationFailedError

describe('promise 13: an invocation whose time is up', () => {
  it('fails with its report where the server answers no more, as the handler of a Lambda too', async () => {
    const { redis, raw, publish } = await startScenario()
    await publish(...names('o', 3))
    const { handler } = noting(() => raw.call('CLIENT', 'PAUSE', 60_000))
    const consumer = billing(handler, { handlerTimeoutMs: 100, reserveMs: 300 })

    const error = await caught(createPoller(consumer, { redis })({}, lambdaContext(2_000)))

    expect([error.code, difference(error.report), error.report.read]).toEqual(['ERR_INVOCATION_FAILED', 0, 3])
  })

  it('has a report also where a handler kept the event loop beyond its end', async () => {
    const { redis, publish } = await startScenario()
    await publish(...names('o', 3))
    const lambda = lambdaContext(2_000)
    const { handler } = noting(() => {
      while (lambda.getRemainingTimeInMillis() > -100);
    })
    const consumer = billing(handler, { handlerTimeoutMs: 100, reserveMs: 300 })

    // the answer to what it settled may still have come
    const end: Report | InvocationFailedError = await createPoller(consumer, { redis })({}, lambda).catch(
      (error: unknown) => error as InvocationFailedError,
    )
    const report = end instanceof Error ? end.report : end

    expect([difference(report), report.read]).toEqual([0, 3])
  })
})

describe('promise 11: an invocation that is too short for one of its consumers', () => {
  const slow = defineConsumer({
    stream: 'orders',
    group: 'slow',
    handlerTimeoutMs: 20_000,
    minIdleMs: 60_000,
    routes: [on(OrderPaid, () => {})],
  })

  it('runs the others, and says which one it is too short for', async () => {
    const { redis, publish } = await startScenario()
    await publish('a')
    const { calls, handler } = noting()

    const error = await caught(poll([slow, billing(handler)], { redis, remainingMs: 15_000 }))

    expect([error.code, error.failures.map(({ group, error: { name } }) => [group, name]), calls]).toEqual([
      'ERR_INVOCATION_FAILED',
      [['slow', 'InvocationTooShortError']],
      ['a'],
    ])
  })

  it('is a configuration error where it is too short for all of them', async () => {
    const { redis } = await startScenario()

    const error = await caught(
      poll([slow, billing(() => {}, { handlerTimeoutMs: 15_000 })], { redis, remainingMs: 9_000 }),
    )

    expect([error.code, error.report.consumers.length]).toEqual(['ERR_INVOCATION_TOO_SHORT', 2])
  })
})

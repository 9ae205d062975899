import { setImmediate as turn } from 'node:timers/promises'
import type { Connection, Consumer, InvocationFailedError, Report } from 'millrace'
import {
  createPoller,
  createPublisher,
  defineConsumer,
  NonRetryableError,
  on,
  poll,
  RedisConnectionError,
} from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import type { Group } from '../../src/group/group.ts'
import { billing, difference, lambdaContext, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'

const caught = async (run: Promise<unknown>) => (await run.catch((error: unknown) => error)) as InvocationFailedError

describe('promise 13: an invocation whose time is up', () => {
  it('fails with its report when the server stops answering, as a Lambda handler too', async () => {
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

/** A connection whose group has no answer to the first calls of a method. */
function failing(redis: Connection, method: 'settle' | 'giveSlot', times: number): Connection {
  let left = times
  const answer = (group: Group, name: string | symbol) => {
    const member: unknown = Reflect.get(group, name, group)
    if (typeof member !== 'function') return member
    return (...args: unknown[]): unknown => {
      if (name === method && left-- > 0) return Promise.reject(new RedisConnectionError('gone'))
      return Reflect.apply(member, group, args)
    }
  }
  const group: Connection['group'] = (...args) => new Proxy(redis.group(...args), { get: answer })
  return new Proxy(redis, { get: (target, name) => (name === 'group' ? group : Reflect.get(target, name)) })
}

/** Polls one event with a clock that goes on by itself. */
async function polledWith(method: 'settle' | 'giveSlot', times: number, consumer: Consumer): Promise<Report> {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  await createPublisher({ stream: 'orders', redis, clock }).publish(OrderPaid, { orderId: 'a' })
  let isOver = false
  const polling = poll(consumer, { redis: failing(redis, method, times), clock, remainingMs: 60_000 })
    .catch((error: InvocationFailedError) => error.report)
    .finally(() => {
      isOver = true
    })
  while (!isOver) {
    await turn()
    await clock.advance(100)
  }
  return polling
}

describe('a run that ends in a failure', () => {
  it('waits for the notices of what its last request settled, or aborts them', async () => {
    const notices = { told: 0, aborted: 0 }
    const consumer = billing(() => Promise.reject(new NonRetryableError('no')), {
      onDeadLetter: (_notice, { signal }) => {
        notices.told++
        return new Promise(() => signal.addEventListener('abort', () => notices.aborted++))
      },
      mode: 'once',
    })

    const report = await polledWith('settle', 2, consumer)

    expect([report.deadLettered, notices]).toEqual([1, { told: 1, aborted: 1 }])
  })

  it('counts once what overran, also where its slot could not be given back', async () => {
    const hanging = billing(() => new Promise(() => {}))

    expect((await polledWith('giveSlot', 1, hanging)).overran).toBe(1)
  })
})

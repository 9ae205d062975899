import { createPublisher, defineEvent } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { delayKeyArguments } from '../../src/group/redis/delay-call.ts'
import { CANCEL_SCRIPT_ANSWERS, cancelDelayedScript } from '../../src/group/redis/scripts/cancel-delayed.ts'
import { delayEventScript } from '../../src/group/redis/scripts/delay-event.ts'
import { MAX_CANCELLATIONS } from '../../src/group/redis/scripts/delays.ts'
import { publishOnceScript } from '../../src/group/redis/scripts/publish-once.ts'
import { dueOf } from '../support/delayed-pages.ts'
import { countDelayed, DELAYED, delayInMemory, delaysOn, MARKER_OF, passDelays, promoteAll } from '../support/delays.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { names, startScenario } from '../support/scenario.ts'

const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })
const HOUR = 3_600_000
const { cancelled } = CANCEL_SCRIPT_ANSWERS

/** Calls of one event id, each by its nonce: that which has a nonce again is sent again. */
async function startCalls() {
  const { raw, redis } = await startScenario()
  const keys = [...delayKeyArguments('orders'), MARKER_OF('e')]
  const delay = (nonce: string, ms: number = HOUR) =>
    raw.eval(delayEventScript.lua, 7, ...keys, 'e', 'in', ms, '', nonce, 0, HOUR, 'eventId', 'e')
  const cancel = (nonce: string) => raw.eval(cancelDelayedScript.lua, 7, ...keys, 'e', nonce)
  return { raw, redis, delay, cancel, waits: () => countDelayed(raw) }
}

/** The same id is delayed and cancelled so many times. */
async function cancelTimes({ delay, cancel }: Awaited<ReturnType<typeof startCalls>>, times: number): Promise<void> {
  for (const n of names('', times)) {
    await delay(`delay-${n}`)
    await cancel(`cancel-${n}`)
  }
}

describe('promise 21: a call that is sent again after others of its id', () => {
  it.each([1, 2, MAX_CANCELLATIONS])('brings back no cancelled event, after %i cancellations', async (times) => {
    const calls = await startCalls()
    await cancelTimes(calls, times)

    for (const n of names('', times)) expect(await calls.delay(`delay-${n}`)).toEqual([1, expect.any(String)])
    expect(await calls.waits()).toBe(0)
  })

  it.each([1, 2, MAX_CANCELLATIONS])('cancels no later event, and answers the same, after %i', async (times) => {
    const calls = await startCalls()
    await cancelTimes(calls, times)
    await calls.delay('later')

    for (const n of names('', times)) expect(await calls.cancel(`cancel-${n}`)).toBe(cancelled)
    expect(await calls.waits()).toBe(1)
  })

  it('knows nothing of the stream whose name is the hash tag', async () => {
    const { redis, raw, delay } = await startCalls()
    const inBraces = createPublisher({ stream: '{orders}', redis })
    await delay('a', 0)
    await promoteAll(redis)

    const { deliverAt } = await inBraces.publish(Reminder, { orderId: 'o-1' }, { eventId: 'e', delayMs: HOUR })

    expect(deliverAt.getTime()).toBeGreaterThan(Date.now() + HOUR / 2)
    expect(await countDelayed(raw)).toBe(1)
    expect(await inBraces.cancel('e')).toBe('cancelled')
  })

  it('answers the same after another event of the id was promoted', async () => {
    const { redis, raw, delay, cancel } = await startCalls()
    await delay('a')
    await cancel('c')
    await delay('b', 0)
    await promoteAll(redis)

    expect([await cancel('c'), await delay('a'), await cancel('d')]).toEqual([
      cancelled,
      [1, expect.any(String)],
      CANCEL_SCRIPT_ANSWERS.tooLate,
    ])
    expect(await raw.xlen('orders')).toBe(1)
  })

  it('is a new one after more cancellations than are remembered', async () => {
    const calls = await startCalls()
    await cancelTimes(calls, MAX_CANCELLATIONS + 1)

    await calls.delay('delay-0')
    expect(await calls.waits()).toBe(1)
    expect(await calls.cancel('cancel-0')).toBe(cancelled)
    expect(await calls.waits()).toBe(0)
  })

  it('neither adds the event of publish() nor takes another one off by cancel()', async () => {
    const { server, raw, redis } = await startScenario()
    const proxy = await startFaultProxy(server)
    const cut = connectIoredis(proxy.url, { retryStrategy: () => 300 })
    onTestFinished(async () => {
      await cut.close()
      await proxy.close()
    })
    const options = { eventId: 'e', delayMs: HOUR, deduplicateMs: HOUR } as const
    const [slow, fast] = [cut, redis].map((each) => createPublisher({ stream: 'orders', redis: each }))
    await slow?.publish(Reminder, { orderId: 'w' }, { ...options, eventId: 'warm' })
    await slow?.cancel('warm')
    const lost = proxy.cutAfter('evalsha')
    const first = slow?.publish(Reminder, { orderId: 'first' }, options)
    await lost
    await fast?.cancel('e')
    await fast?.publish(Reminder, { orderId: 'second' }, options)
    await fast?.cancel('e')

    expect(await first).not.toHaveProperty('duplicate')
    await passDelays(raw, 2 * HOUR)
    expect([await promoteAll(redis), await delaysOn(raw).entries()]).toEqual([0, []])
  })
})

it('promise 21: a delayed call that is sent again after its short window is no duplicate', async () => {
  const { raw, delay } = await startCalls()
  await delay('a')
  const due = await dueOf(raw, 'e')
  await raw.del(MARKER_OF('e'))

  expect([await delay('a'), await delay('b')]).toEqual([
    [1, due],
    [2, due],
  ])
})

it('promise 21: in memory a cancel() is known by its nonce, also after others', async () => {
  const { redis, delayed } = await delayInMemory()
  const publisher = createPublisher({ stream: 'orders', redis })
  const later = () => publisher.publish(Reminder, { orderId: 'o' }, { eventId: 'e', delayMs: HOUR })
  for (const nonce of names('c', MAX_CANCELLATIONS)) {
    await later()
    await redis.delaying?.cancel('orders', 'e', nonce)
  }
  await later()

  expect([await redis.delaying?.cancel('orders', 'e', 'c0'), await delayed()]).toEqual(['cancelled', 1])
})

describe('what the scripts refuse', () => {
  it.each(['a b', ' ', 'a\n'])('is a nonce with white space: %j', async (nonce) => {
    const { raw, delay, cancel } = await startCalls()
    const keys = ['orders', MARKER_OF('e'), DELAYED, `${DELAYED}:events`]
    const publish = raw.eval(publishOnceScript.lua, 4, ...keys, 'e', nonce, HOUR, '*', 'eventId', 'e')

    for (const refused of [publish, delay(nonce), cancel(nonce)]) await expect(refused).rejects.toThrow(/white space/)
    expect(await raw.keys('*')).toEqual([])
  })

  it.each(['', HOUR])('is an entry that NOMKSTREAM keeps from being added, with window %j', async (window) => {
    const { raw } = await startCalls()
    const keys = ['orders', MARKER_OF('e'), DELAYED, `${DELAYED}:events`]

    const publish = raw.eval(publishOnceScript.lua, 4, ...keys, 'e', 'n', window, 'NOMKSTREAM', '*', 'eventId', 'e')

    await expect(publish).rejects.toThrow('ERR there is no stream, and NOMKSTREAM adds none')
    expect(await raw.keys('*')).toEqual([])
  })
})

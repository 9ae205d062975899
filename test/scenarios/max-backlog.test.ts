import type { Connection } from 'millrace'
import { BacklogFullError, createPublisher, defineConsumer, defineEvent, on, poll, RedisReplyError } from 'millrace'
import { registerGroups, unregisterGroups } from 'millrace/janitor'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { DELAY_PLACES, delayInMemory, delayOverTcp } from '../support/delays.ts'
import { watchCommands } from '../support/watch-commands.ts'

const TEAM = { owner: 'shop' }
const Paid = defineEvent('Paid', { payload: z.object({ n: z.number() }) })

const pollOnce = (redis: Connection, group: string, handler: () => unknown = () => {}) =>
  poll(defineConsumer({ stream: 'orders', group, routes: [on(Paid, handler)], mode: 'once' }), { redis })

function aPublisher(redis: Connection, options: object = {}) {
  const clock = createVirtualClock()
  const publisher = createPublisher({ stream: 'orders', redis, maxBacklog: 3, clock, ...options })
  let n = 0
  return { clock, publisher, publish: () => publisher.publish(Paid, { n: n++ }) }
}

describe.each(DELAY_PLACES)('a publisher with maxBacklog, over %s', (_name, start) => {
  it('refuses what the slowest registered group would have to do beyond it', async () => {
    const { redis, entries } = await start()
    await registerGroups('orders', { billing: TEAM, search: TEAM }, { redis })
    const { publish, clock } = aPublisher(redis)
    for (let n = 0; n < 3; n++) await publish()
    await clock.advance(1_000)
    await pollOnce(redis, 'billing')

    const error = await publish().catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(BacklogFullError)
    expect(error).toMatchObject({ code: 'ERR_BACKLOG_FULL', group: 'search', backlog: 3, maxBacklog: 3 })
    expect(await entries()).toHaveLength(3)
  })

  it('publishes again once that group has done some', async () => {
    const { redis } = await start()
    await registerGroups('orders', { billing: TEAM }, { redis })
    const { publish, clock } = aPublisher(redis)
    for (let n = 0; n < 3; n++) await publish()
    await expect(publish()).rejects.toBeInstanceOf(BacklogFullError)
    await pollOnce(redis, 'billing')
    await expect(publish(), 'within a second').rejects.toBeInstanceOf(BacklogFullError)
    await clock.advance(1_000)

    expect(await publish()).toHaveProperty('entryId')
  })

  it('counts what is pending, and what is set aside', async () => {
    const { redis } = await start()
    await registerGroups('orders', { billing: TEAM }, { redis })
    const { publish, clock } = aPublisher(redis)
    for (let n = 0; n < 3; n++) await publish()
    const fails = () => Promise.reject(new Error('down'))
    await pollOnce(redis, 'billing', fails)
    await clock.advance(1_000)

    await expect(publish()).rejects.toMatchObject({ backlog: 3 })
  })

  it('waits for room in the order of calls, where it shall', async () => {
    const { redis, entries } = await start()
    await registerGroups('orders', { billing: TEAM }, { redis })
    const { publish, clock } = aPublisher(redis, { maxBacklog: 1, onFull: 'wait' })
    await publish()
    const order: number[] = []
    const waiting = [1, 2].map((n) => publish().then(() => order.push(n)))
    for (const length of [2, 3]) {
      await pollOnce(redis, 'billing')
      while ((await entries()).length < length) await clock.advance(1_000)
    }
    await Promise.all(waiting)

    expect(order).toEqual([1, 2])
  })

  it('takes any number where no group is registered, and where the stream is not there yet', async () => {
    const { redis, entries } = await start()
    const { publish } = aPublisher(redis, { maxBacklog: 1 })
    for (let n = 0; n < 3; n++) await publish()
    await registerGroups('orders', { billing: TEAM }, { redis })
    await unregisterGroups('orders', ['billing'], { redis })
    await aPublisher(redis, { maxBacklog: 1 }).publish()

    expect(await entries()).toHaveLength(4)
  })

  it('lets a call begin while there is room, however many events it has', async () => {
    const { redis, entries } = await start()
    await registerGroups('orders', { billing: TEAM }, { redis })
    const { publisher } = aPublisher(redis)
    await publisher.publishMany(Array.from({ length: 5 }, (_, n) => [Paid, { n }] as const))

    await expect(publisher.publish(Paid, { n: 5 })).rejects.toMatchObject({ backlog: 5 })
    expect(await entries()).toHaveLength(5)
  })
})

it('waits no longer than maxWaitMs, and asks once a second meanwhile', async () => {
  const { redis, entries } = await delayInMemory()
  await registerGroups('orders', { billing: TEAM }, { redis })
  const asked: number[] = []
  const undone = (stream: string) => {
    asked.push(clock.now() - startedAt)
    return redis.undone?.(stream) ?? Promise.resolve(undefined)
  }
  const { publish, clock } = aPublisher({ ...redis, undone }, { maxBacklog: 1, onFull: 'wait', maxWaitMs: 5_000 })
  const startedAt = clock.now()
  await publish()
  const refused = expect(publish()).rejects.toBeInstanceOf(BacklogFullError)
  await clock.advance(5_000)
  await refused

  expect(asked).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000])
  expect(await entries()).toHaveLength(1)
})

it('the server is asked once a second, however much is published', async () => {
  const { redis, scenario } = await delayOverTcp()
  await registerGroups('orders', { billing: TEAM }, { redis })
  const { publish, clock } = aPublisher(redis, { maxBacklog: 1_000 })
  await publish()
  const watch = await watchCommands(scenario.server.url)
  const asked = async () => (await watch.sent()).filter(([name]) => name?.startsWith('eval')).length
  await Promise.all(Array.from({ length: 100 }, publish))
  expect(await asked()).toBe(0)
  await clock.advance(1_000)
  await Promise.all(Array.from({ length: 100 }, publish))
  expect(await asked()).toBe(1)
})

it('a publisher without maxBacklog asks nothing', async () => {
  const { redis, scenario } = await delayOverTcp()
  const watch = await watchCommands(scenario.server.url)
  await createPublisher({ stream: 'orders', redis }).publish(Paid, { n: 0 })

  expect((await watch.sent()).map(([name]) => name)).toEqual(['xadd'])
})

it('publishes nothing where the backlog cannot be measured', async () => {
  const { redis, scenario, entries } = await delayOverTcp()
  await scenario.raw.set('{orders}::stream::groups', 'text')

  await expect(aPublisher(redis).publish()).rejects.toBeInstanceOf(RedisReplyError)
  expect(await entries()).toEqual([])
})

it('counts a group in mid-stream whose lag the server does not know', async () => {
  const { redis, scenario } = await delayOverTcp()
  await registerGroups('orders', { billing: TEAM }, { redis })
  const all = aPublisher(redis, { maxBacklog: 100 })
  for (let n = 0; n < 10; n++) await all.publish()
  await pollOnce(redis, 'billing')
  const ids: string[] = []
  for (let n = 0; n < 10; n++) ids.push((await all.publish()).entryId)
  await scenario.raw.xdel('orders', ids[5] ?? '')

  await expect(aPublisher(redis, { maxBacklog: 9 }).publish()).rejects.toMatchObject({ backlog: 9 })
})

it.each([
  [{ maxBacklog: 0 }, 'maxBacklog must be >= 1, got 0'],
  [{ maxBacklog: 1.5 }, 'maxBacklog must be a whole number, got 1.5'],
  [{ maxBacklog: Infinity }, 'maxBacklog must be <= 9007199254740991, got Infinity'],
  [{ maxBacklog: undefined, onFull: 'wait' }, 'maxBacklog must be given with onFull'],
  [{ onFull: 'drop' }, 'onFull must be one of "refuse", "wait", got "drop"'],
  [{ onFull: 'wait', maxWaitMs: -1 }, 'maxWaitMs must be >= 0, got -1'],
])('refuses %j', async (options, message) => {
  expect(() => aPublisher(connectMemory(), options)).toThrow(message)
})

it('is not delayed by an error of an earlier call', async () => {
  const { redis } = await delayInMemory()
  await registerGroups('orders', { billing: TEAM }, { redis })
  const { publish } = aPublisher({ ...redis, undone: () => Promise.reject(new RedisReplyError('ERR busy')) })

  await expect(publish()).rejects.toThrow('ERR busy')
  await expect(publish()).rejects.toThrow('ERR busy')
})

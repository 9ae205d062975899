import type { Connection } from 'millrace'
import { BacklogFullError, createPublisher, defineEvent, prioritized, RedisConnectionError } from 'millrace'
import { registerGroups } from 'millrace/janitor'
import { createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { DELAY_PLACES, delayInMemory } from '../support/delays.ts'

const TEAM = { owner: 'shop' }
const Paid = defineEvent('Paid', { payload: z.object({ n: z.number() }) })

function aPublisher(redis: Connection, options: object = {}) {
  const clock = createVirtualClock()
  const publisher = createPublisher({ stream: 'orders', redis, maxBacklog: 3, clock, ...options })
  let n = 0
  return { clock, publisher, publish: (own: object = {}) => publisher.publish(Paid, { n: n++ }, own) }
}

describe.each(DELAY_PLACES)('calls of a publisher with maxBacklog, over %s', (_name, start) => {
  it('what is not added takes no room: repeats, and what is delayed', async () => {
    const { redis } = await start()
    await registerGroups('orders', { billing: TEAM }, { redis })
    const { publish } = aPublisher(redis)
    for (let round = 0; round < 5; round++) await publish({ eventId: 'e', deduplicateMs: 60_000 })
    for (let round = 0; round < 5; round++) await publish({ delayMs: 60_000 })
    await publish()
    await publish()

    await expect(publish()).rejects.toMatchObject({ backlog: 3 })
  })

  it('what one stream of a set refuses takes no room in the others', async () => {
    const { redis } = await start()
    const stream = prioritized('jobs', ['high', 'low'])
    await registerGroups(stream, { work: TEAM }, { redis })
    const { publisher, publish } = aPublisher(redis, { stream })
    for (let n = 0; n < 3; n++) await publish({ priority: 'high' })
    for (let round = 0; round < 5; round++)
      await expect(
        publisher.publishMany([
          [Paid, { n: 0 }, { priority: 'low' }],
          [Paid, { n: 0 }, { priority: 'high' }],
        ]),
      ).rejects.toBeInstanceOf(BacklogFullError)

    expect(await publish({ priority: 'low' })).toHaveProperty('entryId')
  })
})

it('counts calls that are on their way when the server is asked again', async () => {
  const { redis, entries } = await delayInMemory()
  await registerGroups('orders', { billing: TEAM }, { redis })
  const open = Promise.withResolvers<void>()
  const slow = async (...call: Parameters<NonNullable<Connection['append']>>) => {
    await open.promise
    return (redis.append as NonNullable<Connection['append']>)(...call)
  }
  const { publish, clock } = aPublisher({ ...redis, append: slow })
  const calls = Array.from({ length: 3 }, () => publish())
  await clock.advance(1_000)

  await expect(publish()).rejects.toMatchObject({ backlog: 3 })
  open.resolve()
  await Promise.all(calls)
  expect(await entries()).toHaveLength(3)
})

it('calls that wait behind a server that hangs end together, and it is asked once', async () => {
  const { redis } = await delayInMemory()
  await registerGroups('orders', { billing: TEAM }, { redis })
  let asked = 0
  const undone = async () => {
    asked++
    await new Promise<void>((resolve) => void clock.after(5_000, resolve))
    throw new RedisConnectionError('no reply')
  }
  const { publish, clock } = aPublisher({ ...redis, undone }, { onFull: 'wait' })
  const calls = Promise.allSettled(Array.from({ length: 100 }, () => publish()))
  await clock.advance(5_000)

  expect((await calls).map(({ status }) => status)).toEqual(Array.from({ length: 100 }, () => 'rejected'))
  expect(asked).toBe(1)
})

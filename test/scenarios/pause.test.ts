import type { Redis } from 'ioredis'
import type { Connection, Consumer, EventOf } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, envelopeCodec, on, onBatch, poll } from 'millrace'
import { connect } from 'millrace/connect'
import { type PauseOptions, pause, resume } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, counts, difference, names, noting, startScenario } from '../support/scenario.ts'

const payload = z.object({ orderId: z.string() })
const OrderPaid = defineEvent('OrderPaid', { payload })
const OrderShipped = defineEvent('OrderShipped', { payload })

/** What every kind of connection has to show of it. */
interface Place {
  readonly redis: Connection
  /** Pending entries as [owner, delivery count], oldest first. */
  pending(): Promise<[owner: string, deliveries: number][]>
  /** Loses the group, as a failover may. */
  loseGroup(): Promise<void>
}

async function overTcp(): Promise<Place> {
  const { redis, raw } = await startScenario()
  return { redis, ...groupOn(raw) }
}

function groupOn(raw: Redis): Omit<Place, 'redis'> {
  return {
    async pending() {
      const rows = (await raw.xpending('orders', 'billing', '-', '+', 1_000)) as [string, string, number, number][]
      return rows.map(([, owner, , count]) => [owner, count])
    },
    loseGroup: async () => void (await raw.xgroup('DESTROY', 'orders', 'billing')),
  }
}

async function overRest(): Promise<Place> {
  const { server, raw } = await startScenario()
  const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
  const redis = connect(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return { redis, ...groupOn(raw) }
}

async function inMemory(): Promise<Place> {
  const redis = connectMemory()
  return {
    redis,
    pending: async () =>
      redis.pending('orders', 'billing').map(({ consumerName, deliveryCount }) => [consumerName, deliveryCount]),
    loseGroup: async () => redis.destroyGroup('orders', 'billing'),
  }
}

type Handler = (event: EventOf<typeof OrderPaid | typeof OrderShipped>) => unknown

/** A consumer of both types, and the orders that its handlers were called for. */
function aConsumer(then: Handler = () => {}, options: Partial<Parameters<typeof defineConsumer>[0]> = {}) {
  const calls: string[] = []
  const handler: Handler = (event) => {
    calls.push(event.payload.orderId)
    return then(event)
  }
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    concurrency: 1,
    batchSize: 10,
    backoff: { firstMs: 0 },
    routes: [on(OrderPaid, handler as never), on(OrderShipped, handler as never)],
    ...options,
  })
  return { consumer, calls }
}

type Given = readonly (readonly [event: typeof OrderPaid | typeof OrderShipped, orderId: string])[]

async function publish(redis: Connection, ...events: Given): Promise<void> {
  const publisher = createPublisher({ stream: 'orders', redis })
  await publisher.publishMany(events.map(([event, orderId]) => [event, { orderId }] as const))
}

/** Makes the group, by a poll that finds nothing. */
async function opened({ redis }: Place, consumer: Consumer): Promise<void> {
  await poll(consumer, { redis })
}

const paid = (...orderIds: string[]): Given => orderIds.map((orderId) => [OrderPaid, orderId])

describe.each([
  ['TCP', overTcp],
  ['REST', overRest],
  ['memory', inMemory],
] as const)('over %s', (_name, start) => {
  it('a paused group is neither read nor claimed, and is handled once it is resumed', async () => {
    const place = await start()
    const { redis } = place
    const { consumer, calls } = aConsumer()
    await opened(place, consumer)
    await pause(consumer, { redis, by: 'anna', why: 'mail is down' })
    await publish(redis, ...paid('a', 'b'))

    const reports = [await poll(consumer, { redis }), await claimOnce(consumer, { redis })]

    expect(reports.map(counts)).toEqual([{ paused: true }, { paused: true }])
    expect(await place.pending()).toEqual([])
    const resumed = await resume(consumer, { redis })
    expect(resumed).toMatchObject({ was: { by: 'anna', why: 'mail is down' }, waiting: 0, unread: 2 })
    await poll(consumer, { redis })
    expect(calls).toEqual(['a', 'b'])
  })

  it('a pause in mid-run lets running handlers finish and sets aside the rest at no delivery', async () => {
    const place = await start()
    const { redis } = place
    const { consumer, calls } = aConsumer(() => calls.length === 1 && pause(consumer, { redis }), {
      batchSize: 2,
    })
    await publish(redis, ...paid('a', 'b', 'c', 'd'))

    const report = await poll(consumer, { redis })

    // what was in hand when the handler ended may start; what was to be read next may not
    expect(difference(report)).toBe(0)
    expect(report).toMatchObject({ paused: true, retried: 0, deadLettered: 0 })
    expect(calls.length).toBeLessThan(4)
    expect((await place.pending()).every(([owner, deliveries]) => owner === 'parked' && deliveries === 0)).toBe(true)
    const done = [...calls]
    await claimOnce(consumer, { redis })
    expect(calls).toEqual(done)
    await resume(consumer, { redis })
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    expect(calls.toSorted()).toEqual(['a', 'b', 'c', 'd'])
    expect(await place.pending()).toEqual([])
  })

  it('a paused type is parked at no delivery, others flow, and resume brings it back once', async () => {
    const place = await start()
    const { redis } = place
    const { consumer, calls } = aConsumer()
    await opened(place, consumer)
    await pause(consumer, { redis, type: 'OrderPaid' })
    await publish(redis, [OrderPaid, 'a'], [OrderShipped, 'x'], [OrderPaid, 'b'], [OrderShipped, 'y'])

    const report = await poll(consumer, { redis })
    const claimed = await claimOnce(consumer, { redis })

    expect(counts(report)).toMatchObject({ read: 4, acked: 2, parked: 2, drained: true })
    expect(report.consumers[0]?.pausedTypes).toEqual(['OrderPaid'])
    expect(claimed).toMatchObject({ claimed: 0, paused: false })
    expect(calls).toEqual(['x', 'y'])
    expect(await place.pending()).toEqual([
      ['parked', 0],
      ['parked', 0],
    ])
    expect(await resume(consumer, { redis, type: 'OrderPaid', maxAgeMs: 86_400_000 })).toMatchObject({
      waiting: 2,
      expiring: 0,
    })
    await claimOnce(consumer, { redis })
    await claimOnce(consumer, { redis })
    expect(calls).toEqual(['x', 'y', 'a', 'b'])
    expect(await place.pending()).toEqual([])
  })

  it('a claimer sets aside what is due of a paused type, without a delivery', async () => {
    const place = await start()
    const { redis } = place
    let isDown = true
    const { consumer, calls } = aConsumer(() => {
      if (isDown) throw new Error('down')
    })
    await publish(redis, [OrderPaid, 'a'], [OrderShipped, 'x'])
    await poll(consumer, { redis })
    await pause(consumer, { redis, type: 'OrderPaid' })
    isDown = false
    calls.length = 0

    const first = await claimOnce(consumer, { redis })
    await claimOnce(consumer, { redis })

    expect(first).toMatchObject({ claimed: 1, acked: 1 })
    expect(calls).toEqual(['x'])
    expect(await place.pending()).toEqual([['parked', 1]])
    expect(await resume(consumer, { redis, type: 'OrderPaid' })).toMatchObject({ waiting: 1 })
    await claimOnce(consumer, { redis })
    expect(calls).toEqual(['x', 'a'])
    expect(await place.pending()).toEqual([])
  })

  it('a pause survives the loss of its group, and nothing of it is lost', async () => {
    const place = await start()
    const { redis } = place
    const { consumer, calls } = aConsumer()
    await opened(place, consumer)
    await pause(consumer, { redis, type: 'OrderPaid' })
    await publish(redis, [OrderPaid, 'a'], [OrderShipped, 'x'])
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    await pause(consumer, { redis })
    await place.loseGroup()

    expect(counts(await poll(consumer, { redis }))).toEqual({ paused: true })
    expect(counts(await claimOnce(consumer, { redis }))).toEqual({ paused: true })
    expect(await resume(consumer, { redis })).toMatchObject({ was: {} })
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    expect(calls).not.toContain('a')
    await resume(consumer, { redis, type: 'OrderPaid' })
    await claimOnce(consumer, { redis })
    expect(calls.filter((orderId) => orderId === 'a')).toEqual(['a'])
    expect(await place.pending()).toEqual([])
  })

  it('a pause ends by itself once its time is over', async () => {
    const place = await start()
    const { redis } = place
    const { consumer, calls } = aConsumer()
    await opened(place, consumer)
    await publish(redis, ...paid('a'))
    const until = new Date(Date.now() + 300)
    await pause(consumer, { redis, until })

    let startedAt = 0
    while (calls.length === 0) {
      await poll(consumer, { redis })
      startedAt = Date.now()
    }

    expect(startedAt).toBeGreaterThanOrEqual(until.getTime())
    expect(await resume(consumer, { redis })).toBeUndefined()
  })

  it('a second pause keeps since when and by whom, and changes only what is given', async () => {
    const place = await start()
    const { redis } = place
    const { consumer } = aConsumer()
    await opened(place, consumer)
    const until = new Date(Date.now() + 3_600_000)
    const first = await pause(consumer, { redis, by: 'anna', why: 'mail is down' })

    const second = await pause(consumer, { redis, until, defaultBy: 'bob' })

    expect(first.before).toBeUndefined()
    expect(second.before).toEqual(first.pause)
    expect(second.pause).toEqual({ ...first.pause, until: until.getTime() })
  })

  it.each<[string, Partial<PauseOptions>, string, RegExp]>([
    ['a group that is not there', {}, 'nobody', /there must be such a group/],
    [
      'a time that is over',
      { until: new Date(1_000) },
      'billing',
      /until must be in the future; the server's clock says/,
    ],
    ['a type that has no name', { type: '*' }, 'billing', /type must be an event type/],
  ])('refuses %s', async (_what, options, group, message) => {
    const place = await start()
    const { redis } = place
    await opened(place, aConsumer().consumer)

    await expect(pause({ stream: 'orders', group }, { redis, ...options })).rejects.toThrow(message)
  })
})

it('what is paused while handlers run is known a third of minIdleMs later', async () => {
  const { redis } = await overTcp()
  const minIdleMs = 1_500
  const starts: number[] = []
  let answeredAt = Infinity
  const { consumer } = aConsumer(
    async ({ payload: { orderId } }) => {
      starts.push(Date.now())
      if (orderId === 'o0') {
        await pause(consumer, { redis, type: 'OrderPaid' })
        answeredAt = Date.now()
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    },
    { minIdleMs, allowLongHandlers: true, batchSize: 100 },
  )
  await publish(redis, ...paid(...Array.from({ length: 60 }, (_, n) => `o${n}`)))

  const report = await poll(consumer, { redis })

  expect(report.acked + report.parked).toBe(60)
  expect(Math.max(...starts) - answeredAt).toBeLessThanOrEqual(minIdleMs / 3 + 100)
  expect(report.parked).toBeGreaterThan(30)
})

it('a claimer that runs handlers hears of a pause a third of minIdleMs later', async () => {
  const { redis } = await overTcp()
  const minIdleMs = 1_500
  let isDown = true
  const { consumer, calls } = aConsumer(
    async () => {
      if (isDown) throw new Error('down')
      if (calls.length === 1) await pause(consumer, { redis })
      await new Promise((resolve) => setTimeout(resolve, 50))
    },
    { minIdleMs, allowLongHandlers: true, batchSize: 100 },
  )
  await publish(redis, ...paid(...Array.from({ length: 60 }, (_, n) => `o${n}`)))
  await poll(consumer, { redis })
  isDown = false
  calls.length = 0

  const report = await claimOnce(consumer, { redis })

  expect(report).toMatchObject({ paused: true, failed: 0, deadLettered: 0 })
  expect(calls.length).toBeLessThan(20)
  expect(difference(report)).toBe(0)
  await resume(consumer, { redis })
  await claimOnce(consumer, { redis })
  expect(calls.toSorted()).toEqual(Array.from({ length: 60 }, (_, n) => `o${n}`).toSorted())
})

it('a type that only a codec can read is taken and put back without a delivery', async () => {
  const { redis, pending } = await overTcp()
  const { decode } = envelopeCodec
  let isDown = true
  const { consumer, calls } = aConsumer(
    () => {
      if (isDown) throw new Error('down')
    },
    { codec: { decode } },
  )
  await publish(redis, ...paid('a'))
  await poll(consumer, { redis })
  isDown = false
  await pause(consumer, { redis, type: 'OrderPaid' })

  expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 1, parked: 1 })
  expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 0 })
  expect(await pending()).toEqual([['parked', 1]])
  await resume(consumer, { redis, type: 'OrderPaid' })
  await claimOnce(consumer, { redis })
  expect(calls).toEqual(['a', 'a'])
})

it('what a dead process held of a paused type keeps its count, and stays a suspect', async () => {
  const { redis, raw, age } = await startScenario()
  const { consumer, calls } = aConsumer()
  await poll(consumer, { redis })
  await publish(redis, ...paid('a'))
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
  await age(120_000)
  await pause(consumer, { redis, type: 'OrderPaid' })

  const report = await claimOnce(consumer, { redis })

  expect(report).toMatchObject({ claimed: 1, released: 1, throttled: 0 })
  expect(calls).toEqual([])
  const [row] = (await raw.xpending('orders', 'billing', '-', '+', 10)) as [string, string, number, number][]
  expect(row?.slice(1)).toEqual(['claimer-0', expect.any(Number), 1])
  await resume(consumer, { redis, type: 'OrderPaid' })
  await age(120_000)
  await claimOnce(consumer, { redis })
  expect(calls).toEqual(['a'])
})

it('events that wait for others are set aside when their group is paused', async () => {
  const { redis, pending } = await overTcp()
  const calls: number[] = []
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    minIdleMs: 600,
    handlerTimeoutMs: 500,
    allowLongHandlers: true,
    routes: [
      onBatch(OrderPaid, (events) => void calls.push(events.length), { maxEvents: 10, maxBatchingWindowMs: 60_000 }),
    ],
  })
  await publish(redis, ...paid('a', 'b'))
  const polling = poll(consumer, { redis })
  await expect.poll(pending).toHaveLength(2)

  await pause(consumer, { redis })

  expect(await polling).toMatchObject({ read: 2, released: 2, paused: true })
  expect(calls).toEqual([])
  expect(await pending()).toEqual([
    ['parked', 0],
    ['parked', 0],
  ])
})

it('a key of another type in place of pauses pauses nothing, at any read', async () => {
  const { redis, raw, publish } = await startScenario()
  await publish(...names('o', 5))
  await raw.rpush('{orders}:billing:paused', 'no pause')
  const { calls, handler } = noting()

  const report = await poll(billing(handler, { batchSize: 2 }), { redis })

  expect([calls, report.acked]).toEqual([names('o', 5), 5])
})

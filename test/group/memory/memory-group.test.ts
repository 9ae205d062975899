import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { createMemoryConnection } from '../../../src/group/memory/memory-connection.ts'
import { MemoryServer } from '../../../src/group/memory/memory-server.ts'
import type { ConsumerOptions, EventHandler } from '../../../src/index.ts'
import { claim, createPublisher, defineConsumer, defineEvent, on, poll } from '../../../src/index.ts'
import { connectMemory, createVirtualClock } from '../../../src/testing/index.ts'
import { anAddress, describeGroup, type Outside } from '../group.contract.ts'

const { stream, group: name, keys } = anAddress()

describeGroup('the group in memory', async (): Promise<Outside> => {
  const clock = createVirtualClock()
  const server = new MemoryServer(clock)
  const now = () => server.clock.now()
  const view = createMemoryConnection(server)
  const groupState = () => server.stream(stream).groups.get(name)
  return {
    connect: () => createMemoryConnection(server),
    add: async (fields, id) => server.stream(stream).add(fields, now(), id),
    trimEntry: async (id) => server.stream(stream).remove(id),
    pending: async () => [...view.pending(stream, name)],
    hand: async (id, { consumerName, idleMs, deliveryCount }) =>
      groupState()?.hand(id, { owner: consumerName, idleMs }, Number(deliveryCount), now()),
    deadLetters: async () => view.entries(keys.deadLetters).map(({ fields }) => [...fields]),
    consumers: async () => [...(groupState()?.consumers.keys() ?? [])],
    addConsumer: async (consumerName) => void groupState()?.consumers.set(consumerName, now()),
    readAs: async (consumerName) => {
      const group = groupState()
      const [entry] = server.stream(stream).after(group?.lastDeliveredId ?? '0', 1)
      if (!group || !entry) return
      group.lastDeliveredId = entry.id
      group.hand(entry.id, { owner: consumerName, idleMs: 0 }, 1, now())
    },
    pass: (ms) => clock.advance(ms),
    endLease: async (consumerName) => void server.leases.delete(keys.slot(consumerName)),
    dueIn: async (id) => {
      const due = server.due(keys.due).get(id)
      if (due === undefined) return undefined
      return due >= 9e15 ? Infinity : Math.floor(due / 1_024) - now()
    },
    makeDue: async (id) => void server.due(keys.due).set(id, now() * 1_024),
    mark: async () => server.state(keys.state).mark,
    dropGroup: async () => view.destroyGroup(stream, name),
    dropStream: async () => void server.streams.delete(stream),
    flush: async () => {
      for (const kept of [server.streams, server.leases, server.states, server.dueTimes, server.waiting]) kept.clear()
    },
    close: async () => {},
  }
})

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })

/** A consumer in memory with one event to handle, and the clock of it all. */
async function aShop(handler: EventHandler, options: Partial<ConsumerOptions> = {}) {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const billing = defineConsumer({ stream, group: name, routes: [on(OrderPaid, handler)], ...options })
  const { entryId } = await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o-1' })
  return {
    clock,
    redis,
    entryId,
    poll: () => poll(billing, { redis, clock }),
    claim: () => claim(billing, { redis, clock }),
  }
}

test('connectMemory() takes an event from its publisher to the dead letters, as time is advanced', async () => {
  const counts: number[] = []
  const shop = await aShop(
    (_event, { deliveryCount }) => {
      counts.push(deliveryCount)
      throw new Error('no such card')
    },
    { maxDeliveries: 2, backoff: { firstMs: 60_000, factor: 1, maxMs: 60_000 } },
  )
  await shop.poll()
  const parked = shop.redis.pending(stream, name)
  await shop.claim()
  await shop.clock.advance(60_000)
  await shop.claim()
  expect(parked).toEqual([{ id: shop.entryId, consumerName: 'parked', idleMs: 0, deliveryCount: 1 }])
  expect([counts, shop.redis.pending(stream, name)]).toEqual([[1, 2], []])
  const letters = shop.redis.entries(keys.deadLetters).map(({ fields }) => Object.fromEntries(fields))
  expect(letters).toEqual([
    expect.objectContaining({ originalId: shop.entryId, reason: 'max-deliveries', errorMessage: 'no such card' }),
  ])
})

test('connectMemory() and its clock run into a handler’s time limit', async () => {
  const shop = await aShop(() => new Promise(() => {}), { handlerTimeoutMs: 10_000 })
  const running = shop.poll()
  await shop.clock.advance(10_000)
  expect(await running).toMatchObject({ read: 1, retried: 1, overran: 1, durationMs: 10_000 })
})

test('trim() loses what is pending, which claim() counts', async () => {
  const shop = await aShop(() => {
    throw new Error('no such card')
  })
  await shop.poll()
  shop.redis.trim(stream, 0)
  const report = await shop.claim()
  expect([shop.redis.entries(stream), report.lost, shop.redis.pending(stream, name)]).toEqual([[], 1, []])
})

test('destroyGroup() loses a group, which poll() recreates', async () => {
  const handled: string[] = []
  const shop = await aShop((_event, { entryId }) => void handled.push(entryId))
  await shop.poll()
  shop.redis.destroyGroup(stream, name)
  expect([(await shop.poll()).groupRecreated, handled]).toEqual([true, [shop.entryId, shop.entryId]])
})

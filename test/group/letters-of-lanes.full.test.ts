import type { Connection } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { findPolicyEngine } from '../../dist/run/policy-engine.js'
import type { Delivery } from '../../src/group/delivery.ts'
import type { ClaimerOperations, Group, Settlement, Slot } from '../../src/group/group.ts'
import { startScenario } from '../support/scenario.ts'

const Paid = defineEvent('Paid', { payload: z.unknown() })
const consumer = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [on(Paid, () => {})],
  use: [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter: 'wait' })],
})

interface Server {
  readonly redis: Connection
  /** An entry is deleted from the stream by hand. */
  deleteFirst(): Promise<void>
}

const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  async memory() {
    const redis = connectMemory()
    return { redis, deleteFirst: async () => redis.trim('orders', redis.entries('orders').length - 1) }
  },
  async Redis() {
    const { redis, raw } = await startScenario()
    return {
      redis,
      deleteFirst: async () => void (await raw.xtrim('orders', 'MAXLEN', (await raw.xlen('orders')) - 1)),
    }
  },
}

describe.each(Object.entries(SERVERS))('a lane with the letter of an entry, %s', (_name, start) => {
  /** A poller holds entries of key a; what is `aside` waits in its lane, which the first of these begins. */
  async function begin(count: number) {
    const { redis, deleteFirst } = await start()
    const group = findPolicyEngine(consumer as never)?.open(
      redis,
      consumer as never,
      () => 5_000,
    ) as unknown as Group & {
      readonly claims: ClaimerOperations
    }
    const publisher = createPublisher({ stream: 'orders', redis })
    for (let n = 1; n <= count; n++) await publisher.publish(Paid, n, { aggregateId: 'a' })
    const slot = (await group.takeSlot('poller', 1, 30_000)) as Slot
    const { entries } = await group.settleAndRead(slot, [], { count: 10 })
    const settle = (entry: Delivery, outcome: Settlement['outcome']) =>
      group.settle(slot, [{ ...entry, delivery: entry, outcome } as Settlement])
    return {
      entries: entries as readonly [Delivery, Delivery, Delivery],
      deleteFirst,
      aside: (entry: Delivery) => settle(entry, { kind: 'park', delayMs: 0, condition: 'orderedBy =' }),
      retry: (entry: Delivery) => settle(entry, { kind: 'retry', delayMs: 0 }),
      ack: (entry: Delivery) => settle(entry, { kind: 'ack' }),
      bury: (entry: Delivery) =>
        settle(entry, { kind: 'dead-letter', letter: { reason: 'non-retryable', lastDeliveredAt: 0, failedAt: 0 } }),
      async take() {
        const request = { room: 10, maxDeliveries: 5, till: undefined, conditions: [] }
        return (await group.claims.settleAndTake(slot, [], request)).started
      },
    }
  }

  it('starts nothing behind it', async () => {
    const { entries, bury, aside, take } = await begin(2)
    const [one, two] = entries
    await bury(one)
    await aside(two)

    expect(await take()).toEqual([])
  })

  it('starts what comes before it, and nothing after that', async () => {
    const { entries, bury, aside, retry, ack, take } = await begin(3)
    const [one, two, three] = entries
    await bury(two)
    await aside(three)
    await retry(one)

    const [first, ...others] = (await take()) as unknown as [Delivery]
    expect([first.id, others]).toEqual([one.id, []])
    await ack(first)
    expect(await take()).toEqual([])
  })

  it('takes back what has started behind it by then, once that fails', async () => {
    const { entries, bury, aside, retry, take } = await begin(2)
    const [one, two] = entries
    await aside(two)
    const [started] = (await take()) as unknown as [Delivery]
    await bury(one)
    await retry(started)

    expect(started.id).toBe(two.id)
    expect(await take()).toEqual([])
  })

  it('has what waits go on that gave way to an entry that is gone', async () => {
    const { entries, aside, retry, take, deleteFirst } = await begin(2)
    const [one, two] = entries
    await aside(two)
    await deleteFirst()
    await retry(one)

    expect((await take()).map(({ id }) => id)).toEqual([two.id])
  })
})

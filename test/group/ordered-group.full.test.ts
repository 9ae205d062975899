import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { findPolicyEngine } from '../../dist/run/policy-engine.js'
import type { ClaimerOperations, Group, Settlement, Slot } from '../../src/group/group.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { ended } from '../support/both-sides.ts'

const Paid = defineEvent('Paid', { payload: z.unknown() })
const consumer = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [on(Paid, () => {})],
  use: [orderedBy(({ aggregateId }) => aggregateId)],
})

interface World {
  readonly redis: Connection
  readonly group: Group & { readonly claims: ClaimerOperations }
  pending(): Promise<readonly (readonly [owner: string, count: number])[]>
  /** The lease of a slot is another's. */
  takeLease(name: string): Promise<void>
  loseGroup(): Promise<void>
  /** What is kept of errors. */
  errors(): Promise<readonly (string | undefined)[]>
}

const open = (redis: Connection) =>
  findPolicyEngine(consumer as never)?.open(redis, consumer as never, () => 5_000) as never

const WORLDS: Readonly<Record<string, () => Promise<World>>> = {
  async memory() {
    let offset = 0
    const clock = { now: () => Date.now() + offset, monotonic: () => performance.now(), after: () => () => {} }
    const redis = connectMemory({ clock })
    return {
      redis,
      group: open(redis),
      pending: async () =>
        redis.pending('orders', 'billing').map((one) => [one.consumerName, one.deliveryCount] as const),
      async takeLease() {
        offset += 120_000
        await redis.group({ ...consumer } as never).takeSlot('poller', 1, 30_000)
      },
      loseGroup: async () => redis.destroyGroup('orders', 'billing'),
      errors: async () =>
        redis
          .pending('orders', 'billing')
          .map(({ lastError }) => lastError)
          .filter(Boolean),
    }
  },
  async Redis() {
    const server = await startRedisServer()
    const raw = new Redis(server.url)
    const redis = connectIoredis(server.url)
    onTestFinished(async () => {
      await redis.close()
      raw.disconnect()
      await server.stop()
    })
    return {
      redis,
      group: open(redis),
      pending: async () =>
        ((await raw.xpending('orders', 'billing', '-', '+', 100)) as [string, string, number, number][]).map(
          ([, owner, , count]) => [owner, count] as const,
        ),
      takeLease: async (name) => void (await raw.set(`{orders}:billing:slot:${name}`, 'another', 'PX', 60_000)),
      loseGroup: async () => void (await raw.xgroup('DESTROY', 'orders', 'billing')),
      errors: async () =>
        Object.entries(await raw.hgetall('{orders}:billing:state'))
          .filter(([field]) => field.startsWith('error:'))
          .map(([, text]) => text),
    }
  },
}

describe.each(Object.entries(WORLDS))('a group that keeps order, %s', (_name, start) => {
  const begin = async (...keys: string[]) => {
    const world = await start()
    const publisher = createPublisher({ stream: 'orders', redis: world.redis })
    for (const aggregateId of keys) await publisher.publish(Paid, aggregateId, { aggregateId })
    const slot = (await world.group.takeSlot('poller', 1, 30_000)) as Slot
    return { ...world, slot, publisher }
  }
  const acked = (entries: readonly { id: string; deliveryCount: number }[]): Settlement[] =>
    entries.map((entry) => ({ ...entry, outcome: { kind: 'ack' } }))

  it('reads nothing under a slot that went to another', async () => {
    const { group, slot, takeLease, pending } = await begin('a')
    await group.settleAndRead(slot, [], { count: 10 })
    await takeLease('poller-0')

    const read = await group.settleAndRead(slot, [], { count: 10 })

    expect([read.entries, read.leaseLost]).toEqual([[], true])
    expect(await pending()).toEqual([['poller-0', 1]])
  })

  it('takes no acknowledgement of a slot that went to another', async () => {
    const { group, slot, takeLease, pending } = await begin('a')
    const { entries } = await group.settleAndRead(slot, [], { count: 10 })
    await takeLease('poller-0')

    const settled = await group.settle(slot, acked(entries))

    expect([settled.counts.unsettled, settled.leaseLost]).toEqual([1, true])
    expect(await pending()).toEqual([['poller-0', 1]])
  })

  it('ends all leases when it is made again, and gives the run that does so nothing', async () => {
    const { group, slot, loseGroup } = await begin('a')
    await group.settleAndRead(slot, [], { count: 10 })
    const claimer = (await group.claims.takeSlotAndClaim(30_000, { minIdleMs: 0, cursor: undefined, room: 0 }))
      ?.slot as Slot
    await group.claims.finishClaims({ ...claimer, token: 'x' }, '0-0', 60_000)
    await loseGroup()

    const read = await group.settleAndRead(slot, [], { count: 10 })

    expect([read.entries, read.leaseLost, read.groupRecreated]).toEqual([[], true, true])
    for (const one of [slot, claimer])
      expect((await group.renew(one, [{ id: '1-1', deliveryCount: 1 }])).leaseLost).toBe(true)
  })

  it('has claimers keep off what lies under the name of a poller', async () => {
    const { group, slot, pending } = await begin('a', 'b')
    await group.settleAndRead(slot, [], { count: 10 })

    const opened = await group.claims.takeSlotAndClaim(30_000, { minIdleMs: 0, cursor: undefined, room: 10 })

    expect(opened?.page.claimed).toEqual([])
    expect(await pending()).toEqual([
      ['poller-0', 1],
      ['poller-0', 1],
    ])
  })

  it('gives claimers the first of each key of what a dead poller held, as suspects', async () => {
    const { group, slot } = await begin('a', 'a', 'b')
    const { entries } = await group.settleAndRead(slot, [], { count: 10 })
    await group.giveSlot(slot, ended({ known: entries.map(({ id }) => id) }))
    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    expect((await group.settleAndRead(next, [], { count: 10 })).entries).toEqual([])

    const opened = await group.claims.takeSlotAndClaim(30_000, { minIdleMs: 60_000, cursor: undefined, room: 10 })

    const [first, , third] = entries.map(({ id }) => id)
    expect(opened?.page.claimed.map(({ id, deliveryCount, from }) => [id, deliveryCount, from.owner])).toEqual([
      [first, 1, 'poller-0'],
      [third, 1, 'poller-0'],
    ])
  })

  it('hands a lane to the next member in the step that settles the first', async () => {
    const { group, slot } = await begin('a', 'a')
    const { entries } = await group.settleAndRead(slot, [], { count: 10 })
    const [one, two] = entries as [(typeof entries)[0], (typeof entries)[0]]
    const asTold = (entry: typeof one, outcome: Settlement['outcome']) => ({ ...entry, delivery: entry, outcome })
    await group.settle(slot, [
      asTold(one, { kind: 'retry', delayMs: 0 }),
      asTold(two, { kind: 'park', delayMs: 0, condition: 'orderedBy =' }),
    ] as Settlement[])
    const taking = { room: 10, maxDeliveries: 5, till: undefined, conditions: [] }

    const first = await group.claims.settleAndTake(slot, [], taking)
    expect(first.started.map(({ id }) => id)).toEqual([one.id])
    const none = await group.claims.settleAndTake(slot, [], taking)
    expect(none.started).toEqual([])
    const second = await group.claims.settleAndTake(
      slot,
      acked(first.started).map((s) => ({ ...s, isTaken: true })),
      taking,
    )
    expect(second.started.map(({ id }) => id)).toEqual([two.id])
  })

  it('keeps the last error of a member, which only its holder can change', async () => {
    const { group, slot, errors, takeLease } = await begin('a', 'b')
    const { entries } = await group.settleAndRead(slot, [], { count: 10 })
    const failed = (entry: object, message: string, outcome: Settlement['outcome'] = { kind: 'retry', delayMs: 0 }) =>
      ({ ...entry, delivery: entry, outcome, error: new Error(message) }) as never as Settlement
    const [a, b] = entries as [object, object]
    await group.settle(slot, [failed(a, 'one'), failed(b, 'none', { kind: 'release', owner: 'x', deliveryCount: 1 })])
    expect(await errors()).toEqual(['Error: one'])

    const taking = { room: 10, maxDeliveries: 5, till: undefined, conditions: [] }
    const { started } = await group.claims.settleAndTake(slot, [], taking)
    expect(started).toHaveLength(1)
    await group.settle(slot, [failed({ ...started[0], deliveryCount: 7 }, 'late')])
    expect(await errors()).toEqual(['Error: one'])
    await takeLease('poller-0')
    await group.settle(slot, [failed(started[0] as object, 'late')])

    expect(await errors()).toEqual(['Error: one'])
  })

  it('takes nothing before a first read, which makes lanes of all that is pending', async () => {
    const { group, slot } = await begin('a')
    const { entries } = await group.settleAndRead(slot, [], { count: 10 })
    await group.settle(slot, [
      { ...(entries[0] as (typeof entries)[0]), delivery: entries[0], outcome: { kind: 'retry', delayMs: 0 } },
    ] as never)
    await group.giveSlot(slot, ended({ known: [] }))
    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    const taking = { room: 10, maxDeliveries: 5, till: undefined, conditions: [] }

    expect((await group.claims.settleAndTake(next, [], taking)).started).toEqual([])
    await group.settleAndRead(next, [], { count: 10 })
    expect((await group.claims.settleAndTake(next, [], taking)).started).toHaveLength(1)
  })

  it('gives a read that was not answered back to its lanes, at no delivery', async () => {
    const { group, slot, pending, publisher } = await begin('a')
    await group.settleAndRead(slot, [], { count: 1 })
    await publisher.publish(Paid, 'b', { aggregateId: 'b' })
    const { entries } = await group.settleAndRead(slot, [], { count: 1 })
    expect(entries).toHaveLength(1)

    // the run knows of the first only
    const [a] = await pending()
    await group.giveSlot(slot, ended({ known: [], isInDoubt: true }))

    expect(a).toEqual(['poller-0', 1])
    expect(await pending()).toEqual([
      ['parked', 0],
      ['parked', 0],
    ])
  })
})

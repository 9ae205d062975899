import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { findPolicyEngine } from '../../dist/run/policy-engine.js'
import type { HeldEntry } from '../../src/group/delivery.ts'
import type { ClaimerOperations, Group, Settlement, Slot } from '../../src/group/group.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { ended } from '../support/both-sides.ts'

// Rules of order that random processes hardly ever need, step by step: test/model/order/rules.ts names them.

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
  pending(): Promise<readonly string[]>
  delete(id: string): Promise<void>
  loseGroup(): Promise<void>
}

interface RedisWorld extends World {
  /** What was given back lies there as after a redrive. */
  redrive(id: string): Promise<void>
}

const open = (redis: Connection) =>
  findPolicyEngine(consumer as never)?.open(redis, consumer as never, () => 5_000) as never

const WORLDS = {
  async memory(): Promise<World> {
    const redis = connectMemory()
    const group = open(redis) as World['group']
    return {
      redis,
      group,
      pending: async () => redis.pending('orders', 'billing').map((one) => `${one.consumerName} ${one.deliveryCount}`),
      delete: async (id) => {
        const ids = redis.entries('orders').map((entry) => entry.id)
        // memory trims only
        redis.trim('orders', ids.length - ids.indexOf(id) - 1)
      },
      loseGroup: async () => redis.destroyGroup('orders', 'billing'),
    }
  },
  async Redis(): Promise<RedisWorld> {
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
          ([, owner, , count]) => `${owner} ${count}`,
        ),
      delete: async (id) => void (await raw.xdel('orders', id)),
      loseGroup: async () => void (await raw.xgroup('DESTROY', 'orders', 'billing')),
      redrive: async (id) => {
        await raw.call('XCLAIM', 'orders', 'billing', 'parked', 0, id, 'IDLE', 0, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
        await raw.zadd('{orders}:billing:due', 1_024, id)
      },
    }
  },
}

const TAKING = { room: 10, maxDeliveries: 5, till: undefined, conditions: [] }
const retry = { kind: 'retry', delayMs: 0 } as const
const behind = { kind: 'park', delayMs: 0, condition: 'orderedBy =' } as const
const settled = (entry: HeldEntry, outcome: unknown, isTaken = false) =>
  ({ ...entry, delivery: entry, outcome, ...(isTaken && { isTaken }) }) as unknown as Settlement

/** A run that has read an entry of key `a` for each count. */
async function begin<Of extends World>(start: () => Promise<Of>, count: number) {
  const world = await start()
  const publisher = createPublisher({ stream: 'orders', redis: world.redis })
  const publish = async (aggregateId = 'a') => void (await publisher.publish(Paid, 1, { aggregateId }))
  for (let n = 0; n < count; n++) await publish()
  const slot = (await world.group.takeSlot('poller', 1, 30_000)) as Slot
  const { entries } = await world.group.settleAndRead(slot, [], { count: 10 })
  const take = async (settlements: readonly Settlement[] = [], by = slot) => {
    const { started } = await world.group.claims.settleAndTake(by, settlements, TAKING)
    return started
  }
  return { ...world, slot, entries, take, publish, ids: entries.map(({ id }) => id) }
}
const idsOf = (entries: readonly { readonly id: string }[]) => entries.map(({ id }) => id)

describe.each<[string, () => Promise<World>]>(Object.entries(WORLDS))('a lane, %s', (_name, start) => {
  it('begins with what is lower, though that is set aside later', async () => {
    const { group, slot, entries, take, ids } = await begin(start, 2)
    const [one, two] = entries as readonly HeldEntry[] as [HeldEntry, HeldEntry]
    await group.settle(slot, [settled(two, retry)])
    await group.settle(slot, [settled(one, retry)])

    const first = await take()

    expect(idsOf(first)).toEqual([ids[0]])
    expect(idsOf(await take([settled(first[0] as HeldEntry, { kind: 'ack' }, true)]))).toEqual([ids[1]])
  })

  it('does not let what is under way give way to what is lower', async () => {
    const { group, slot, entries, take, ids } = await begin(start, 2)
    const [one, two] = entries as readonly HeldEntry[] as [HeldEntry, HeldEntry]
    await group.settle(slot, [settled(two, retry)])
    const [running] = await take()
    await group.settle(slot, [settled(one, retry)])

    expect(running?.id).toBe(ids[1])
    expect(await take()).toEqual([])
    // it has failed, and goes behind
    expect(idsOf(await take([settled(running as HeldEntry, retry, true)]))).toEqual([ids[0]])
  })

  it('goes on when its first is gone', async () => {
    const { group, slot, entries, take, ids, ...world } = await begin(start, 2)
    await group.settle(slot, [settled(entries[0] as HeldEntry, retry), settled(entries[1] as HeldEntry, behind)])
    await world.delete(ids[0] as string)
    expect(await take()).toEqual([])

    expect(idsOf(await take())).toEqual([ids[1]])
    expect(await world.pending()).toEqual(['poller-0 1'])
  })

  it('holds its key while its first waits for a condition', async () => {
    const { group, slot, entries, take } = await begin(start, 2)
    const [one, two] = entries as readonly HeldEntry[] as [HeldEntry, HeldEntry]
    await group.settle(slot, [
      settled(one, { kind: 'park', delayMs: 0, condition: 'policy waits' }),
      settled(two, behind),
    ])

    expect(await take()).toEqual([])
  })

  it('comes back with a group that was lost, in order', async () => {
    const { group, slot, entries, ids, loseGroup } = await begin(start, 2)
    const [one, two] = entries as readonly HeldEntry[] as [HeldEntry, HeldEntry]
    await group.settle(slot, [settled(one, retry), settled(two, behind)])
    const claimer = (await group.claims.takeSlotAndClaim(30_000, { minIdleMs: 60_000, cursor: undefined, room: 0 }))
      ?.slot
    await group.claims.finishClaims(claimer as Slot, '0-0', 60_000)
    await loseGroup()
    await group.settleAndRead(slot, [], { count: 10 })

    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    await group.settleAndRead(next, [], { count: 10 })
    const first = (await group.claims.settleAndTake(next, [], TAKING)).started
    const second = (
      await group.claims.settleAndTake(next, [settled(first[0] as HeldEntry, { kind: 'ack' }, true)], TAKING)
    ).started

    expect([...first, ...second].map(({ id, deliveryCount }) => [id, deliveryCount])).toEqual([
      [ids[0], 2],
      [ids[1], 1],
    ])
  })

  it('leaves to a living claimer what that holds', async () => {
    const { group, slot, entries, ids, pending } = await begin(start, 2)
    await group.settle(slot, [settled(entries[0] as HeldEntry, retry), settled(entries[1] as HeldEntry, behind)])
    await group.giveSlot(slot, ended())
    const opened = await group.claims.takeSlotAndClaim(30_000, { minIdleMs: 60_000, cursor: undefined, room: 10 })
    const { started } = await group.claims.settleAndTake(opened?.slot as Slot, [], TAKING)

    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    await group.settleAndRead(next, [], { count: 10 })

    expect(idsOf(started)).toEqual([ids[0]])
    expect(await pending()).toEqual(['claimer-0 2', 'parked 0'])
  })

  it('gives claimers one suspect at a time', async () => {
    const { group, slot, entries, ids } = await begin(start, 2)
    await group.giveSlot(slot, ended({ known: idsOf(entries) }))
    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    await group.settleAndRead(next, [], { count: 10 })
    const claiming = { minIdleMs: 60_000, cursor: undefined, room: 10 }

    const one = await group.claims.takeSlotAndClaim(30_000, claiming)
    const two = await group.claims.takeSlotAndClaim(30_000, claiming)

    expect([one, two].map((opened) => idsOf(opened?.page.claimed ?? []))).toEqual([[ids[0]], []])
  })
})

// memory has no words for it
describe('a lane on Redis', () => {
  it('gives way to what was redriven once its claimer has died', async () => {
    const { group, slot, entries, ids, redrive } = await begin(WORLDS.Redis, 2)
    await group.settle(slot, [
      settled(entries[0] as HeldEntry, { kind: 'ack' }),
      settled(entries[1] as HeldEntry, retry),
    ])
    await group.giveSlot(slot, ended())
    const claiming = { minIdleMs: 60_000, cursor: undefined, room: 10 }
    const dead = (await group.claims.takeSlotAndClaim(30_000, claiming))?.slot as Slot
    expect(idsOf((await group.claims.settleAndTake(dead, [], TAKING)).started)).toEqual([ids[1]])
    await redrive(ids[0] as string)
    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    await group.settleAndRead(next, [], { count: 10 })

    const other = await group.claims.takeSlotAndClaim(30_000, { ...claiming, minIdleMs: 0 })

    expect(idsOf(other?.page.claimed ?? [])).toEqual([])
    expect(idsOf((await group.claims.settleAndTake(other?.slot as Slot, [], TAKING)).started)).toEqual([ids[0]])
  })

  it('has what was redriven go before all that is undone', async () => {
    const { group, slot, entries, take, ids, redrive } = await begin(WORLDS.Redis, 3)
    const [one, two, three] = entries as readonly HeldEntry[] as [HeldEntry, HeldEntry, HeldEntry]
    await group.settle(slot, [settled(one, { kind: 'ack' }), settled(two, retry), settled(three, behind)])
    await redrive(ids[0] as string)
    // nobody knows its lane yet
    const [running] = await take()
    expect(running?.id).toBe(ids[1])
    await group.settle(slot, [settled(running as HeldEntry, retry, true)])
    await group.giveSlot(slot, ended())

    const next = (await group.takeSlot('poller', 1, 30_000)) as Slot
    await group.settleAndRead(next, [], { count: 10 })

    expect(idsOf(await take([], next))).toEqual([ids[0]])
  })
})

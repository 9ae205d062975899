import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import type { Connection } from '../../../src/group/connection.ts'
import { openEntryWaiter } from '../../../src/group/redis/entry-waiter.ts'
import { bothSides, ended } from '../../support/both-sides.ts'
import {
  aLetter,
  anAddress,
  aSlot,
  counted,
  type Outside,
  type Pending,
  settleAs,
  type TextField,
} from '../group.contract.ts'

const { stream, group: name, keys } = anAddress()

/** A real server seen from outside, through a client of its own. */
export interface RedisOutside extends Outside {
  readonly raw: Redis
}

/** Empties a server, and inspects it past the connections that `connect` makes. */
export async function openRedis(url: string, connect: () => Connection): Promise<RedisOutside> {
  const raw = new Redis(url, { protocol: 2 })
  await raw.flushall()
  const connections: Connection[] = []
  return {
    raw,
    connect() {
      const connection = connect()
      connections.push(connection)
      return connection
    },
    add: async (fields, id = '*') => String(await raw.xadd(stream, id, ...fields.flat())),
    trimEntry: async (id) => void (await raw.xdel(stream, id)),
    async pending() {
      const rows = (await raw.xpending(stream, name, '-', '+', 10_000)) as [string, string, number, number][]
      return rows.map(
        ([id, consumerName, idleMs, deliveryCount]): Pending => ({ id, consumerName, idleMs, deliveryCount }),
      )
    },
    async hand(id, { consumerName, idleMs, deliveryCount }) {
      const how = ['IDLE', idleMs, 'RETRYCOUNT', String(deliveryCount), 'JUSTID']
      await raw.call('xclaim', stream, name, consumerName, 0, id, ...how)
    },
    async deadLetters() {
      const letters = await raw.xrange(keys.deadLetters, '-', '+')
      return letters.map(([, flat]) => pairs(flat))
    },
    async consumers() {
      const infos = (await raw.xinfo('CONSUMERS', stream, name)) as string[][]
      return infos.map((info) => String(info[1 + info.indexOf('name')]))
    },
    addConsumer: async (consumerName) => void (await raw.xgroup('CREATECONSUMER', stream, name, consumerName)),
    readAs: async (consumerName) =>
      void (await raw.xreadgroup('GROUP', name, consumerName, 'COUNT', 1, 'STREAMS', stream, '>')),
    async pass(ms) {
      // waits for the server's clock
      const now = async () => {
        const [seconds = 0, micros = 0] = await raw.time()
        return Number(seconds) * 1_000 + Number(micros) / 1_000
      }
      for (const until = (await now()) + ms; (await now()) <= until; );
    },
    endLease: async (consumerName) => void (await raw.del(keys.slot(consumerName))),
    async dueIn(id) {
      const [due, [seconds = 0]] = await Promise.all([raw.zscore(keys.due, id), raw.time()])
      if (due === null) return undefined
      return Number(due) >= 9e15 ? Infinity : Math.floor(Number(due) / 1_024) - Number(seconds) * 1_000
    },
    makeDue: async (id) => void (await raw.zadd(keys.due, 1_024, id)),
    mark: async () => (await raw.hget(keys.state, 'mark')) ?? undefined,
    dropGroup: async () => void (await raw.xgroup('DESTROY', stream, name)),
    dropStream: async () => void (await raw.del(stream)),
    flush: async () => void (await raw.flushall()),
    async close() {
      await Promise.all(connections.map((connection) => connection.close()))
      raw.disconnect()
    },
  }
}

/** What holds only on a real server, over every client. */
export function describeServer(title: string, open: () => Promise<RedisOutside>): void {
  describe(title, () => {
    test('a slot is leased for leaseMs', async () => {
      const outside = await open()
      await outside.connect().group(anAddress()).takeSlot('poller', 1, 60_000.5)
      const leftMs = await outside.raw.pttl(keys.slot('poller-0'))
      expect(Math.round(leftMs / 60_000)).toBe(1)
      expect(leftMs).toBeLessThanOrEqual(60_001)
      await outside.close()
    })

    test("an entry read within its lease's millisecond and never settled is released at no delivery", async () => {
      const outside = await open()
      const group = bothSides(outside.connect().group(anAddress()))
      const slot = await aSlot(group)
      await group.settleAndRead(slot, [], { count: 1 })
      const id = await outside.add([['n', '0']])
      await outside.raw
        .multi()
        .set(keys.slot(slot.consumerName), slot.token, 'PX', slot.leaseMs)
        .xreadgroup('GROUP', name, slot.consumerName, 'COUNT', 1, 'STREAMS', stream, '>')
        .exec()
      await group.giveSlot(slot, ended())
      expect(await outside.pending()).toEqual([
        { id, consumerName: 'parked', idleMs: expect.any(Number), deliveryCount: 0 },
      ])
      await outside.close()
    })

    test('a dead letter has the bytes of its entry, in their order and as often', async () => {
      const outside = await open()
      const own = [Buffer.from([0xff, 0x00, 0xfe]), Buffer.from([0xc3, 0x28]), Buffer.from('a'), Buffer.from([0x80])]
      const fields = [...own, ...own, Buffer.alloc(0), Buffer.from('\r\n')]
      await outside.raw.xadd(stream, '*', ...fields)
      const group = bothSides(outside.connect().group(anAddress()))
      const slot = await aSlot(group)
      const { entries } = await group.settleAndRead(slot, [], { count: 1 })
      expect(await group.settle(slot, settleAs(aLetter(), entries))).toEqual(counted({ deadLettered: 1 }))
      const [letter] = await outside.raw.xrangeBuffer(keys.deadLetters, '-', '+')
      expect(letter?.[1].slice(32)).toEqual(fields)
      await outside.close()
    })

    test('a dead letter that is packed has the bytes of its entry', async () => {
      const outside = await open()
      const fields = Array.from({ length: 2 * 3_901 }, (_, n) => Buffer.from([n % 256, 0xff]))
      await outside.raw.xadd(stream, '*', ...fields)
      const group = bothSides(outside.connect().group(anAddress()))
      const slot = await aSlot(group)
      const { entries } = await group.settleAndRead(slot, [], { count: 1 })
      expect(await group.settle(slot, settleAs(aLetter(), entries))).toEqual(counted({ deadLettered: 1 }))
      const [letter] = await outside.raw.xrangeBuffer(keys.deadLetters, '-', '+')
      const packed = Buffer.concat(fields.flatMap((value) => [Buffer.from('2:'), value]))
      expect(letter?.[1].slice(30)).toEqual(['fieldCount', '3901', 'packed', packed].map((value) => Buffer.from(value)))
      await outside.close()
    })

    test('a dead letter that the server refuses leaves its entry parked, once per kind of refusal', async () => {
      const outside = await open()
      for (let n = 0; n < 3; n++) await outside.add([['n', String(n)]])
      await outside.raw.set(keys.deadLetters, 'no stream')
      const group = bothSides(outside.connect().group(anAddress()))
      const slot = await aSlot(group)
      const { entries } = await group.settleAndRead(slot, [], { count: 10 })
      const { refusals, refusedLetters, ...result } = await group.settle(slot, [
        ...settleAs(aLetter(), entries.slice(0, 2)),
        ...settleAs({ kind: 'retry', delayMs: 0 }, entries.slice(2)),
      ])
      expect({ ...result, refusals: [], refusedLetters: [] }).toEqual(counted({ unsettled: 2, retried: 1 }))
      expect(refusedLetters.map(({ id }) => id)).toEqual(entries.slice(0, 2).map(({ id }) => id))
      expect(refusals.map(({ message }) => message)).toEqual([
        expect.stringMatching(/^Cannot write a dead letter: .*WRONGTYPE/),
      ])
      expect(
        (await outside.pending()).map(({ id, consumerName, deliveryCount }) => [id, consumerName, deliveryCount]),
      ).toEqual(entries.map(({ id }) => [id, 'parked', 1]))
      await outside.close()
    })

    test('a command that the server refuses is a failure, and its entries are unsettled', async () => {
      const outside = await open()
      await outside.raw.set(stream, 'no stream')
      const group = bothSides(outside.connect().group(anAddress()))
      const held = [{ id: '1-1', deliveryCount: 1 }]
      const slot = await aSlot(group)
      const settlements = [...settleAs({ kind: 'ack' }, held), ...settleAs(aLetter(), held)]
      const { failures, refusedLetters, ...read } = await group.settleAndRead(slot, settlements, { count: 1 })
      expect({ ...read, failures: [], refusedLetters: [] }).toEqual({
        ...counted({ unsettled: 2 }),
        entries: [],
        pendingLimitReached: false,
        parkedLimitReached: false,
        hasEnded: false,
        groupRecreated: false,
      })
      expect(refusedLetters).toEqual(settleAs(aLetter(), held))
      expect(new Set(failures.map(({ message }) => /WRONGTYPE/.test(message)))).toEqual(new Set([true]))
      await outside.close()
    })

    test('a waiter hands over what came though the due index is of another type', async () => {
      const outside = await open()
      const id = await outside.add([['n', '0']])
      const group = outside.connect().group(anAddress())
      const slot = await aSlot(bothSides(group))
      await group.settleAndRead(slot, [], { count: 1 }) // makes the group
      const next = await outside.add([['n', '1']])
      await outside.raw.set(keys.due, 'no index')
      const waiter = openEntryWaiter(group)
      const { entries, failures, dueInMs } = await waiter.read(slot, { count: 10, waitMs: 20, asksDue: true })
      expect([entries.map((entry) => entry.id), failures, dueInMs]).toEqual([[next], [], undefined])
      expect((await outside.pending()).map((entry) => entry.id)).toEqual([id, next])
      await waiter.end()
      await outside.close()
    })

    test('scripts that the server forgot are sent again', async () => {
      const outside = await open()
      const id = await outside.add([['n', '0']])
      const group = bothSides(outside.connect().group(anAddress()))
      const slot = await aSlot(group)
      const { entries } = await group.settleAndRead(slot, [], { count: 1 })
      await outside.raw.script('FLUSH')
      const before = group.roundTrips
      expect(await group.settleAndRead(slot, settleAs(aLetter(), entries), { count: 1 })).toEqual({
        ...counted({ deadLettered: 1 }),
        entries: [],
        pendingLimitReached: false,
        parkedLimitReached: false,
        hasEnded: false,
        groupRecreated: false,
      })
      expect([(await outside.deadLetters()).length, group.roundTrips - before, id]).toEqual([1, 2, entries[0]?.id])
      await outside.close()
    })

    test('full memory grants slots without a lease; reading, acking and claiming go on', async () => {
      const outside = await open()
      for (let n = 0; n < 3; n++) await outside.add([['n', String(n)]])
      const group = bothSides(outside.connect().group(anAddress()))
      await group.settleAndRead({ consumerName: 'poller-0', token: '', leaseMs: 0 }, [], { count: 1 })
      await outside.raw.config('SET', 'maxmemory', '1')
      try {
        const slot = await group.takeSlot('poller', 4, 60_000)
        const claimer = await group.takeSlot('claimer', 2, 60_000)
        expect([slot, claimer]).toEqual([
          { consumerName: expect.stringMatching(/^poller-[0-9a-f-]{36}$/), token: '', leaseMs: 60_000 },
          { consumerName: expect.stringMatching(/^claimer-[0-9a-f-]{36}$/), token: '', leaseMs: 60_000 },
        ])
        if (!slot || !claimer) throw new Error('no slot')
        const { entries } = await group.settleAndRead(slot, [], { count: 10 })
        const settled = await group.settle(slot, [
          ...settleAs({ kind: 'ack' }, entries.slice(0, 1)),
          ...settleAs(aLetter(), entries.slice(1)),
        ])
        expect(settled.counts).toEqual(counted({ acked: 1, unsettled: 1 }).counts)
        expect(settled.refusals.map(({ message }) => message)).toEqual([expect.stringMatching(/OOM/)])
        const { claimed } = await group.settleAndClaim(claimer, [], { minIdleMs: 0, cursor: undefined, room: 10 })
        const { started } = await group.settleAndStart(claimer, [], claimed)
        expect(started.map(({ deliveryCount }) => deliveryCount)).toEqual([2])
        const inAWhile = { room: 10, maxDeliveries: 5, till: Date.now() + 600_000, conditions: [] }
        const taken = await group.settleAndTake(claimer, settleAs({ kind: 'retry', delayMs: 0 }, started), inAWhile)
        expect(new Set(taken.started.map(({ deliveryCount }) => deliveryCount))).toEqual(new Set([2, 3]))
        await group.finishClaims(claimer, '0-0', 0)
        await group.giveSlot(slot, ended())
      } finally {
        await outside.raw.config('SET', 'maxmemory', '0')
        await outside.close()
      }
    })
  })
}

function pairs(flat: readonly string[]): TextField[] {
  return Array.from({ length: flat.length / 2 }, (_, n): TextField => [flat[2 * n] ?? '', flat[2 * n + 1] ?? ''])
}

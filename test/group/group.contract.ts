import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { SettleCounts } from '../../src/core/counts.ts'
import { entryIdBefore } from '../../src/core/entry.ts'
import { consumerKeys, PARKED_CONSUMER } from '../../src/core/keys.ts'
import { HOLD_ANSWERS } from '../../src/core/markers.ts'
import type { DeadLetterFacts, Outcome } from '../../src/core/outcome.ts'
import { ACK_OUTCOME } from '../../src/core/outcome.ts'
import type { Connection } from '../../src/group/connection.ts'
import type { ClaimedEntry, Delivery } from '../../src/group/delivery.ts'
import type {
  ClaimResult,
  Group,
  GroupAddress,
  GroupMeasurement,
  OpenedClaimerSlot,
  SeenPauses,
  Settlement,
  SettleResult,
  Slot,
  TakeDueRequest,
  WaitRequest,
} from '../../src/group/group.ts'
import { createAppender } from '../../src/group/redis/append.ts'
import { openEntryWaiter } from '../../src/group/redis/entry-waiter.ts'
import { joinScriptCalls } from '../../src/group/redis/joining.ts'
import { pausingOf } from '../../src/group/redis/pausing.ts'
import { holdMarkersScript } from '../../src/group/redis/scripts/hold-markers.ts'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides, ended } from '../support/both-sides.ts'
import { plainDelivery } from '../support/plain-delivery.ts'

/** A server seen from outside: what a test sets up, and inspects, past the connection it tests. All of it is about one group. */
export interface Outside {
  /** The connection of one more process. */
  connect(): Connection
  /** Appends an entry, under an id of the server's unless one is given. */
  add(fields: readonly TextField[], id?: string): Promise<string>
  /** Removes an entry from the stream, and leaves it pending. */
  trimEntry(id: string): Promise<void>
  pending(): Promise<Pending[]>
  /** Hands a pending entry to a consumer name with that idle time and count. */
  hand(
    id: string,
    to: Omit<Pending, 'id' | 'deliveryCount'> & { readonly deliveryCount: number | bigint },
  ): Promise<void>
  deadLetters(): Promise<TextField[][]>
  consumers(): Promise<string[]>
  addConsumer(name: string): Promise<void>
  /** Lets that many milliseconds go by, a few. */
  pass(ms: number): Promise<void>
  /** Reads an entry under a consumer name, past whoever holds it: what a request brings whose answer is lost. */
  readAs(consumerName: string): Promise<void>
  endLease(consumerName: string): Promise<void>
  /** Milliseconds until an entry is due, Infinity if it was taken; `undefined` if the index does not have it. */
  dueIn(id: string): Promise<number | undefined>
  makeDue(id: string): Promise<void>
  mark(): Promise<string | undefined>
  dropGroup(): Promise<void>
  /** Removes the stream with its groups; keeps leases, cursor, mark and due times. */
  dropStream(): Promise<void>
  flush(): Promise<void>
  /** Closes every connection made. */
  close(): Promise<void>
}

export type TextField = readonly [name: string, value: string]

export interface Pending {
  readonly id: string
  readonly consumerName: string
  readonly idleMs: number
  readonly deliveryCount: number
}

const SECOND = 1_000
const MINUTE = 60 * SECOND
const MIN_IDLE_MS = 10 * MINUTE
/** All that was to be started was. */
const nobodyLeft = { leftAlone: [], noRoom: [] }
/** Nothing is set aside. */
const nothingAside = { aside: { conditions: [] }, isHealing: false }
/** Nothing was read. */
const nothingRead = { entries: [], pendingLimitReached: false, parkedLimitReached: false, hasEnded: false }

const LEASE_MS = 7 * 24 * 60 * MINUTE
const BODY: readonly TextField[] = [['type', 'OrderPaid']]

/** Where every test happens. */
export function anAddress(settings: Partial<GroupAddress['settings']> = {}): GroupAddress {
  return {
    stream: 'orders',
    group: 'billing',
    keys: consumerKeys('orders', 'billing'),
    joinCalls: joinScriptCalls,
    settings: { startAt: '0', maxDeadLetters: 1_000, minIdleMs: MIN_IDLE_MS, maxPollers: 4, ...settings },
  }
}

export function aLetter(facts: Partial<DeadLetterFacts> = {}): Outcome {
  const letter: DeadLetterFacts = { reason: 'max-deliveries', lastDeliveredAt: 0, failedAt: 1_500, ...facts }
  return { kind: 'dead-letter', letter }
}

/** The slot of a kind that is free. */
export async function aSlot(group: Group, kind: 'poller' | 'claimer' = 'poller'): Promise<Slot> {
  const slot = await group.takeSlot(kind, 4, LEASE_MS)
  if (!slot) throw new Error(`no ${kind} slot is free`)
  return slot
}

const retry = (delayMs: number): Outcome => ({ kind: 'retry', delayMs })

export function settleAs(outcome: Outcome, held: readonly { id: string; deliveryCount: number }[]): Settlement[] {
  return held.map(({ id, deliveryCount }) => ({ id, deliveryCount, outcome }))
}

/** A result without failures that counts only this. */
export function counted(counts: Partial<SettleCounts> = {}): SettleResult {
  const none = {
    acked: 0,
    ackMissed: 0,
    duplicates: 0,
    retried: 0,
    deadLettered: 0,
    released: 0,
    ignored: 0,
    parked: 0,
    superseded: 0,
    unsettled: 0,
    lost: 0,
  }
  return {
    counts: { ...none, deadLettersTrimmed: 0, ...counts },
    failures: [],
    refusals: [],
    letters: expect.toSatisfy((letters: readonly unknown[]) => letters.length === (counts.deadLettered ?? 0)),
    refusedLetters: [],
    leaseLost: false,
  }
}

/** The suite that every adapter of the group port passes. */
export function describeGroup(name: string, open: () => Promise<Outside>): void {
  describe(name, () => {
    let outside: Outside

    beforeEach(async () => {
      outside = await open()
    })
    afterEach(() => outside.close())

    const aGroup = (settings?: Partial<GroupAddress['settings']>) =>
      bothSides(outside.connect().group(anAddress(settings)))

    /** Entries of the stream `count` long. */
    async function addEntries(count: number): Promise<string[]> {
      const ids: string[] = []
      for (let n = 0; n < count; n++) ids.push(await outside.add([['n', String(n)]]))
      return ids
    }

    /** A poller that has read `count` new entries. */
    async function aReader(count: number, settings?: Partial<GroupAddress['settings']>) {
      const group = aGroup(settings)
      await addEntries(count)
      const slot = await aSlot(group)
      const { entries } = await group.settleAndRead(slot, [], { count })
      return { group, slot, entries, ids: entries.map(({ id }) => id) }
    }

    /** A claimer beside `count` entries that `poller-0` left behind `idleMs` ago. */
    async function aClaimer(count: number, idleMs = 20 * MINUTE) {
      const { group, ids } = await aReader(count)
      for (const id of ids) await outside.hand(id, { consumerName: 'poller-0', idleMs, deliveryCount: 1 })
      return { group, ids, slot: await aSlot(group, 'claimer') }
    }

    /** A claimer that has claimed `count` entries. */
    async function aClaim(count: number) {
      const { group, ids, slot } = await aClaimer(count)
      const { claimed } = await group.settleAndClaim(slot, [], page())
      return { group, ids, slot, claimed }
    }

    /** A claimer beside `count` entries that are set aside, due by now. */
    async function aShelf(count: number) {
      const { group, slot, entries, ids } = await aReader(count)
      await group.settle(slot, settleAs(retry(0), entries))
      return { group, ids, slot: await aSlot(group, 'claimer') }
    }

    /** In how many whole minutes entries are due, Infinity for what runs. */
    async function dueInMinutes(ids: readonly string[]) {
      const due = await Promise.all(ids.map((id) => outside.dueIn(id)))
      return due.map((ms) => (ms === undefined ? undefined : Math.max(0, Math.round(ms / MINUTE))))
    }

    /** Pending entries as [id, owner, idle time in whole minutes, count]: a server's clock goes on while a test runs. */
    async function pendingRows() {
      const pending = await outside.pending()
      return pending.map(({ id, consumerName, idleMs, deliveryCount }) => [
        id,
        consumerName,
        Math.round(idleMs / MINUTE),
        deliveryCount,
      ])
    }

    describe('slots', () => {
      test('takeSlot() takes the lowest free slot, and none once all are held', async () => {
        const group = aGroup()
        const taken = [await group.takeSlot('poller', 2, LEASE_MS), await group.takeSlot('poller', 2, LEASE_MS)]
        expect([...taken, await group.takeSlot('poller', 2, LEASE_MS)]).toEqual([
          { consumerName: 'poller-0', token: expect.stringMatching(/./), leaseMs: LEASE_MS },
          { consumerName: 'poller-1', token: expect.stringMatching(/./), leaseMs: LEASE_MS },
          undefined,
        ])
        expect(taken[0]?.token).not.toBe(taken[1]?.token)
      })

      test('takeSlot() counts pollers and claimers apart', async () => {
        const group = aGroup()
        const taken = [await group.takeSlot('poller', 1, LEASE_MS), await group.takeSlot('claimer', 1, LEASE_MS)]
        expect(taken.map((slot) => slot?.consumerName)).toEqual(['poller-0', 'claimer-0'])
      })

      test('takeSlot() takes a slot again that was given back', async () => {
        const group = aGroup()
        const first = await aSlot(group)
        await aSlot(group)
        await group.giveSlot(first, ended())
        expect(await group.takeSlot('poller', 2, LEASE_MS)).toMatchObject({ consumerName: 'poller-0' })
      })

      test('takeSlot() takes a slot whose lease has ended', async () => {
        const group = aGroup()
        const first = await aSlot(group)
        await outside.endLease(first.consumerName)
        const second = await aSlot(group)
        expect(second.consumerName).toBe(first.consumerName)
        expect(second.token).not.toBe(first.token)
      })

      test('giveSlot() leaves a slot alone that another one holds', async () => {
        const group = aGroup()
        const first = await aSlot(group)
        await outside.endLease(first.consumerName)
        await aSlot(group)
        await group.giveSlot(first, ended())
        await group.giveSlot({ consumerName: 'poller-0', token: '', leaseMs: 0 }, ended())
        expect(await group.takeSlot('poller', 1, LEASE_MS)).toBeUndefined()
      })
    })

    describe('settleAndRead()', () => {
      test('reads new entries in order, each with delivery count 1', async () => {
        const fields: TextField[] = [
          ['type', 'OrderPaid'],
          ['type', 'again'],
          ['', 'übermäßig 🦊'],
          ['2', ''],
          ['1', '007'],
        ]
        const ids = [await outside.add(fields), await outside.add(BODY)]
        const group = aGroup()
        const slot = await aSlot(group)
        const read = await group.settleAndRead(slot, [], { count: 10 })
        const returnTo = PARKED_CONSUMER
        expect({ ...read, entries: read.entries.map(asText) }).toEqual({
          ...counted(),
          entries: [
            { id: ids[0], fields, deliveryCount: 1, returnTo },
            { id: ids[1], fields: BODY, deliveryCount: 1, returnTo },
          ],
          pendingLimitReached: false,
          parkedLimitReached: false,
          hasEnded: false,
          groupRecreated: false,
        })
        expect(await pendingRows()).toEqual(ids.map((id) => [id, 'poller-0', 0, 1]))
      })

      test('reads up to count entries, and goes on after them, whoever reads', async () => {
        const ids = await addEntries(5)
        const group = aGroup()
        const slots = [await aSlot(group), await aSlot(group), await aSlot(group)]
        const read: string[][] = []
        for (const slot of slots) read.push(idsOf((await group.settleAndRead(slot, [], { count: 2 })).entries))
        expect(read).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)])
        expect(await group.settleAndRead(slots[0] as Slot, [], { count: 2 })).toEqual({
          ...counted(),
          entries: [],
          pendingLimitReached: false,
          parkedLimitReached: false,
          hasEnded: false,
          groupRecreated: false,
        })
      })

      test.each<[startAt: string, read: string[]]>([
        ['0', ['1-1', '1-2', '2-0', '3-0']],
        ['1-1', ['1-2', '2-0', '3-0']],
        ['1', ['1-1', '1-2', '2-0', '3-0']],
        ['$', ['3-0']],
      ])('makes a missing group that starts after %s', async (startAt, expected) => {
        const group = aGroup({ startAt })
        const slot = await aSlot(group)
        for (const id of ['1-1', '1-2', '2-0']) await outside.add(BODY, id)
        const first = await group.settleAndRead(slot, [], { count: 10 })
        await outside.add(BODY, '3-0')
        const second = await group.settleAndRead(slot, [], { count: 10 })
        expect(idsOf([...first.entries, ...second.entries])).toEqual(expected)
        expect([first.groupRecreated, second.groupRecreated]).toEqual([false, false])
      })

      test('makes the stream that is missing', async () => {
        const group = aGroup()
        const slot = await aSlot(group)
        const empty = await group.settleAndRead(slot, [], { count: 10 })
        const id = await outside.add(BODY)
        const { entries } = await group.settleAndRead(slot, [], { count: 10 })
        expect([empty, idsOf(entries)]).toEqual([{ ...counted(), ...nothingRead, groupRecreated: false }, [id]])
      })

      test.each([undefined, 100])('gives nothing to a slot that went to another, maxPending %s', async (maxPending) => {
        const { group, slot, ids } = await aReader(1)
        await outside.endLease(slot.consumerName)
        await aSlot(group)
        await outside.add(BODY)
        expect(await group.settleAndRead(slot, [], { count: 10, maxPending })).toEqual({
          ...counted(),
          leaseLost: true,
          entries: [],
          pendingLimitReached: false,
          parkedLimitReached: false,
          hasEnded: false,
          groupRecreated: false,
        })
        expect((await outside.pending())[0]).toMatchObject({ id: ids[0], deliveryCount: 1 })
      })

      test('gives the slot back with the answer if asked to and nothing is to read', async () => {
        const { group, slot } = await aReader(1)
        const request = { count: 1, maxPending: 10, ifEmpty: 'give' } as const
        await outside.add(BODY)
        expect(await group.settleAndRead(slot, [], request)).toMatchObject({ entries: [{}], hasEnded: false })
        expect(await group.settleAndRead(slot, [], { ...request, ifEmpty: 'keep' })).toMatchObject({ hasEnded: false })
        expect(await group.takeSlot('poller', 1, LEASE_MS)).toBeUndefined()
        expect(await group.settleAndRead(slot, [], request)).toMatchObject({ entries: [], hasEnded: true })
        expect(await group.takeSlot('poller', 1, LEASE_MS)).toMatchObject({ consumerName: slot.consumerName })
      })

      test('reads nothing while more than maxPending entries are pending', async () => {
        const { group, slot, entries } = await aReader(4)
        await group.settle(slot, settleAs(retry(0), entries.slice(3))) // what is set aside does not count
        const id = await outside.add(BODY)
        const full = await group.settleAndRead(slot, [], { count: 10, maxPending: 2 })
        expect(full).toEqual({
          ...counted(),
          entries: [],
          pendingLimitReached: true,
          parkedLimitReached: false,
          hasEnded: false,
          groupRecreated: false,
        })
        const settlements = settleAs(ACK_OUTCOME, entries.slice(0, 1))
        const { entries: read, pendingLimitReached } = await group.settleAndRead(slot, settlements, {
          count: 10,
          maxPending: 2,
        })
        expect([idsOf(read), pendingLimitReached]).toEqual([[id], false])
      })

      test('reads nothing while more than maxParked entries are set aside', async () => {
        const { group, slot, entries } = await aReader(3)
        await group.settle(slot, settleAs(retry(0), entries.slice(0, 2)))
        await outside.add(BODY)
        const request = { count: 10, maxPending: 10 }
        const full = await group.settleAndRead(slot, [], { ...request, maxParked: 1 })
        const { entries: read } = await group.settleAndRead(slot, [], { ...request, maxParked: 2 })
        expect([full.pendingLimitReached, full.parkedLimitReached, full.entries, read.length]).toEqual([
          false,
          true,
          [],
          1,
        ])
      })

      test('settles and reads in one round trip', async () => {
        const { group, slot, entries } = await aReader(4)
        const [first, second, third, fourth] = entries as [Delivery, Delivery, Delivery, Delivery]
        const settlements = [
          ...settleAs(ACK_OUTCOME, [first]),
          ...settleAs(retry(0), [second]),
          ...settleAs(aLetter(), [third]),
          ...settleAs({ kind: 'release', owner: PARKED_CONSUMER, deliveryCount: 0 }, [fourth]),
        ]
        await group.settle(slot, settleAs(retry(0), [{ id: '1-1', deliveryCount: 1 }])) // the server knows the script now
        const id = await outside.add(BODY)
        const before = group.roundTrips
        const read = await group.settleAndRead(slot, settlements, { count: 10 })
        expect({ ...read, entries: idsOf(read.entries) }).toEqual({
          ...counted({ acked: 1, retried: 1, deadLettered: 1, released: 1 }),
          entries: [id],
          pendingLimitReached: false,
          parkedLimitReached: false,
          hasEnded: false,
          groupRecreated: false,
        })
        expect(group.roundTrips - before).toBe(1)
      })
    })

    describe('settle()', () => {
      test('asks nothing for nothing', async () => {
        const group = aGroup()
        expect(await group.settle({ consumerName: 'poller-0', token: 'x', leaseMs: 0 }, [])).toEqual(counted())
        expect(group.roundTrips).toBe(0)
      })

      test('acks entries, and counts those that were no longer pending', async () => {
        const { group, slot, entries } = await aReader(3)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries.slice(0, 1)))
        expect(await group.settle(slot, settleAs(ACK_OUTCOME, entries))).toEqual(counted({ acked: 3, ackMissed: 1 }))
        expect(await outside.pending()).toEqual([])
      })

      test('sets a retry aside, due after its wait, with the count that it had', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        const settlements = [0, 4 * MINUTE, 60 * MINUTE].flatMap((delayMs, n) =>
          settleAs(retry(delayMs), entries.slice(n, n + 1)),
        )
        expect(await group.settle(slot, settlements)).toEqual(counted({ retried: 3 }))
        expect(await pendingRows()).toEqual(ids.map((id) => [id, PARKED_CONSUMER, 0, 1]))
        expect(await dueInMinutes(ids)).toEqual([0, 4, 60])
      })

      test('parks an entry until a condition holds, at no delivery', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        const park: Outcome = { kind: 'park', delayMs: 0, condition: 'shelf a' }
        expect(await group.settle(slot, settleAs(park, entries))).toEqual(counted({ parked: 2 }))
        expect(await pendingRows()).toEqual(ids.map((id) => [id, PARKED_CONSUMER, 0, 0]))
        const claimer = await aSlot(group, 'claimer')
        expect(await group.settleAndClaim(claimer, [], page())).toMatchObject({
          claimed: [],
          aside: { conditions: ['shelf a'] },
        })
      })

      test('releases an entry to whom it was, with the count it had', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        const [first, second] = entries as [Delivery, Delivery]
        const settlements = [
          ...settleAs({ kind: 'release', owner: first.returnTo, deliveryCount: 0 }, [first]),
          ...settleAs({ kind: 'release', owner: 'poller-3', deliveryCount: 4 }, [second]),
        ]
        expect(await group.settle(slot, settlements)).toEqual(counted({ released: 2 }))
        expect(await pendingRows()).toEqual([
          [ids[0], PARKED_CONSUMER, 0, 0],
          [ids[1], 'poller-3', 0, 4],
        ])
        expect(await dueInMinutes(ids)).toEqual([0, undefined])
      })

      test('lets a released entry be taken at once, and counts its start as first delivery', async () => {
        const { group, slot, entries } = await aReader(1)
        const [entry] = entries as [Delivery]
        await group.settle(slot, settleAs({ kind: 'release', owner: PARKED_CONSUMER, deliveryCount: 0 }, [entry]))
        const { started } = await group.settleAndTake(await aSlot(group, 'claimer'), [], taking())
        expect(started.map(({ id, deliveryCount }) => [id, deliveryCount])).toEqual([[entry.id, 1]])
      })

      test('moves an entry to the dead letters with its facts before its own fields', async () => {
        const fields: TextField[] = [
          ['type', 'OrderPaid'],
          ['reason', 'the entry’s own'],
          ['type', 'again'],
          ['', ''],
        ]
        const id = await outside.add(fields)
        const group = aGroup()
        const slot = await aSlot(group)
        const { entries } = await group.settleAndRead(slot, [], { count: 1 })
        const error = Object.assign(new RangeError('no such card'), { stack: 'RangeError: no such card\n    at pay' })
        const letter = aLetter({
          reason: 'non-retryable',
          error,
          eventId: 'e-1',
          eventType: 'OrderPaid',
          schemaVersion: 2,
          traceparent: '00-1-2-01',
          lastDeliveredAt: Date.UTC(2029, 0, 1, 12),
          failedAt: Date.UTC(2029, 0, 1, 12, 0, 1),
        })
        expect(await group.settle(slot, settleAs(letter, entries))).toEqual(counted({ deadLettered: 1 }))
        expect(await outside.deadLetters()).toEqual([
          [
            ['originalStream', 'orders'],
            ['originalId', id],
            ['group', 'billing'],
            ['consumer', 'poller-0'],
            ['eventId', 'e-1'],
            ['eventType', 'OrderPaid'],
            ['schemaVersion', '2'],
            ['reason', 'non-retryable'],
            ['errorName', 'RangeError'],
            ['errorMessage', 'no such card'],
            ['errorStack', 'RangeError: no such card\n    at pay'],
            ['deliveryCount', '1'],
            ['lastDeliveredAt', '2029-01-01T12:00:00.000Z'],
            ['failedAt', '2029-01-01T12:00:01.000Z'],
            ['traceparent', '00-1-2-01'],
            ['fieldCount', '4'],
            ...fields,
          ],
        ])
        expect(await outside.pending()).toEqual([])
      })

      test.each([
        [3_900, false],
        [3_901, true],
      ])('keeps %i fields in a dead letter, packed: %s', async (count, isPacked) => {
        const fields = Array.from({ length: count }, (_, n): TextField => [`näme-${n % 7}`, `v:${n}`])
        await outside.add(fields)
        const group = aGroup()
        const slot = await aSlot(group)
        const { entries } = await group.settleAndRead(slot, [], { count: 1 })
        expect(await group.settle(slot, settleAs(aLetter(), entries))).toEqual(counted({ deadLettered: 1 }))
        const [letter = []] = await outside.deadLetters()
        const own = letter.slice(16)
        expect([letter[15], own[0]?.[0] === 'packed']).toEqual([['fieldCount', String(count)], isPacked])
        expect(isPacked ? unpack(own[0]?.[1] ?? '') : own).toEqual(fields)
      })

      test('keeps the newest maxDeadLetters dead letters, and counts those it trims away', async () => {
        const { group, slot, entries, ids } = await aReader(5, { maxDeadLetters: 2 })
        await group.settle(slot, settleAs(aLetter(), entries.slice(0, 1)))
        const result = await group.settle(slot, settleAs(aLetter(), entries.slice(1)))
        expect(result).toEqual(counted({ deadLettered: 4, deadLettersTrimmed: 3 }))
        expect((await outside.deadLetters()).map(originOf)).toEqual(ids.slice(3))
      })

      test('keeps every dead letter where maxDeadLetters is Infinity', async () => {
        const { group, slot, entries, ids } = await aReader(5, { maxDeadLetters: Number.POSITIVE_INFINITY })
        expect(await group.settle(slot, settleAs(aLetter(), entries))).toEqual(counted({ deadLettered: 5 }))
        expect((await outside.deadLetters()).map(originOf)).toEqual(ids)
      })

      test.each<Outcome>([
        retry(0),
        retry(60 * MINUTE),
        { kind: 'release', owner: PARKED_CONSUMER, deliveryCount: 0 },
        aLetter(),
      ])('counts an entry as lost that was trimmed meanwhile: $kind $delayMs', async (outcome) => {
        const { group, slot, entries, ids } = await aReader(2)
        await outside.trimEntry(ids[0] as string)
        const result = await group.settle(slot, settleAs(outcome, entries.slice(0, 1)))
        expect(result).toEqual(counted({ superseded: 1, lost: 1 }))
        expect(await pendingRows()).toEqual([[ids[1], 'poller-0', 0, 1]])
        expect([await outside.deadLetters(), await outside.dueIn(ids[0] as string)]).toEqual([[], undefined])
      })

      test('settles hundreds of entries at once, each by its outcome', async () => {
        const { group, slot, entries, ids } = await aReader(310)
        const settlements = [
          ...settleAs(retry(0), entries.slice(0, 210)),
          ...settleAs(ACK_OUTCOME, entries.slice(210, 250)),
          ...settleAs(aLetter(), entries.slice(250)),
        ]
        expect(await group.settle(slot, settlements)).toEqual(counted({ acked: 40, retried: 210, deadLettered: 60 }))
        expect(await pendingRows()).toEqual(ids.slice(0, 210).map((id) => [id, PARKED_CONSUMER, 0, 1]))
        expect((await outside.deadLetters()).map(originOf)).toEqual(ids.slice(250))
      })
    })

    describe('the fence', () => {
      const takenAway: readonly [how: string, take: (id: string) => Promise<void>][] = [
        ['another consumer', (id) => outside.hand(id, { consumerName: 'claimer-1', idleMs: 0, deliveryCount: 1 })],
        ['another delivery', (id) => outside.hand(id, { consumerName: 'poller-0', idleMs: 0, deliveryCount: 2 })],
      ]
      const outcomes: readonly [name: string, outcome: Outcome][] = [
        ['retry', retry(0)],
        ['a retry that is due later', retry(60 * MINUTE)],
        ['release', { kind: 'release', owner: PARKED_CONSUMER, deliveryCount: 0 }],
        ['dead letter', aLetter()],
      ]
      const cases = takenAway.flatMap(([how, take]) =>
        outcomes.map(([name, outcome]) => ({ how, take, name, outcome })),
      )

      test.each(cases)('refuses $name of an entry that is with $how', async ({ take, outcome }) => {
        const { group, slot, entries, ids } = await aReader(1)
        await take(ids[0] as string)
        const before = await pendingRows()
        expect(await group.settle(slot, settleAs(outcome, entries))).toEqual(counted({ superseded: 1 }))
        expect([await pendingRows(), await outside.deadLetters()]).toEqual([before, []])
        expect(await outside.dueIn(ids[0] as string)).toBeUndefined()
      })

      test.each(outcomes)('refuses %s of an entry that was acked', async (_name, outcome) => {
        const { group, slot, entries } = await aReader(1)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        expect(await group.settle(slot, settleAs(outcome, entries))).toEqual(counted({ superseded: 1 }))
        expect([await outside.pending(), await outside.deadLetters()]).toEqual([[], []])
      })

      test.each(outcomes)('refuses %s from a poller whose slot went to another', async (_name, outcome) => {
        const { group, slot, entries, ids } = await aReader(2)
        await outside.endLease(slot.consumerName)
        const successor = await aSlot(group)
        expect(successor.consumerName).toBe(slot.consumerName)
        const settlements = settleAs(outcome, entries)
        expect(await group.settle(slot, settlements)).toEqual({ ...counted({ unsettled: 2 }), leaseLost: true })
        expect((await outside.pending()).map(({ id, consumerName }) => [id, consumerName])).toEqual(
          ids.map((id) => [id, 'poller-0']),
        )
        expect(await outside.deadLetters()).toEqual([])
      })

      test('lets an ack through, whoever has the entry', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        await outside.hand(ids[0] as string, { consumerName: 'claimer-1', idleMs: 0, deliveryCount: 2 })
        await outside.endLease(slot.consumerName)
        await aSlot(group)
        expect(await group.settle(slot, settleAs(ACK_OUTCOME, entries))).toEqual(counted({ acked: 2 }))
        expect(await outside.pending()).toEqual([])
      })

      test('judges a slot without a lease by owner and count', async () => {
        const group = aGroup()
        const [, second] = await addEntries(2)
        const slot = { consumerName: 'poller-of-its-own', token: '', leaseMs: 0 }
        const { entries } = await group.settleAndRead(slot, [], { count: 10 })
        await outside.hand(second as string, { consumerName: 'claimer-0', idleMs: 0, deliveryCount: 1 })
        const result = await group.settle(slot, settleAs(aLetter(), entries))
        expect(result).toEqual(counted({ deadLettered: 1, superseded: 1 }))
      })

      test.each(takenAway)('starts no claimed entry that is with %s', async (_how, take) => {
        const { group, slot, claimed, ids } = await aClaim(2)
        await take(ids[0] as string)
        const [before] = await pendingRows()
        const result = await group.settleAndStart(slot, [], claimed)
        expect({ ...result, started: idsOf(result.started) }).toEqual({
          ...counted({ superseded: 1 }),
          started: [ids[1]],
          ...nobodyLeft,
        })
        expect(await pendingRows()).toEqual([before, [ids[1], 'claimer-0', 0, 2]])
      })

      test('starts nothing for a claimer whose slot went to another', async () => {
        const { group, slot, claimed } = await aClaim(2)
        await outside.endLease(slot.consumerName)
        await aSlot(group, 'claimer')
        const result = await group.settleAndStart(slot, [], claimed)
        expect(result).toEqual({ ...counted({ unsettled: 2 }), ...nobodyLeft, started: [], leaseLost: true })
        expect((await outside.pending()).map(({ deliveryCount }) => deliveryCount)).toEqual([1, 1])
      })
    })

    describe('a lost answer', () => {
      const release = (settlement: Partial<Extract<Outcome, { kind: 'release' }>> = {}): Outcome => ({
        kind: 'release',
        owner: PARKED_CONSUMER,
        deliveryCount: 1,
        ...settlement,
      })

      /** A poller with one entry in its hands beside one, by its id, whose read was not answered. */
      async function aDoubter() {
        const { group, slot, entries, ids } = await aReader(1)
        const [unheard] = (await addEntries(1)) as [string]
        await outside.readAs(slot.consumerName)
        return { group, slot, entries, known: ids, unheard }
      }

      /** A poller that has given its slot back in doubt, and an entry that its read brought after that. */
      async function aLateRead(isInDoubt = true) {
        const { group, slot, ids } = await aReader(1)
        await group.giveSlot(slot, ended({ known: ids, isInDoubt }))
        const [late] = (await addEntries(1)) as [string]
        await outside.pass(5)
        await outside.readAs(slot.consumerName)
        return { group, slot, known: ids[0], late }
      }

      test('settle() releases entries read under the lease that the caller does not list as known', async () => {
        const { group, slot, known, unheard } = await aDoubter()
        await group.settle(slot, [])
        const before = await pendingRows()
        expect(await group.settle(slot, [], { known, turn: 1 })).toEqual(counted())
        expect([before, await pendingRows()]).toEqual([
          [
            [known[0], 'poller-0', 0, 1],
            [unheard, 'poller-0', 0, 1],
          ],
          [
            [known[0], 'poller-0', 0, 1],
            [unheard, PARKED_CONSUMER, 0, 0],
          ],
        ])
      })

      test('settle() counts what it settles among what is known, whatever becomes of it', async () => {
        const { group, slot, entries, known, unheard } = await aDoubter()
        const superseded = settleAs(retry(0), [{ id: known[0] as string, deliveryCount: 2 }])
        expect(await group.settle(slot, superseded, { known: [], turn: 1 })).toEqual(counted({ superseded: 1 }))
        expect(await group.settle(slot, settleAs(retry(0), entries), { known: [], turn: 2 })).toEqual(
          counted({ retried: 1 }),
        )
        expect(await pendingRows()).toEqual([
          [known[0], PARKED_CONSUMER, 0, 1],
          [unheard, PARKED_CONSUMER, 0, 0],
        ])
        expect(await dueInMinutes([unheard])).toEqual([10])
      })

      test.each(['settle()', 'giveSlot()'])('%s releases nothing that was read before the lease', async (how) => {
        const { group, slot, unheard } = await aDoubter()
        await outside.hand(unheard, { consumerName: slot.consumerName, idleMs: 2 * MINUTE, deliveryCount: 1 })
        await outside.endLease(slot.consumerName)
        const next = (await group.takeSlot('poller', 1, MINUTE)) as Slot
        if (how === 'settle()') await group.settle(next, [], { known: [], turn: 1 })
        await outside.hand(unheard, { consumerName: slot.consumerName, idleMs: 2 * MINUTE, deliveryCount: 1 })
        await group.giveSlot(next, ended())
        expect((await pendingRows())[1]).toEqual([unheard, 'poller-0', 2, 1])
      })

      test.each(['settle()', 'giveSlot()'])(
        '%s releases nothing that was under the name as it was taken',
        async (how) => {
          const { group, slot, known, unheard } = await aDoubter()
          await outside.endLease(slot.consumerName)
          const next = (await group.takeSlot('poller', 1, MINUTE)) as Slot
          // the former holder renewed them in the millisecond in which the slot was taken
          for (const id of [...known, unheard])
            await outside.hand(id, { consumerName: slot.consumerName, idleMs: 0, deliveryCount: 1 })
          const [own] = (await addEntries(1)) as [string]
          await outside.readAs(slot.consumerName)
          await (how === 'settle()' ? group.settle(next, [], { known: [], turn: 1 }) : group.giveSlot(next, ended()))
          expect(await pendingRows()).toEqual([
            ...[...known, unheard].map((id) => [id, 'poller-0', 0, 1]),
            [own, PARKED_CONSUMER, 0, 0],
          ])
        },
      )

      test('settle() hands back once for each turn, and not after a later one', async () => {
        const { group, slot, known, unheard } = await aDoubter()
        await group.settle(slot, [], { known, turn: 2 })
        const [next] = (await addEntries(1)) as [string]
        await outside.readAs(slot.consumerName)
        for (const turn of [1, 2]) await group.settle(slot, [], { known, turn })
        const before = await pendingRows()
        await group.settle(slot, [], { known, turn: 3 })
        expect([before.at(-1), await pendingRows()]).toEqual([
          [next, 'poller-0', 0, 1],
          [[known[0], 'poller-0', 0, 1], ...[unheard, next].map((id) => [id, PARKED_CONSUMER, 0, 0])],
        ])
      })

      test.each(['settle()', 'giveSlot()'])('%s releases nothing that was started, or is with others', async (how) => {
        const { group, slot, known, unheard } = await aDoubter()
        await outside.hand(known[0] as string, { consumerName: 'claimer-0', idleMs: 0, deliveryCount: 1 })
        await outside.hand(unheard, { consumerName: slot.consumerName, idleMs: 0, deliveryCount: 2 })
        await (how === 'settle()' ? group.settle(slot, [], { known: [], turn: 1 }) : group.giveSlot(slot, ended()))
        expect(await pendingRows()).toEqual([
          [known[0], 'claimer-0', 0, 1],
          [unheard, 'poller-0', 0, 2],
        ])
      })

      test.each(['settle()', 'giveSlot()'])('%s releases nothing once the slot went to another', async (how) => {
        const { group, slot, known, unheard } = await aDoubter()
        await outside.endLease(slot.consumerName)
        await aSlot(group)
        await (how === 'settle()' ? group.settle(slot, [], { known: [], turn: 1 }) : group.giveSlot(slot, ended()))
        expect(await pendingRows()).toEqual([known[0], unheard].map((id) => [id, 'poller-0', 0, 1]))
      })

      test('giveSlot() releases what was read under the lease and is not known', async () => {
        const { group, slot, known, unheard } = await aDoubter()
        await group.giveSlot(slot, ended({ known }))
        expect(await pendingRows()).toEqual([
          [known[0], 'poller-0', 0, 1],
          [unheard, PARKED_CONSUMER, 0, 0],
        ])
      })

      test("a slot given back with a read's answer leaves no unknown entries behind", async () => {
        const { group, slot, known, unheard } = await aDoubter()
        const read = await group.settleAndRead(slot, [], { count: 1, maxPending: 10, ifEmpty: 'give' })
        expect(read.hasEnded).toBe(true)
        expect(await pendingRows()).toEqual([known[0], unheard].map((id) => [id, PARKED_CONSUMER, 0, 0]))
      })

      test.each([
        ['releases what was read after a slot was given back in doubt, and only that', true],
        ['takes what was read after a slot was given back without doubt for a dead process’s', false],
      ])('takeSlot() %s', async (_what, isInDoubt) => {
        const { group, known, late } = await aLateRead(isInDoubt)
        expect(await aSlot(group)).toMatchObject({ consumerName: 'poller-0' })
        expect(await pendingRows()).toEqual([
          [known, 'poller-0', 0, 1],
          isInDoubt ? [late, PARKED_CONSUMER, 0, 0] : [late, 'poller-0', 0, 1],
        ])
      })

      test('a doubt ends with the next holder of the name, and only of that name', async () => {
        const { group, slot, known, late } = await aLateRead()
        await aSlot(group, 'claimer')
        const next = await aSlot(group)
        const [own] = (await addEntries(1)) as [string]
        await outside.pass(5)
        await outside.readAs(slot.consumerName)
        await outside.endLease(next.consumerName)
        await aSlot(group)
        expect(await pendingRows()).toEqual([
          [known, 'poller-0', 0, 1],
          [late, PARKED_CONSUMER, 0, 0],
          [own, 'poller-0', 0, 1],
        ])
      })

      test.each([
        ['releases what was read after a slot was given back in doubt', true],
        ['claims what was read after a slot was given back without doubt as a dead process’s', false],
      ])('settleAndClaim() %s', async (_what, isInDoubt) => {
        const { group, known, late } = await aLateRead(isInDoubt)
        await outside.pass(20)
        const slot = await aSlot(group, 'claimer')
        const { claimed } = await group.settleAndClaim(slot, [], { ...page(), minIdleMs: 10 })
        expect(claimed.map(({ id, deliveryCount, from }) => [id, from.owner, deliveryCount])).toEqual([
          [known, 'poller-0', 1],
          ...(isInDoubt ? [] : [[late, 'poller-0', 1]]),
        ])
        expect((await pendingRows())[1]).toEqual(isInDoubt ? [late, PARKED_CONSUMER, 0, 0] : [late, 'claimer-0', 0, 1])
        expect(await dueInMinutes([late])).toEqual([isInDoubt ? 0 : undefined])
      })

      test('settleAndClaim() releases nothing that is not stale', async () => {
        const { group, late } = await aLateRead()
        await group.settleAndClaim(await aSlot(group, 'claimer'), [], page())
        expect((await pendingRows())[1]).toEqual([late, 'poller-0', 0, 1])
      })

      test('settleAndGiveBack() makes what a take brought due again, its delivery given back', async () => {
        const { group, slot, ids } = await aShelf(3)
        await group.settleAndTake(slot, [], taking({ room: 2 }))
        const running = await dueInMinutes(ids)
        await group.settleAndGiveBack(slot, [])
        expect([running, await dueInMinutes(ids)]).toEqual([
          [Infinity, Infinity, 0],
          [0, 0, 0],
        ])
        expect(await pendingRows()).toEqual(ids.map((id) => [id, PARKED_CONSUMER, 0, 1]))
      })

      test('settleAndGiveBack() leaves what was settled since, and what is a successor’s', async () => {
        const { group, slot, ids } = await aShelf(2)
        const { started } = await group.settleAndTake(slot, [], taking())
        await group.settle(slot, settleAs(retry(60 * MINUTE), started.slice(0, 1)))
        await outside.endLease(slot.consumerName)
        await group.settleAndGiveBack(slot, [])
        await aSlot(group, 'claimer')
        await group.settleAndGiveBack(slot, [])
        expect(await dueInMinutes(ids)).toEqual([60, Infinity])
        expect(await pendingRows()).toEqual([
          [ids[0], PARKED_CONSUMER, 0, 2],
          [ids[1], 'claimer-0', 0, 2],
        ])
      })

      test.each([
        [1, true, counted({ released: 1 })],
        [2, true, counted({ released: 1 })],
        [3, true, counted({ superseded: 1 })],
        [2, false, counted({ superseded: 1 })],
      ])('settle() releases %s deliveries of an entry that had 1: may it have started, %s', async (...given) => {
        const [deliveryCount, mayHaveStarted, expected] = given
        const { group, slot, claimed, ids } = await aClaim(1)
        await outside.hand(ids[0] as string, { consumerName: slot.consumerName, idleMs: 0, deliveryCount })
        expect(await group.settle(slot, settleAs(release({ mayHaveStarted }), claimed))).toEqual(expected)
        expect(await pendingRows()).toEqual([
          expected.counts.released > 0 ? [ids[0], PARKED_CONSUMER, 0, 1] : [ids[0], 'claimer-0', 0, deliveryCount],
        ])
      })

      test('settleAndStart() starts nothing that was released meanwhile', async () => {
        const { group, slot, claimed, ids } = await aClaim(1)
        await group.settle(slot, settleAs(release({ mayHaveStarted: true }), claimed))
        expect((await group.settleAndStart(slot, [], claimed)).counts).toEqual(counted({ superseded: 1 }).counts)
        expect(await pendingRows()).toEqual([[ids[0], PARKED_CONSUMER, 0, 1]])
      })
    })

    describe('markers', () => {
      const { keys } = anAddress()
      const marker = { key: keys.marker('e1'), ttlMs: MINUTE }
      const markedAck: Outcome = { kind: 'ack-with', commands: [], marker }
      const duplicate: Outcome = { kind: 'duplicate', marker }

      /** Asks to handle the one event for some entries. */
      async function hold(group: BothSides, ...ids: string[]) {
        const asked = [keys.stream, keys.due, ...ids.map(() => marker.key)]
        const args = ['billing', MINUTE, MINUTE, ...ids]
        const [answers] = await group.ask([{ script: holdMarkersScript, keys: asked, args }])
        return answers
      }

      test('are held for the first that asks; others wait while it runs, whichever is older', async () => {
        const { group, ids } = await aReader(3)
        const [first = '', second = '', third = ''] = ids
        expect(await hold(group, second)).toEqual([HOLD_ANSWERS.held, second])
        expect(await hold(group, first, second, third)).toEqual([
          HOLD_ANSWERS.running,
          second,
          HOLD_ANSWERS.held,
          second,
          HOLD_ANSWERS.running,
          second,
        ])
      })

      test('go to an older entry from one that is set aside, never to a younger', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        const [first = '', second = ''] = ids
        await hold(group, second)
        await group.settle(slot, settleAs(retry(30_000), entries.slice(1)))
        expect(await hold(group, first)).toEqual([HOLD_ANSWERS.held, first])
        expect(await hold(group, second)).toEqual([HOLD_ANSWERS.running, first])
        await group.settle(slot, settleAs(retry(30 * MINUTE), entries.slice(0, 1)))

        const [waitMs, holder] = (await hold(group, second)) as [number, string]
        expect([Math.round(waitMs / MINUTE), holder]).toEqual([30, first])
      })

      test('are taken over by an older entry from one whose process died', async () => {
        const { group, ids } = await aReader(2)
        const [first = '', second = ''] = ids
        await hold(group, second)
        await outside.hand(second, { consumerName: 'poller-0', idleMs: MINUTE, deliveryCount: 1 })

        expect(await hold(group, first)).toEqual([HOLD_ANSWERS.held, first])
      })

      test('are void once their entry is no longer pending', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        const [first = '', second = ''] = ids
        await hold(group, first)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries.slice(0, 1)))

        expect(await hold(group, second)).toEqual([HOLD_ANSWERS.held, second])
      })

      test('say which entry was handled; others are duplicates', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        const [first, second] = settleAs(markedAck, entries)
        expect(await group.settle(slot, [first as Settlement])).toEqual(counted({ acked: 1 }))
        expect(await hold(group, ids[1] as string)).toEqual([HOLD_ANSWERS.handled, ids[0]])
        expect(await group.settle(slot, [second as Settlement])).toEqual(counted({ acked: 1, duplicates: 1 }))
        const [, , third] = settleAs(duplicate, entries)
        expect(await group.settle(slot, [third as Settlement])).toEqual(counted({ acked: 1, duplicates: 1 }))
        expect(await pendingRows()).toEqual([])
      })

      test('settled again after a lost answer are acked, also without the lease', async () => {
        const { group, slot, entries } = await aReader(1)
        await group.settle(slot, settleAs(markedAck, entries))
        expect(await group.settle(slot, settleAs(markedAck, entries))).toEqual(counted({ acked: 1 }))
        await outside.endLease(slot.consumerName)
        expect(await group.settle(slot, settleAs(markedAck, entries))).toEqual(counted({ acked: 1 }))
      })

      test('are not written for an entry that went to another, and it stays pending', async () => {
        const { group, slot, entries, ids } = await aReader(1)
        await outside.hand(ids[0] as string, { consumerName: 'claimer-0', idleMs: 0, deliveryCount: 2 })
        expect(await group.settle(slot, settleAs(markedAck, entries))).toMatchObject({
          ...counted({ superseded: 1 }),
          notAcked: [{ id: ids[0] }],
        })
        expect(await group.ask([['GET', marker.key]])).toEqual([null])
        expect(await pendingRows()).toEqual([[ids[0], 'claimer-0', 0, 2]])
      })

      test('that say nothing make no duplicate: it is set aside, at no delivery', async () => {
        const { group, slot, entries, ids } = await aReader(1)
        expect(await group.settle(slot, settleAs(duplicate, entries))).toMatchObject(counted({ parked: 1 }))
        expect(await pendingRows()).toEqual([[ids[0], PARKED_CONSUMER, 0, 0]])
      })

      test('of another type are replaced', async () => {
        const { group, slot, entries, ids } = await aReader(1)
        await group.ask([['SADD', marker.key, 'x']])
        expect(await hold(group, ids[0] as string)).toEqual([HOLD_ANSWERS.held, ids[0]])
        await group.ask([
          ['DEL', marker.key],
          ['SADD', marker.key, 'x'],
        ])
        expect(await group.settle(slot, settleAs(markedAck, entries))).toEqual(counted({ acked: 1 }))
        expect(await group.ask([['GET', marker.key]])).toEqual([`d${ids[0]}`])
      })
    })

    describe('settleAndClaim()', () => {
      test('takes over what has been idle for minIdleMs, and counts no delivery', async () => {
        const { group, slot, ids } = await aClaimer(3)
        await outside.hand(ids[0] as string, { consumerName: 'claimer-1', idleMs: 11 * MINUTE, deliveryCount: 3 })
        await outside.hand(ids[1] as string, { consumerName: 'poller-2', idleMs: 9 * MINUTE, deliveryCount: 1 })
        const result = await group.settleAndClaim(slot, [], page())
        expect({ ...result, claimed: inMinutes(result.claimed) }).toEqual({
          ...counted(),
          from: '0-0',
          cursor: '0-0',
          claimed: [
            { id: ids[0], deliveryCount: 3, from: { owner: 'claimer-1', idleMs: 11 * MINUTE } },
            { id: ids[2], deliveryCount: 1, from: { owner: 'poller-0', idleMs: 20 * MINUTE } },
          ],
          lost: 0,
          groupRecreated: false,
          ...nothingAside,
        })
        expect(await pendingRows()).toEqual([
          [ids[0], 'claimer-0', 0, 3],
          [ids[1], 'poller-2', 9, 1],
          [ids[2], 'claimer-0', 0, 1],
        ])
      })

      test.each([2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n])(
        'knows an entry of %i deliveries again, up to 2^53 of them',
        async (deliveryCount) => {
          const { group, slot, ids } = await aClaimer(3)
          for (const id of ids) await outside.hand(id, { consumerName: 'poller-0', idleMs: 20 * MINUTE, deliveryCount })
          const { claimed } = await group.settleAndClaim(slot, [], page())
          const told = Math.min(Number(deliveryCount), 2 ** 53)
          expect(claimed.map((entry) => entry.deliveryCount)).toEqual([told, told, told])
          const [first, second, third] = claimed as [ClaimedEntry, ClaimedEntry, ClaimedEntry]
          const settled = await group.settle(slot, [
            ...settleAs(aLetter(), [first]),
            ...settleAs({ kind: 'release', owner: PARKED_CONSUMER, deliveryCount: told }, [second]),
            ...settleAs(retry(0), [third]),
          ])
          expect(settled).toEqual(counted({ deadLettered: 1, released: 1, retried: 1 }))
          expect((await outside.deadLetters())[0]).toContainEqual(['deliveryCount', String(told)])
        },
      )

      test('does not inspect what is set aside, however idle, and says when the next is due', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        await group.settle(slot, settleAs(retry(60 * MINUTE), entries))
        for (const id of ids)
          await outside.hand(id, { consumerName: PARKED_CONSUMER, idleMs: 30 * MINUTE, deliveryCount: 2 })
        const claimer = await aSlot(group, 'claimer')
        const first = await group.settleAndClaim(claimer, [], page())
        await outside.makeDue(ids[1] as string)
        const second = await group.settleAndClaim(claimer, [], page())
        expect([first.claimed, first.cursor, second.claimed]).toEqual([[], '0-0', []])
        expect([first, second].map(({ aside: { dueInMs = 1 } }) => Math.round(dueInMs / MINUTE))).toEqual([60, 0])
        expect(await pendingRows()).toEqual(ids.map((id) => [id, PARKED_CONSUMER, 30, 2]))
      })

      test('goes through names in the order of their bytes, aging among them', async () => {
        const { group, slot, ids } = await aClaimer(5)
        const names = ['poller-3', 'aging', 'Poller', 'poller-10', 'é']
        for (const [n, consumerName] of names.entries())
          await outside.hand(ids[n] as string, { consumerName, idleMs: 20 * MINUTE, deliveryCount: 1 })
        const pages: string[] = []
        let cursor: string | undefined
        do {
          const result: ClaimResult = await group.settleAndClaim(slot, [], { ...page({ room: 1 }), cursor })
          pages.push(...result.claimed.map(({ from }) => from.owner))
          cursor = result.cursor
        } while (cursor !== '0-0')
        expect(pages).toEqual(['Poller', 'aging', 'poller-10', 'poller-3', 'é'])
      })

      test('leaves entries without room unchanged, and goes on with the first of them', async () => {
        const { group, slot, ids } = await aClaimer(5)
        const first = await group.settleAndClaim(slot, [], page({ room: 2 }))
        const rows = await pendingRows()
        const second = await group.settleAndClaim(
          slot,
          [],
          page({ room: 10, ...(first.cursor && { cursor: first.cursor }) }),
        )
        expect([idsOf(first.claimed), first.cursor]).toEqual([ids.slice(0, 2), `${ids[1]} poller-0`])
        expect(rows).toEqual(ids.map((id, n) => (n < 2 ? [id, 'claimer-0', 0, 1] : [id, 'poller-0', 20, 1])))
        expect([second.from, idsOf(second.claimed), second.cursor]).toEqual([first.cursor, ids.slice(2), '0-0'])
      })

      test('claims a hundred stale entries at a time', async () => {
        const { group, slot, ids } = await aClaimer(250)
        const pages: string[][] = []
        let cursor: string | undefined
        for (let n = 0; n < 3; n++) {
          const result = await group.settleAndClaim(slot, [], { minIdleMs: MIN_IDLE_MS, cursor, room: 1_000 })
          pages.push([result.from, ...idsOf(result.claimed)])
          cursor = result.cursor
        }
        expect(pages).toEqual([
          ['0-0', ...ids.slice(0, 100)],
          [`${ids[99]} poller-0`, ...ids.slice(100, 200)],
          [`${ids[199]} poller-0`, ...ids.slice(200)],
        ])
        expect(cursor).toBe('0-0')
      })

      test('counts entries as lost that were trimmed while pending, and drops them', async () => {
        const { group, ids } = await aReader(3)
        for (const id of [ids[0], ids[2]])
          await outside.hand(id as string, { consumerName: 'poller-0', idleMs: 20 * MINUTE, deliveryCount: 1 })
        await outside.trimEntry(ids[0] as string)
        const result = await group.settleAndClaim(await aSlot(group, 'claimer'), [], page())
        expect({ ...result, claimed: idsOf(result.claimed) }).toEqual({
          ...counted(),
          from: '0-0',
          cursor: '0-0',
          claimed: ids.slice(2),
          lost: 1,
          groupRecreated: false,
          ...nothingAside,
        })
        expect(await pendingRows()).toEqual([
          [ids[1], 'poller-0', 0, 1],
          [ids[2], 'claimer-0', 0, 1],
        ])
      })

      test('goes on where the last run stopped', async () => {
        const { group, slot, ids } = await aClaimer(3)
        await group.finishClaims(slot, `${ids[0]} poller-0`, MIN_IDLE_MS)
        const opened = (await aGroup().takeSlotAndClaim(LEASE_MS, page())) as OpenedClaimerSlot
        const { from, claimed, cursor } = opened.page
        expect([from, idsOf(claimed), cursor]).toEqual([`${ids[0]} poller-0`, ids.slice(1), '0-0'])
      })

      test('takeSlotAndClaim() takes a slot and the first page in one round trip, or neither', async () => {
        const { group, ids } = await aClaimer(2)
        const before = group.roundTrips
        const opened = (await group.takeSlotAndClaim(LEASE_MS, page())) as OpenedClaimerSlot
        expect([opened.slot.consumerName, idsOf(opened.page.claimed)]).toEqual(['claimer-1', ids])
        expect(await group.takeSlotAndClaim(LEASE_MS, page())).toBeUndefined()
        expect(group.roundTrips - before).toBe(2)
      })

      test('claims nothing for a claimer whose slot went to another', async () => {
        const { group, slot } = await aClaimer(2)
        await outside.endLease(slot.consumerName)
        await aSlot(group, 'claimer')
        const before = await outside.pending().then((pending) => pending.map(({ consumerName }) => consumerName))
        expect(await group.settleAndClaim(slot, [], page())).toEqual({
          ...counted(),
          leaseLost: true,
          from: '',
          cursor: undefined,
          claimed: [],
          lost: 0,
          groupRecreated: false,
          ...nothingAside,
        })
        expect((await outside.pending()).map(({ consumerName }) => consumerName)).toEqual(before)
      })
    })

    describe('settleAndStart()', () => {
      test('counts the delivery, restarts the idle clock and gives the body', async () => {
        const { group, slot, claimed, ids } = await aClaim(2)
        for (const id of ids)
          await outside.hand(id, { consumerName: 'claimer-0', idleMs: 5 * MINUTE, deliveryCount: 1 })
        const result = await group.settleAndStart(slot, [], claimed.slice(1))
        expect({ ...result, started: result.started.map(asText) }).toEqual({
          ...counted(),
          ...nobodyLeft,
          started: [{ id: ids[1], fields: [['n', '1']], deliveryCount: 2, returnTo: 'claimer-0', isTaken: true }],
        })
        expect(await pendingRows()).toEqual([
          [ids[0], 'claimer-0', 5, 1],
          [ids[1], 'claimer-0', 0, 2],
        ])
      })

      test('starts no entry whose field value holds it back, and none beyond its room', async () => {
        const { group, slot, ids } = await aClaimer(30)
        const { claimed } = await group.settleAndClaim(slot, [], page())
        const unless = { field: 'n', values: ['3', '7'] }
        const { started, leftAlone, noRoom } = await group.settleAndStart(slot, [], claimed, { unless, maxBytes: 5 })
        expect(idsOf(leftAlone)).toEqual([ids[3], ids[7]].slice(0, leftAlone.length))
        expect(started.length).toBeGreaterThan(0)
        expect(started.length).toBeLessThan(20)
        expect([...idsOf(started), ...idsOf(leftAlone), ...idsOf(noRoom)].sort()).toEqual([...ids].sort())
        const untouched = new Set([...idsOf(leftAlone), ...idsOf(noRoom)])
        const counts = (await outside.pending()).map(({ id, deliveryCount }) => [untouched.has(id), deliveryCount])
        expect(counts).toEqual(counts.map(([isUntouched]) => [isUntouched, isUntouched ? 1 : 2]))
      })

      test('settles in the same round trip, before it starts', async () => {
        const { group, slot, claimed, ids } = await aClaim(3)
        const { started } = await group.settleAndStart(slot, settleAs(aLetter(), claimed.slice(2)), claimed.slice(0, 1))
        const before = group.roundTrips
        const settlements = settleAs(retry(0), [...started, ...claimed.slice(0, 1)])
        const result = await group.settleAndStart(slot, settlements, claimed.slice(1, 2))
        expect({ ...result, started: idsOf(result.started) }).toEqual({
          ...counted({ retried: 1, superseded: 1 }),
          started: [ids[1]],
          ...nobodyLeft,
        })
        expect(group.roundTrips - before).toBe(1)
        expect(await pendingRows()).toEqual([
          [ids[0], PARKED_CONSUMER, 0, 2],
          [ids[1], 'claimer-0', 0, 2],
        ])
      })

      test('counts an entry as lost that was trimmed meanwhile', async () => {
        const { group, slot, claimed, ids } = await aClaim(2)
        await outside.trimEntry(ids[0] as string)
        const result = await group.settleAndStart(slot, [], claimed)
        expect({ ...result, started: idsOf(result.started) }).toEqual({
          ...counted({ superseded: 1, lost: 1 }),
          started: [ids[1]],
          ...nobodyLeft,
        })
        expect(await pendingRows()).toEqual([[ids[1], 'claimer-0', 0, 2]])
      })
    })

    describe('peek()', () => {
      test('answers the fields of entries, or one of them, and changes nothing', async () => {
        const { group, ids } = await aShelf(2)
        const before = await pendingRows()
        const [first, second] = ids as [string, string]
        const text = (entries: Awaited<ReturnType<typeof group.peek>>) =>
          entries.map((fields) => fields.map((pair) => pair.map(String)))

        expect(text(await group.peek([second, '0-1', first]))).toEqual([[['n', '1']], [], [['n', '0']]])
        expect(text(await group.peek([first], 'n'))).toEqual([[['n', '0']]])
        expect(text(await group.peek([first], 'm'))).toEqual([[]])
        expect(await pendingRows()).toEqual(before)
      })
    })

    describe('settleAndTake()', () => {
      test('starts what is due, in the order of its times, with one delivery more', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        for (const [n, delayMs] of [50, 1, 60 * MINUTE].entries())
          await group.settle(slot, settleAs(retry(delayMs), entries.slice(n, n + 1)))
        await outside.pass(60)
        const claimer = await aSlot(group, 'claimer')
        const { started, till: _till, left, ...rest } = await group.settleAndTake(claimer, [], taking())
        expect(rest).toEqual({ ...counted(), handed: [], lost: 0, isMore: false })
        expect([Math.round((left.dueInMs ?? 0) / MINUTE), left.conditions]).toEqual([60, []])
        expect(started.map(asText)).toEqual(
          [1, 0].map((n) => ({
            id: ids[n],
            fields: [['n', String(n)]],
            deliveryCount: 2,
            returnTo: PARKED_CONSUMER,
            isTaken: true,
            idleMs: expect.any(Number),
          })),
        )
        expect(await pendingRows()).toEqual([
          [ids[0], 'claimer-0', 0, 2],
          [ids[1], 'claimer-0', 0, 2],
          [ids[2], PARKED_CONSUMER, 0, 1],
        ])
        expect(await dueInMinutes(ids)).toEqual([Infinity, Infinity, 60])
      })

      test('takes what it has room for, in entries and bytes, and says that there is more', async () => {
        const { group, slot, ids } = await aShelf(30)
        const first = await group.settleAndTake(slot, [], taking({ room: 3 }))
        const second = await group.settleAndTake(slot, [], taking({ maxBytes: 5 }))
        expect([first.started.length, first.isMore, second.isMore]).toEqual([3, true, true])
        expect(second.started.length).toBeGreaterThan(0)
        expect(second.started.length).toBeLessThan(20)
        const { started, isMore } = await group.settleAndTake(slot, [], taking())
        const all = [first, second, { started }].flatMap((result) => idsOf(result.started))
        expect([all.sort(), isMore]).toEqual([ids.toSorted(), false])
      })

      test('hands over what is at its last delivery, or has none left, as it is', async () => {
        const { group, slot, ids } = await aShelf(3)
        for (const [n, id] of ids.entries())
          await outside.hand(id, { consumerName: PARKED_CONSUMER, idleMs: 5 * MINUTE, deliveryCount: n + 1 })
        const result = await group.settleAndTake(slot, [], taking({ maxDeliveries: 3 }))
        expect([idsOf(result.started), inMinutes(result.handed)]).toEqual([
          [ids[0]],
          [
            { id: ids[1], deliveryCount: 2, from: { owner: PARKED_CONSUMER, idleMs: 5 * MINUTE } },
            { id: ids[2], deliveryCount: 3, from: { owner: PARKED_CONSUMER, idleMs: 5 * MINUTE } },
          ],
        ])
        const { started } = await group.settleAndStart(
          slot,
          settleAs(aLetter(), result.handed.slice(1)),
          result.handed.slice(0, 1),
        )
        expect(started.map(({ id, deliveryCount }) => [id, deliveryCount])).toEqual([[ids[1], 3]])
        expect(await dueInMinutes(ids)).toEqual([Infinity, Infinity, undefined])
      })

      test('takes what was due at the first take, not what was set aside since', async () => {
        const { group, slot } = await aShelf(2)
        const { started, till } = await group.settleAndTake(slot, [], taking())
        await outside.pass(5)
        const again = await group.settleAndTake(slot, settleAs(retry(0), started), taking({ till }))
        expect([again.counts, again.started, again.left.dueInMs]).toEqual([counted({ retried: 2 }).counts, [], 0])
      })

      test('takes what waits for the conditions named, in the order of ids, and leaves the rest', async () => {
        const { group, slot, entries, ids } = await aReader(4)
        for (const [n, condition] of ['shelf b', 'shelf a', 'shelf a', 'shelf ab'].entries())
          await group.settle(slot, settleAs({ kind: 'park', delayMs: 0, condition }, entries.slice(n, n + 1)))
        const claimer = await aSlot(group, 'claimer')
        const none = await group.settleAndTake(claimer, [], taking())
        const { started, left } = await group.settleAndTake(claimer, [], taking({ conditions: ['shelf a', 'none'] }))
        expect([none.started, none.left.conditions]).toEqual([[], ['shelf a', 'shelf ab', 'shelf b']])
        expect(started.map(({ id, deliveryCount }) => [id, deliveryCount])).toEqual([
          [ids[1], 1],
          [ids[2], 1],
        ])
        expect(left.conditions).toEqual(['shelf a', 'shelf ab', 'shelf b'])
        expect((await group.settleAndClaim(claimer, [], page())).aside.conditions).toEqual(['shelf ab', 'shelf b'])
      })

      test('has entries of a type that is not to be started wait until it is', async () => {
        const { group, slot, ids } = await aShelf(4)
        const unless = { field: 'n', values: ['1', '2'] }
        const closed = await group.settleAndTake(slot, [], taking({ unless }))
        const { aside } = await group.settleAndClaim(slot, [], page())
        const still = await group.settleAndTake(slot, [], taking({ unless: { field: 'n', values: ['1'] } }))
        const open = await group.settleAndTake(slot, [], taking())
        expect([closed, still, open].map(({ started }) => idsOf(started))).toEqual([
          [ids[0], ids[3]],
          [ids[2]],
          [ids[1]],
        ])
        expect(aside.conditions).toEqual(['held 1', 'held 2'])
        expect((await pendingRows()).map(([, owner, , deliveryCount]) => [owner, deliveryCount])).toEqual(
          ids.map(() => ['claimer-0', 2]),
        )
      })

      test('counts an entry as lost that was trimmed meanwhile, and forgets what is no longer pending', async () => {
        const { group, slot, ids } = await aShelf(3)
        await outside.trimEntry(ids[0] as string)
        await group.settle(slot, settleAs(ACK_OUTCOME, [{ id: ids[1] as string, deliveryCount: 1 }]))
        const { started, lost } = await group.settleAndTake(slot, [], taking())
        expect([idsOf(started), lost]).toEqual([[ids[2]], 1])
        expect(await dueInMinutes(ids)).toEqual([undefined, undefined, Infinity])
      })

      test('settles in the same round trip, and forgets what it settles', async () => {
        const { group, slot, ids } = await aShelf(3)
        const { started } = await group.settleAndTake(slot, [], taking({ room: 2 }))
        const before = group.roundTrips
        const result = await group.settleAndTake(
          slot,
          settleAs(ACK_OUTCOME, started.slice(0, 1)).map((one) => ({ ...one, isTaken: true })),
          taking(),
        )
        expect([group.roundTrips - before, result.counts, idsOf(result.started)]).toEqual([
          1,
          counted({ acked: 1 }).counts,
          [ids[2]],
        ])
        expect(await dueInMinutes(ids)).toEqual([undefined, Infinity, Infinity])
      })

      test('takes nothing for a claimer whose slot went to another', async () => {
        const { group, slot, ids } = await aShelf(1)
        await outside.endLease(slot.consumerName)
        await aSlot(group, 'claimer')
        expect(await group.settleAndTake(slot, [], taking())).toMatchObject({ started: [], leaseLost: true })
        expect(await pendingRows()).toEqual([[ids[0], PARKED_CONSUMER, 0, 1]])
      })

      test('starts nothing where the group is gone, and is no failure', async () => {
        const { group, slot } = await aShelf(1)
        await outside.dropGroup()
        expect(await group.settleAndTake(slot, [], taking())).toMatchObject({
          started: [],
          failures: [],
          leaseLost: false,
        })
      })
    })

    describe('what is paused', () => {
      const OF_TYPES = { field: 'n', values: [] }
      const pausing = () => pausingOf('pause', outside.connect())
      const pause = (type?: string) => pausing().pause(anAddress(), { type, by: 'anna' })
      const resume = (type?: string) => pausing().resume(anAddress(), { type })
      const pausedIn = ({ paused }: { readonly paused?: SeenPauses }) =>
        [...(paused?.pauses ?? [])].map(([type, { by }]) => [type, by])

      test.each([undefined, 100])(
        'is seen by reads, renewals and whoever takes a slot, until it is resumed, maxPending %s',
        async (maxPending) => {
          const { group, slot, entries } = await aReader(1)
          await pause('OrderPaid')
          const look = async () => [
            pausedIn(await group.renew(slot, entries)),
            pausedIn(await group.settleAndRead(slot, [], { count: 1, maxPending })),
            pausedIn(await aSlot(group)),
          ]
          const seen = [['OrderPaid', 'anna']]
          expect(await look()).toEqual([seen, seen, seen])
          await resume('OrderPaid')
          expect(await look()).toEqual([[], [], []])
        },
      )

      test('costs no request more', async () => {
        const { group, slot, entries } = await aReader(1)
        await pause()
        const before = group.roundTrips
        await group.renew(slot, entries)
        await group.settleAndRead(slot, [], { count: 1 })
        expect(group.roundTrips - before).toBe(2)
      })

      test('keeps a bounded read from reading', async () => {
        const { group, slot } = await aReader(1)
        await addEntries(1)
        await pause()
        const read = await group.settleAndRead(slot, [], { count: 10, maxPending: 100, ifEmpty: 'give' })
        expect([read.entries, read.hasEnded, pausedIn(read)]).toEqual([[], false, [['*', 'anna']]])
        await resume()
        expect((await group.settleAndRead(slot, [], { count: 10, maxPending: 100 })).entries).toHaveLength(1)
      })

      test('is not claimed, and the next page starts where this one did', async () => {
        const { group, slot, ids } = await aClaimer(2)
        const { cursor } = await group.settleAndClaim(slot, [], page({ room: 1 }))
        await pause()
        const paused = await group.settleAndClaim(slot, [], page({ cursor: cursor as string }))
        expect([paused.from, paused.cursor, paused.claimed, pausedIn(paused)]).toEqual([
          cursor,
          cursor,
          [],
          [['*', 'anna']],
        ])
        await resume()
        expect(idsOf((await group.settleAndClaim(slot, [], page({ cursor: cursor as string }))).claimed)).toEqual([
          ids[1],
        ])
      })

      test('waits for a condition while its type is paused, and is taken once it is not', async () => {
        const { group, slot, ids } = await aShelf(3)
        await pause('1')
        const taken = await group.settleAndTake(slot, [], taking({ unless: OF_TYPES }))
        expect([idsOf(taken.started), pausedIn(taken)]).toEqual([[ids[0], ids[2]], [['1', 'anna']]])
        expect((await group.settleAndClaim(slot, [], page())).aside.conditions).toEqual(['paused 1'])
        expect(await resume('1')).toMatchObject({ is: 'resumed', waiting: 1, was: { by: 'anna' } })
        expect(idsOf((await group.settleAndTake(slot, [], taking({ unless: OF_TYPES }))).started)).toEqual([ids[1]])
      })

      test('is not taken where the group is paused', async () => {
        const { group, slot } = await aShelf(2)
        await pause()
        expect(await group.settleAndTake(slot, [], taking())).toMatchObject({ started: [], isMore: false })
        expect(await resume()).toMatchObject({ is: 'resumed', waiting: 2, unread: 0 })
        expect((await group.settleAndTake(slot, [], taking())).started).toHaveLength(2)
      })

      test.each([undefined, '1'])('is not started, and stays with its claimer: %s', async (type) => {
        const { group, slot, ids } = await aClaimer(2)
        const { claimed } = await group.settleAndClaim(slot, [], page())
        await pause(type)
        const { started, leftPaused = [] } = await group.settleAndStart(slot, [], claimed, { unless: OF_TYPES })
        expect([idsOf(started), idsOf(leftPaused)]).toEqual(type ? [[ids[0]], [ids[1]]] : [[], ids])
        expect((await pendingRows()).at(-1)).toEqual([ids[1], 'claimer-0', 0, 1])
      })

      test('ends by itself, by the clock of the server', async () => {
        const { group, slot } = await aReader(1)
        const now = (await outside.add([['n', '9']])).split('-')[0]
        const answer = await pausing().pause(anAddress(), { until: Number(now) + 40 })
        expect(answer).toMatchObject({ is: 'paused', pause: { until: Number(now) + 40 } })
        await outside.pass(50)
        expect((await group.settleAndRead(slot, [], { count: 10, maxPending: 100 })).entries).toHaveLength(1)
        expect(await resume()).toEqual({ is: 'not-paused' })
        expect(await pausing().pause(anAddress(), { until: Number(now) })).toMatchObject({ is: 'past' })
      })

      test('counts what is too old of what waits', async () => {
        const { group, slot } = await aReader(1)
        await group.settle(
          slot,
          settleAs({ kind: 'park', delayMs: 0, condition: 'paused 0' }, [
            { id: (await outside.pending())[0]?.id ?? '', deliveryCount: 1 },
          ]),
        )
        await addEntries(2)
        await pause('0')
        await pause()
        await outside.pass(20)
        const ask = (type: string | undefined, maxAgeMs: number) => pausing().resume(anAddress(), { type, maxAgeMs })
        expect(await ask('0', 10)).toMatchObject({ waiting: 1, expiring: 1 })
        expect(await ask(undefined, 10 * MINUTE)).toMatchObject({ waiting: 0, unread: 2, expiring: 0 })
        await pause()
        expect(await ask(undefined, 10)).toMatchObject({ waiting: 0, unread: 2, expiring: 2 })
      })

      test('is unknown where neither the group nor anything of it is there', async () => {
        expect([await pause(), await resume()]).toEqual([{ is: 'unknown' }, { is: 'unknown' }])
      })
    })

    describe('renew()', () => {
      test('sets the idle time of what we hold to 0, and counts no delivery', async () => {
        const { group, slot, entries, ids } = await aReader(130)
        for (const id of ids) await outside.hand(id, { consumerName: 'poller-0', idleMs: 5 * MINUTE, deliveryCount: 1 })
        await group.renew(slot, entries.slice(1))
        expect(await pendingRows()).toEqual(ids.map((id, n) => [id, 'poller-0', n === 0 ? 5 : 0, 1]))
      })

      test('leaves alone what another consumer has, was delivered again, or was acked', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        await outside.hand(ids[0] as string, { consumerName: 'claimer-0', idleMs: 5 * MINUTE, deliveryCount: 1 })
        await outside.hand(ids[1] as string, { consumerName: 'poller-0', idleMs: 5 * MINUTE, deliveryCount: 2 })
        await group.settle(slot, settleAs(ACK_OUTCOME, entries.slice(2)))
        await group.renew(slot, entries)
        expect(await pendingRows()).toEqual([
          [ids[0], 'claimer-0', 5, 1],
          [ids[1], 'poller-0', 5, 2],
        ])
      })

      test('renews nothing for a poller whose slot went to another, and says so', async () => {
        const { group, slot, entries, ids } = await aReader(1)
        await outside.endLease(slot.consumerName)
        await aSlot(group)
        await outside.hand(ids[0] as string, { consumerName: 'poller-0', idleMs: 5 * MINUTE, deliveryCount: 1 })
        expect(await group.renew(slot, entries)).toEqual({ lost: 0, leaseLost: true })
        expect(await pendingRows()).toEqual([[ids[0], 'poller-0', 5, 1]])
      })
    })

    describe('a lost group', () => {
      test('is made again at the mark, below the oldest entry that was pending', async () => {
        const { group, slot, entries, ids } = await aReader(4)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries.slice(0, 2)))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        await outside.dropGroup()
        const read = await group.settleAndRead(slot, [], { count: 10 })
        expect([read.entries.map(({ id, deliveryCount }) => [id, deliveryCount]), read.groupRecreated]).toEqual([
          ids.slice(2).map((id) => [id, 1]),
          true,
        ])
        expect((await group.settleAndRead(slot, [], { count: 10 })).groupRecreated).toBe(false)
      })

      test('still knows when something was last acknowledged', async () => {
        const { group, slot, entries } = await aReader(1)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS, { hasAcked: true })
        await outside.dropGroup()
        await group.settleAndRead(slot, [], { count: 10 })
        expect((await group.measure())?.backlog.sinceLastSuccessMs).toBeLessThan(MINUTE)
      })

      test('is made again at the last delivered entry if nothing was pending', async () => {
        const { group, slot, entries } = await aReader(3)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        await outside.dropGroup()
        const id = await outside.add(BODY)
        const read = await group.settleAndRead(slot, [], { count: 10 })
        expect([idsOf(read.entries), read.groupRecreated]).toEqual([[id], true])
      })

      test('is made again at the mark by a process that never saw it', async () => {
        const { group, slot, entries, ids } = await aReader(3, { startAt: '0' })
        await group.settle(slot, settleAs(ACK_OUTCOME, entries.slice(0, 1)))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        await outside.dropGroup()
        const read = await aGroup({ startAt: '$' }).settleAndRead(slot, [], { count: 10 })
        expect([idsOf(read.entries), read.groupRecreated]).toEqual([ids.slice(1), true])
      })

      test('is made again where it first started if no claimer has run', async () => {
        await addEntries(2)
        const group = aGroup({ startAt: '$' })
        const slot = await aSlot(group)
        await group.settleAndRead(slot, [], { count: 10 })
        const ids = await addEntries(2)
        await group.settleAndRead(slot, [], { count: 10 })
        await outside.dropGroup()
        const read = await group.settleAndRead(slot, [], { count: 10 })
        expect([idsOf(read.entries), read.groupRecreated]).toEqual([ids, true])
      })

      test('is made again at 0 after a flush, never at $', async () => {
        const group = aGroup({ startAt: '$' })
        const slot = await aSlot(group)
        await group.settleAndRead(slot, [], { count: 10 })
        await outside.flush()
        const ids = await addEntries(2)
        const read = await group.settleAndRead(slot, [], { count: 10 })
        expect([idsOf(read.entries), read.groupRecreated]).toEqual([ids, true])
      })

      test('is made again at 0 if the mark is above the last id', async () => {
        const { group, slot, entries } = await aReader(2)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        await outside.dropStream()
        await outside.add(BODY, '5-1')
        const read = await group.settleAndRead(slot, [], { count: 10 })
        expect([idsOf(read.entries), read.groupRecreated]).toEqual([['5-1'], true])
      })

      test('is made again by settleAndClaim(), which starts over', async () => {
        const { group, slot, ids } = await aClaimer(2)
        await group.finishClaims(slot, ids[1] as string, MIN_IDLE_MS)
        await outside.dropGroup()
        const nothing = {
          ...counted(),
          from: '0-0',
          cursor: '0-0',
          claimed: [],
          lost: 0,
          aside: { conditions: [] },
          isHealing: true,
        }
        const opened = (await group.takeSlotAndClaim(LEASE_MS, page())) as OpenedClaimerSlot
        expect(opened.page).toEqual({ ...nothing, groupRecreated: true })
        expect(await group.settleAndClaim(opened.slot, [], page())).toEqual({ ...nothing, groupRecreated: false })
      })

      test('gets back what was set aside below the mark; what was above is read again', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        await group.settle(slot, settleAs(retry(60 * MINUTE), entries.slice(0, 1)))
        await group.settle(slot, settleAs({ kind: 'park', delayMs: 0, condition: 'shelf a' }, entries.slice(1, 2)))
        await group.settle(slot, settleAs(ACK_OUTCOME, entries.slice(2)))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        const [above] = await addEntries(1)
        const read = await group.settleAndRead(slot, [], { count: 10 })
        await group.settle(slot, settleAs(retry(60 * MINUTE), read.entries))
        await outside.dropGroup()
        const again = await group.settleAndRead(slot, [], { count: 10 })
        expect([idsOf(again.entries), again.groupRecreated]).toEqual([[above], true])
        const claimer = await aSlot(group, 'claimer')
        expect((await group.settleAndClaim(claimer, [], page())).isHealing).toBe(true)
        expect(await group.heal(claimer)).toEqual({ isDone: true, lost: 0 })
        expect(await pendingRows()).toEqual([
          [ids[0], PARKED_CONSUMER, 0, 1],
          [ids[1], PARKED_CONSUMER, 0, 0],
          [above, 'poller-0', 0, 1],
        ])
        const { isHealing, aside } = await group.settleAndClaim(claimer, [], page())
        expect([isHealing, aside.conditions]).toEqual([false, ['shelf a']])
      })

      test('gets back what ran from the index when it was lost, due at once', async () => {
        const { group, slot, ids } = await aShelf(1)
        await group.finishClaims(slot, '0-0', MIN_IDLE_MS)
        const claimer = await aSlot(group, 'claimer')
        await group.settleAndTake(claimer, [], taking())
        await outside.dropGroup()
        const page1 = await group.settleAndClaim(claimer, [], page())
        await group.heal(claimer)
        expect(page1.groupRecreated).toBe(true)
        expect(await pendingRows()).toEqual([[ids[0], PARKED_CONSUMER, 0, 2]])
        expect(await dueInMinutes(ids)).toEqual([0])
      })

      test('forgets what was trimmed while it was lost', async () => {
        const { group, slot, ids } = await aShelf(2)
        await group.finishClaims(slot, '0-0', MIN_IDLE_MS)
        await outside.dropGroup()
        await outside.trimEntry(ids[0] as string)
        const claimer = await aSlot(group, 'claimer')
        await group.settleAndClaim(claimer, [], page())
        expect(await group.heal(claimer)).toEqual({ isDone: true, lost: 1 })
        expect(await dueInMinutes(ids)).toEqual([undefined, 0])
      })

      test('leaves its settlements unsettled, its acks missed, and is no failure', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        await outside.dropGroup()
        const settlements = [
          ...settleAs(ACK_OUTCOME, entries.slice(0, 1)),
          ...settleAs(retry(0), entries.slice(1, 2)),
          ...settleAs(aLetter(), entries.slice(2)),
        ]
        const read = await group.settleAndRead(slot, settlements, { count: 10 })
        expect({ ...read, entries: idsOf(read.entries) }).toEqual({
          ...counted({ acked: 1, ackMissed: 1, unsettled: 2 }),
          entries: ids,
          pendingLimitReached: false,
          parkedLimitReached: false,
          hasEnded: false,
          groupRecreated: true,
        })
        expect(await outside.deadLetters()).toEqual([])
      })

      test('starts nothing, and is no failure', async () => {
        const { group, slot, claimed } = await aClaim(2)
        await outside.dropGroup()
        expect(await group.settleAndStart(slot, [], claimed)).toEqual({
          ...counted({ unsettled: 2 }),
          ...nobodyLeft,
          started: [],
        })
      })
    })

    describe('openWaiter()', () => {
      /** A poller's slot, and a waiter that is let go with the test. */
      async function aWaiter() {
        const group = outside.connect().group(anAddress())
        const slot = await aSlot(bothSides(group))
        await group.settleAndRead(slot, [], { count: 1 }) // makes the group
        const waiter = openEntryWaiter(group)
        onTestFinished(() => waiter.end())
        // its time goes by
        const read = async (change: Partial<WaitRequest> = {}, meanwhile?: () => Promise<unknown>) => {
          const reading = waiter.read(slot, { count: 10, waitMs: 20, asksDue: true, ...change })
          await meanwhile?.()
          await outside.pass(30)
          return reading
        }
        return { group: bothSides(group), slot, read }
      }
      test('reads what is there, as a read does', async () => {
        const { slot, read } = await aWaiter()
        const ids = await addEntries(3)
        const brought = await read({ count: 2 })
        expect(idsOf(brought.entries)).toEqual(ids.slice(0, 2))
        expect(brought).toMatchObject({ ...counted(), isGroupMissing: false, hasEnded: false })
        expect(await pendingRows()).toMatchObject(ids.slice(0, 2).map((id) => [id, slot.consumerName, 0, 1]))
      })

      test('brings nothing once the wait is over, and what comes meanwhile where it can wait', async () => {
        const { read } = await aWaiter()
        expect((await read()).entries).toEqual([])
        let id = ''
        const brought = await read({ waitMs: 500 }, async () => {
          id = await outside.add(BODY)
        })
        const { entries } = brought.entries.length > 0 ? brought : await read()
        expect(idsOf(entries)).toEqual([id])
      })

      test('says when the next of what is set aside is due, if it is asked', async () => {
        const { group, slot, read } = await aWaiter()
        const [id = ''] = await addEntries(1)
        await read()
        expect((await read()).dueInMs).toBeUndefined()
        await group.settle(slot, settleAs(retry(60 * MINUTE), [{ id, deliveryCount: 1 }]))
        const { dueInMs = 0 } = await read()
        expect(Math.round(dueInMs / MINUTE)).toBe(60)
        expect(await read({ asksDue: false })).not.toHaveProperty('dueInMs')
      })

      test('hands over nothing under a slot that went to another', async () => {
        const { group, slot, read } = await aWaiter()
        await outside.endLease(slot.consumerName)
        await aSlot(group)
        await addEntries(1)
        expect(await read()).toMatchObject({ entries: [], leaseLost: true })
      })

      test('does not make a missing group again', async () => {
        const { group, slot, read } = await aWaiter()
        await outside.dropGroup()
        expect(await read()).toMatchObject({ entries: [], isGroupMissing: true })
        expect((await group.settleAndRead(slot, [], { count: 1 })).groupRecreated).toBe(true)
      })

      test('keeps publishers from waking others, for that long', async () => {
        const { read } = await aWaiter()
        await read({ holdFlagMs: 60_000 })
        const flag = { key: anAddress().keys.wake, windowMs: 60_000 }
        const append = createAppender('append', outside.connect())
        expect((await append('orders', [BODY], { kind: 'none' }, [flag])).raised).toEqual([false])
      })
    })

    describe('planClaim()', () => {
      test('has one claimer woken for what it finds, another for what is due well before', async () => {
        const group = aGroup()
        const plans = []
        for (const minutes of [10, 10, 20, 5, 10]) plans.push(await group.planClaim(minutes * MINUTE))
        expect(plans).toEqual([true, false, false, true, false])
      })

      test('a claimer that waits is planned, and one that waits for nothing is not', async () => {
        const { group, slot, entries } = await aReader(1)
        await group.settle(slot, settleAs(retry(20 * MINUTE), entries))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS, { waitsMs: 30 * MINUTE })
        const planned = [await group.planClaim(20 * MINUTE), await group.planClaim(10 * MINUTE)]
        const { dueInMs = 0 } = await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS, {
          waitsMs: MINUTE,
        })
        expect([...planned, await group.planClaim(20 * MINUTE)]).toEqual([false, true, true])
        expect(Math.round(dueInMs / MINUTE)).toBe(20)
      })
    })

    describe('finishClaims()', () => {
      test.each([
        ['5-10', '5-9'],
        ['5-0', '4-18446744073709551615'],
        ['1000-0', '999-18446744073709551615'],
        ['1-100', '1-99'],
        ['0-1', '0-0'],
        ['18446744073709551614-18446744073709551615', '18446744073709551614-18446744073709551614'],
      ])('notes a mark just below %s', async (id, mark) => {
        const group = aGroup()
        const slot = await aSlot(group)
        await outside.add(BODY, id)
        await group.settleAndRead(slot, [], { count: 1 })
        await group.finishClaims(slot, '0-0', MIN_IDLE_MS)
        expect(await outside.mark()).toBe(mark)
      })

      test('keeps no cursor for a claimer whose slot went to another', async () => {
        const { group, slot, ids } = await aClaimer(2)
        await outside.endLease(slot.consumerName)
        await aSlot(group, 'claimer')
        await group.finishClaims(slot, ids[1] as string, MIN_IDLE_MS)
        const { from } = await group.settleAndClaim(await aSlot(group, 'claimer'), [], page())
        expect(from).toBe('0-0')
      })

      test('notes a mark that what is set aside does not hold down', async () => {
        const { group, slot, entries, ids } = await aReader(3)
        await group.settle(slot, settleAs(retry(60 * MINUTE), entries.slice(0, 2)))
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        expect(await outside.mark()).toBe(entryIdBefore(ids[2] as string))
      })

      test('forgets what ran from the index and is no longer pending', async () => {
        const { group, slot, ids } = await aShelf(2)
        const { started } = await group.settleAndTake(slot, [], taking())
        await group.settle(slot, settleAs(ACK_OUTCOME, started.slice(0, 1)))
        const before = await dueInMinutes(ids)
        await group.finishClaims(slot, '0-0', MIN_IDLE_MS)
        expect(before).toEqual([Infinity, Infinity])
        expect(await dueInMinutes(ids)).toEqual([undefined, Infinity])
      })

      test('takes off, and counts, what was trimmed while it was set aside', async () => {
        const { group, slot, entries, ids } = await aReader(4)
        await group.settle(slot, settleAs(retry(60 * MINUTE), entries.slice(0, 2)))
        await group.settle(slot, settleAs({ kind: 'park', delayMs: 0, condition: 'shelf a' }, entries.slice(2, 3)))
        for (const id of ids.slice(0, 3)) await outside.trimEntry(id)
        const { lost } = await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS)
        expect(lost).toBe(3)
        expect(await pendingRows()).toEqual([[ids[3], 'poller-0', 0, 1]])
        const { aside } = await group.settleAndClaim(await aSlot(group, 'claimer'), [], page())
        expect(aside).toEqual({ conditions: [] })
      })

      test('removes only idle names beyond our slots that own no entry and no lease', async () => {
        const { group, slot, ids } = await aReader(1)
        const kept = [
          'poller-1',
          'claimer-1',
          'parked',
          'worker-7',
          'poller',
          'my-poller-9',
          'Poller-9',
          'owner-poller-9',
          'poller-of-its-own',
        ]
        for (const name of [...kept, 'poller-4', 'poller-17', 'claimer-2', `poller-${randomUUID()}`, 'poller-5'])
          await outside.addConsumer(name)
        await outside.hand(ids[0] as string, { consumerName: 'poller-6', idleMs: 0, deliveryCount: 1 })
        const taken: (Slot | undefined)[] = []
        for (let n = 1; n <= 5; n++) taken.push(await group.takeSlot('poller', 6, LEASE_MS))
        await group.giveSlot(taken[3] as Slot, ended())
        await group.finishClaims(slot, '0-0', 0)
        expect(taken.map((held) => held?.consumerName).slice(3)).toEqual(['poller-4', 'poller-5'])
        expect((await outside.consumers()).sort()).toEqual([...kept, 'poller-0', 'poller-5', 'poller-6'].sort())
      })

      test('leaves a name alone until it has been idle for minIdleMs', async () => {
        const { group, slot } = await aReader(1)
        await outside.addConsumer('poller-9')
        await group.finishClaims(slot, '0-0', 60 * MINUTE)
        expect((await outside.consumers()).sort()).toEqual(['poller-0', 'poller-9'])
      })
    })

    describe('measure()', () => {
      test('knows nothing of a group that is not there', async () => {
        expect(await aGroup().measure()).toBeUndefined()
      })

      test('reports pending entries and their age, waiting entries, stream and dead-letter lengths, and running pollers', async () => {
        const { group, slot, entries } = await aReader(3)
        await addEntries(4)
        await group.settle(slot, [
          ...settleAs(ACK_OUTCOME, entries.slice(0, 1)),
          ...settleAs(aLetter(), entries.slice(1, 2)),
        ])
        await aSlot(group)
        await aSlot(group, 'claimer')
        const { backlog, pollers } = (await group.measure()) as GroupMeasurement
        const { oldestPendingMs, ...counts } = backlog
        expect(counts).toEqual({ pending: 1, parked: 0, lag: 4, streamLength: 7, deadLetters: 1 })
        expect([Math.floor((oldestPendingMs as number) / MINUTE), pollers]).toEqual([0, 2])
      })

      test('takes the age of the oldest pending entry from its id', async () => {
        const group = aGroup()
        const now = Number.parseInt(await outside.add(BODY), 10) // by the server's clock
        await outside.dropStream()
        await outside.add(BODY, `${now - 10 * MINUTE}-0`)
        await addEntries(1)
        await group.settleAndRead(await aSlot(group), [], { count: 2 })
        const { backlog } = (await group.measure()) as GroupMeasurement
        expect(Math.round((backlog.oldestPendingMs as number) / MINUTE)).toBe(10)
      })

      test('leaves out an age of the future', async () => {
        const group = aGroup()
        await outside.add(BODY, '99999999999999-0')
        await group.settleAndRead(await aSlot(group), [], { count: 1 })
        const { backlog } = (await group.measure()) as GroupMeasurement
        expect(backlog).toEqual({ pending: 1, parked: 0, lag: 0, streamLength: 1, deadLetters: 0 })
      })

      test('says 0 once nothing waits and nothing is pending, also when what was delivered is gone', async () => {
        const { group, slot, entries, ids } = await aReader(2)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        for (const id of ids) await outside.trimEntry(id)
        const { backlog } = (await group.measure()) as GroupMeasurement
        expect(backlog).toEqual({ pending: 0, parked: 0, oldestPendingMs: 0, lag: 0, streamLength: 0, deadLetters: 0 })
      })

      test('reports how long ago a run ended that acknowledged something', async () => {
        const { group, slot, entries } = await aReader(1)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        await group.giveSlot(slot, ended())
        expect((await group.measure())?.backlog).not.toHaveProperty('sinceLastSuccessMs')

        await group.giveSlot(await aSlot(group), ended({ known: ['1-1'], hasAcked: true })) // something else is not settled
        const since = (await group.measure())?.backlog.sinceLastSuccessMs as number
        expect(since).toBeGreaterThanOrEqual(0)
        expect(since).toBeLessThan(MINUTE)
        await group.finishClaims(await aSlot(group, 'claimer'), '0-0', MIN_IDLE_MS, { hasAcked: true })
        expect((await group.measure())?.backlog.sinceLastSuccessMs).toBeLessThan(MINUTE)
      })

      test('counts what waits exactly while it is little, also once unread entries were trimmed', async () => {
        const { group, slot, entries } = await aReader(1)
        const ids = await addEntries(30)
        for (const id of ids.slice(0, 25)) await outside.trimEntry(id)
        await group.settle(slot, settleAs(ACK_OUTCOME, entries))
        expect((await group.measure())?.backlog).toMatchObject({ lag: 5, streamLength: 6 })
      })

      test('says no less than what waits where it is much, or nothing', async () => {
        const { group } = await aReader(1)
        const ids = await addEntries(30)
        await outside.trimEntry(ids[3] as string)
        expect([29, undefined]).toContain((await group.measure())?.backlog.lag)
      })
    })

    describe('the flag of publishers', () => {
      const flag = { key: anAddress().keys.wake, windowMs: 60 * MINUTE }
      const none = { kind: 'none' } as const
      const raise = (connection = outside.connect()) =>
        createAppender('raise', connection)('orders', [BODY], none, [flag])

      test('is raised by one of them until it ends or a poller takes its slot', async () => {
        const first = await raise()
        expect([first.answers.length, first.raised, (await raise()).raised]).toEqual([1, [true], [false]])
        await aSlot(aGroup(), 'claimer')
        expect((await raise()).raised).toEqual([false])
        await aSlot(aGroup())
        expect((await raise()).raised).toEqual([true])
      })

      test('is lowered with the slot when a poller asks, and answers whether it was up', async () => {
        const group = aGroup()
        const give = async (takesFlag: boolean) => group.giveSlot(await aSlot(group), ended({ takesFlag }))
        expect(await give(true)).toBe(false)
        const slot = await aSlot(group)
        await raise()
        expect([await group.giveSlot(slot, ended()), (await raise()).raised]).toEqual([false, [false]])
        const again = await aSlot(group)
        await raise()
        expect([await group.giveSlot(again, ended({ takesFlag: true })), (await raise()).raised]).toEqual([
          true,
          [true],
        ])
      })

      test('is raised for a while where more are pending than may be: nobody could read', async () => {
        const { group, slot } = await aReader(2)
        await addEntries(1)
        expect((await group.settleAndRead(slot, [], { count: 1, maxPending: 1 })).pendingLimitReached).toBe(true)
        expect((await raise()).raised).toEqual([false])
      })

      test('stays while no poller finds a slot', async () => {
        const group = aGroup()
        await group.takeSlot('poller', 1, LEASE_MS)
        await raise()
        expect(await group.takeSlot('poller', 1, LEASE_MS)).toBeUndefined()
        expect((await raise()).raised).toEqual([false])
      })
    })

    describe('append()', () => {
      test('appends in order, under rising ids, and keeps maxLength entries', async () => {
        const connection = outside.connect()
        const trim = { kind: 'length', maxLength: 2, exact: true } as const
        const { answers: ids } = await createAppender('append', connection)(
          'orders',
          [[['n', '0']], [['n', '1']], [['n', '2']]],
          trim,
        )
        const group = connection.group(anAddress())
        const { entries } = await group.settleAndRead(await aSlot(group), [], { count: 10 })
        expect(entries.map(asText).map(({ id, fields }) => ({ id, fields }))).toEqual([
          { id: ids[1], fields: [['n', '1']] },
          { id: ids[2], fields: [['n', '2']] },
        ])
      })

      test('removes what is older', async () => {
        await outside.add(BODY, '5-1')
        const connection = outside.connect()
        const trim = { kind: 'age', retentionMs: 60 * MINUTE, exact: true } as const
        const { answers: ids } = await createAppender('append', connection)('orders', [BODY], trim)
        const group = connection.group(anAddress())
        expect(idsOf((await group.settleAndRead(await aSlot(group), [], { count: 10 })).entries)).toEqual(ids)
      })
    })
  })
}

function page(request: { cursor?: string; room?: number } = {}) {
  return { minIdleMs: MIN_IDLE_MS, cursor: undefined, room: 100, ...request }
}

function taking(request: Partial<TakeDueRequest> = {}): TakeDueRequest {
  return { room: 100, maxDeliveries: 5, till: undefined, conditions: [], ...request }
}

function inMinutes(claimed: readonly ClaimedEntry[]): ClaimedEntry[] {
  const round = (idleMs: number) => Math.round(idleMs / MINUTE) * MINUTE
  return claimed.map((c) => ({ ...c, from: { ...c.from, idleMs: round(c.from.idleMs) } }))
}

function idsOf(entries: readonly { readonly id: string }[]): string[] {
  return entries.map(({ id }) => id)
}

function asText(delivery: Delivery) {
  return { ...plainDelivery(delivery), fields: delivery.fields.map(([name, value]) => [String(name), String(value)]) }
}

function originOf(letter: readonly TextField[]): string | undefined {
  return new Map(letter).get('originalId')
}

/** Reads `<bytes>:<value>` after another; names and values in turn. */
function unpack(packed: string): TextField[] {
  const bytes = Buffer.from(packed)
  const parts: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const colon = bytes.indexOf(':', at)
    const end = colon + 1 + Number(bytes.toString('utf8', at, colon))
    parts.push(bytes.toString('utf8', colon + 1, end))
    at = end
  }
  return Array.from({ length: parts.length / 2 }, (_, n): TextField => [parts[2 * n] ?? '', parts[2 * n + 1] ?? ''])
}

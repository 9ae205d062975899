import { isDeepStrictEqual } from 'node:util'
import type { Outcome } from '../../core/outcome.ts'
import { ACK } from '../../core/outcome.ts'
import type { Delivery, Held, Settlement } from '../../group/group.ts'
import { asFields, asText, items } from '../../group/redis/commands/reply.ts'
import { MIN_IDLE_MS, type Place } from './place.ts'

/** One thing that a server must do. */
interface Check {
  readonly name: string
  /** @throws {Error} The server does otherwise. */
  run(place: Place): Promise<void>
}

const RETRY: Outcome = { kind: 'retry', delayMs: 0 }
const LETTER: Outcome = { kind: 'dead-letter', letter: { reason: 'non-retryable', lastDeliveredAt: 0, failedAt: 0 } }

/** The contract, in short: a row a promise that hangs on the server. */
export const CHECKS: readonly Check[] = [
  {
    name: 'reads in order and counts one delivery',
    async run(place) {
      const ids = await place.add('1', '2', '3')
      const slot = await place.slot()
      same(
        (await place.read(slot)).map(({ id }) => id),
        ids,
      )
      same(
        await place.pending(),
        ids.map((id) => [id, slot.consumerName, 1]),
      )
    },
  },
  {
    name: 'acknowledges 5,000 in one write',
    async run(place) {
      for (let n = 0; n < 5; n++) await place.add(...Array.from({ length: 1_000 }, (_, at) => `${at}`))
      const slot = await place.slot()
      const read = []
      // as many as a service lets a consumer have
      for (;;) {
        const entries = await place.read(slot, place.redis.maxPendingPerName ?? 5_000)
        if (entries.length === 0) break
        read.push(...entries)
        if (place.redis.maxPendingPerName !== undefined) await settle(place, slot, entries, ACK)
      }
      if (place.redis.maxPendingPerName === undefined) await settle(place, slot, read, ACK)
      same([read.length, (await place.pending()).length], [5_000, 0])
    },
  },
  {
    name: 'parks a failure until it is due, and counts when it starts',
    async run(place) {
      const [id = ''] = await place.add('1')
      const slot = await place.slot()
      await settle(place, slot, await place.read(slot), RETRY)
      same(await place.pending(), [[id, 'parked', 1]])
      const claimer = await place.slot('claimer')
      const { claimed } = await place.claims.settleAndClaim(claimer, [], page())
      same(
        claimed.map((one) => [one.id, one.deliveryCount]),
        [[id, 1]],
      )
      same(await place.pending(), [[id, claimer.consumerName, 1]])
      const { started } = await place.claims.settleAndStart(claimer, [], claimed)
      same(
        started.map((one) => [one.id, one.deliveryCount]),
        [[id, 2]],
      )
      same(await place.pending(), [[id, claimer.consumerName, 2]])
    },
  },
  {
    name: 'leaves a wait as it was',
    async run(place) {
      await place.add('1')
      const slot = await place.slot()
      await settle(place, slot, await place.read(slot), { kind: 'retry', delayMs: 2 * MIN_IDLE_MS })
      const before = await place.pending()
      const { claimed } = await place.claims.settleAndClaim(await place.slot('claimer'), [], page())
      same([claimed, await place.pending()], [[], before])
    },
  },
  {
    name: 'claims what is idle and nothing else',
    async run(place) {
      const ids = await place.add('1', '2', '3')
      const slot = await place.slot()
      await place.read(slot)
      await place.age(slot, ids.slice(0, 2), MIN_IDLE_MS)
      const { claimed } = await place.claims.settleAndClaim(await place.slot('claimer'), [], page())
      same(
        claimed.map(({ id, deliveryCount }) => [id, deliveryCount]),
        ids.slice(0, 2).map((id) => [id, 1]),
      )
    },
  },
  {
    name: 'renews what runs, and does not count it',
    async run(place) {
      const ids = await place.add('1')
      const slot = await place.slot()
      const entries = await place.read(slot)
      await place.age(slot, ids, MIN_IDLE_MS)
      await place.group.renew(slot, entries)
      const { claimed } = await place.claims.settleAndClaim(await place.slot('claimer'), [], page())
      same([claimed, await place.pending()], [[], [[ids[0], slot.consumerName, 1]]])
    },
  },
  {
    name: 'refuses the outcomes of a poller that lost its entry',
    async run(place) {
      await place.add('1')
      const slot = await place.slot()
      const entries = await place.read(slot)
      await place.claims.settleAndClaim(await place.slot('claimer'), [], { ...page(), minIdleMs: 0 })
      const { counts } = await place.group.settle(slot, settlements(entries, LETTER))
      same([counts.superseded, counts.deadLettered], [1, 0])
    },
  },
  {
    name: 'gives a slot to one alone',
    async run(place) {
      const slots = await Promise.all([place.slot(), place.slot(), place.slot(), place.slot()])
      same(new Set(slots.map(({ consumerName }) => consumerName)).size, 4)
      same(await place.group.takeSlot('poller', 4, 1_000), undefined)
      await place.group.giveSlot(slots[0] as never)
      same((await place.slot()).consumerName, slots[0]?.consumerName)
    },
  },
  {
    name: 'copies a dead letter as it is, once',
    async run(place) {
      const fields = ['a', '1', 'a', '2', 'ü', '', 'b', 'x'.repeat(10_000)]
      await place.call('xadd', place.keys.stream, '*', ...fields)
      const slot = await place.slot()
      const entries = await place.read(slot)
      await settle(place, slot, entries, LETTER)
      await place.group.settle(slot, settlements(entries, LETTER))
      same([await lettersOf(place), await place.pending()], [[fields], []])
    },
  },
  {
    name: 'copies a dead letter of 3,500 fields',
    async run(place) {
      const fields = Array.from({ length: 3_500 }, (_, n) => [`f${n}`, `${n}`]).flat()
      // in two, where a service takes fewer arguments a command
      const added = await place.sender.send([['xadd', place.keys.stream, '*', ...fields]])
      if (added[0] instanceof Error) return
      const slot = await place.slot()
      await settle(place, slot, await place.read(slot), LETTER)
      same([(await lettersOf(place)).length, await place.pending()], [1, []])
    },
  },
  {
    name: 'keeps an entry pending whose dead letter is refused',
    async run(place) {
      await place.call('setnx', place.keys.deadLetters, 'in the way')
      await place.add('1')
      const slot = await place.slot()
      const { counts } = await place.group.settle(slot, settlements(await place.read(slot), LETTER))
      same([counts.deadLettered, counts.unsettled, (await place.pending()).length], [0, 1, 1])
    },
  },
  {
    name: 'tells what was trimmed while it was pending',
    async run(place) {
      const ids = await place.add('1', '2')
      const slot = await place.slot()
      await place.read(slot)
      await place.age(slot, ids, MIN_IDLE_MS)
      await place.call('xdel', place.keys.stream, ids[0] ?? '')
      const { claimed, lost } = await place.claims.settleAndClaim(await place.slot('claimer'), [], page())
      same([claimed.map(({ id }) => id), lost, (await place.pending()).length], [[ids[1]], 1, 1])
    },
  },
  {
    name: 'heals a lost group at its mark',
    async run(place) {
      await place.add('1')
      const slot = await place.slot()
      await settle(place, slot, await place.read(slot), ACK)
      await place.claims.finishClaims(await place.slot('claimer'), '0-0', MIN_IDLE_MS)
      await place.call('xgroup', 'DESTROY', place.keys.stream, place.address.group)
      const ids = await place.add('2')
      same(
        (await place.read(slot)).map(({ id }) => id),
        ids,
      )
    },
  },
  {
    name: 'trims by age on its own clock',
    async run(place) {
      await place.call('xadd', place.keys.stream, '1-0', 'v', 'old')
      const { answers } = await place.append(place.keys.stream, [[['v', '1']]], {
        kind: 'age',
        retentionMs: 60_000,
        exact: true,
      })
      same([Number(await place.call('xlen', place.keys.stream)), typeof answers[0]], [1, 'string'])
    },
  },
  {
    name: 'raises a flag once, for its time',
    async run(place) {
      const flag = { key: place.keys.wake, windowMs: 60_000 }
      const raise = async () => (await place.append(place.keys.stream, [[['v', '1']]], { kind: 'none' }, [flag])).raised
      same([await raise(), await raise()], [[true], [false]])
      same(Number(await place.call('pttl', flag.key)) > 0, true)
      await place.slot()
      same(await raise(), [true])
    },
  },
  {
    name: 'tells what a group has before it',
    async run(place) {
      await place.add('1', '2', '3')
      await place.read(await place.slot(), 1)
      const { backlog, pollers } = (await place.group.measure()) ?? {}
      same([backlog?.pending, backlog?.lag, backlog?.streamLength, pollers], [1, 2, 3, 1])
    },
  },
]

function page() {
  return { minIdleMs: MIN_IDLE_MS, cursor: undefined, room: 100 }
}

function settlements(held: readonly Held[], outcome: Outcome): Settlement[] {
  return held.map(({ id, deliveryCount }) => ({ id, deliveryCount, outcome }))
}

async function settle(
  place: Place,
  slot: Parameters<Place['read']>[0],
  entries: readonly Delivery[],
  outcome: Outcome,
) {
  const { failures, refusals } = await place.group.settle(slot, settlements(entries, outcome))
  const [failure] = [...failures, ...refusals]
  if (failure) throw failure
}

/** The entries' own fields of the letters. */
async function lettersOf(place: Place): Promise<string[][]> {
  const letters = items(await place.call('xrange', place.keys.deadLetters, '-', '+'))
  return letters.map((letter) => {
    const fields = asFields(items(letter)[1]).map((pair) => pair.map(asText))
    return fields.slice(fields.findIndex(([name]) => name === 'fieldCount') + 1).flat()
  })
}

function same(got: unknown, expected: unknown): void {
  if (isDeepStrictEqual(got, expected)) return
  throw new Error(`expected ${JSON.stringify(expected)?.slice(0, 200)}, got ${JSON.stringify(got)?.slice(0, 200)}`)
}

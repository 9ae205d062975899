import type { Outcome } from '../../core/outcome.ts'
import { ACK_OUTCOME } from '../../core/outcome.ts'
import { replyAsFields, replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { assertSame, claimPage, settleAll, settlementsOf, type TryCheck } from './check-kit.ts'
import { DELAY_CHECKS } from './delay-checks.ts'
import { SET_ASIDE_CHECKS } from './set-aside-checks.ts'
import { TRY_MIN_IDLE_MS, type TryCheckKeys } from './try-check-keys.ts'

const LETTER: Outcome = { kind: 'dead-letter', letter: { reason: 'non-retryable', lastDeliveredAt: 0, failedAt: 0 } }

/** The contract, in short: a row a promise that hangs on the server. */
export const TRY_CHECKS: readonly TryCheck[] = [
  {
    name: 'reads in order and counts one delivery',
    async run(area) {
      const ids = await area.add('1', '2', '3')
      const slot = await area.slot()
      assertSame(
        (await area.read(slot)).map(({ id }) => id),
        ids,
      )
      assertSame(
        await area.pending(),
        ids.map((id) => [id, slot.consumerName, 1]),
      )
    },
  },
  {
    name: 'acknowledges 5,000 in one write',
    async run(area) {
      for (let n = 0; n < 5; n++) await area.add(...Array.from({ length: 1_000 }, (_, at) => `${at}`))
      const slot = await area.slot()
      const read = []
      // as many as a service lets a consumer have
      for (;;) {
        const entries = await area.read(slot, area.redis.maxPendingPerName ?? 5_000)
        if (entries.length === 0) break
        read.push(...entries)
        if (area.redis.maxPendingPerName !== undefined) await settleAll(area, slot, entries, ACK_OUTCOME)
      }
      if (area.redis.maxPendingPerName === undefined) await settleAll(area, slot, read, ACK_OUTCOME)
      assertSame([read.length, (await area.pending()).length], [5_000, 0])
    },
  },
  ...SET_ASIDE_CHECKS,
  ...DELAY_CHECKS,
  {
    name: 'claims what is idle and nothing else',
    async run(area) {
      const ids = await area.add('1', '2', '3')
      const slot = await area.slot()
      await area.read(slot)
      await area.age(slot, ids.slice(0, 2), TRY_MIN_IDLE_MS)
      const { claimed } = await area.claims.settleAndClaim(await area.slot('claimer'), [], claimPage())
      assertSame(
        claimed.map(({ id, deliveryCount }) => [id, deliveryCount]),
        ids.slice(0, 2).map((id) => [id, 1]),
      )
    },
  },
  {
    name: 'renews what runs, and does not count it',
    async run(area) {
      const ids = await area.add('1')
      const slot = await area.slot()
      const entries = await area.read(slot)
      await area.age(slot, ids, TRY_MIN_IDLE_MS)
      await area.group.renew(slot, entries)
      const { claimed } = await area.claims.settleAndClaim(await area.slot('claimer'), [], claimPage())
      assertSame([claimed, await area.pending()], [[], [[ids[0], slot.consumerName, 1]]])
    },
  },
  {
    name: 'refuses the outcomes of a poller that lost its entry',
    async run(area) {
      await area.add('1')
      const slot = await area.slot()
      const entries = await area.read(slot)
      await area.claims.settleAndClaim(await area.slot('claimer'), [], { ...claimPage(), minIdleMs: 0 })
      const { counts } = await area.group.settle(slot, settlementsOf(entries, LETTER))
      assertSame([counts.superseded, counts.deadLettered], [1, 0])
    },
  },
  {
    name: 'gives a slot to only one',
    async run(area) {
      const slots = await Promise.all([area.slot(), area.slot(), area.slot(), area.slot()])
      assertSame(new Set(slots.map(({ consumerName }) => consumerName)).size, 4)
      assertSame(await area.group.takeSlot('poller', 4, 1_000), undefined)
      await area.group.giveSlot(slots[0] as never)
      assertSame((await area.slot()).consumerName, slots[0]?.consumerName)
    },
  },
  {
    name: 'copies a dead letter as it is, once',
    async run(area) {
      const fields = ['a', '1', 'a', '2', 'ü', '', 'b', 'x'.repeat(10_000)]
      await area.call('xadd', area.keys.stream, '*', ...fields)
      const slot = await area.slot()
      const entries = await area.read(slot)
      await settleAll(area, slot, entries, LETTER)
      await area.group.settle(slot, settlementsOf(entries, LETTER))
      assertSame([await lettersOf(area), await area.pending()], [[fields], []])
    },
  },
  {
    name: 'copies a dead letter of 3,500 fields',
    async run(area) {
      const fields = Array.from({ length: 3_500 }, (_, n) => [`f${n}`, `${n}`]).flat()
      // in two, where a service takes fewer arguments per command
      const added = await area.sender.send([['xadd', area.keys.stream, '*', ...fields]])
      if (added[0] instanceof Error) return
      const slot = await area.slot()
      await settleAll(area, slot, await area.read(slot), LETTER)
      assertSame([(await lettersOf(area)).length, await area.pending()], [1, []])
    },
  },
  {
    name: 'keeps an entry pending whose dead letter is refused',
    async run(area) {
      await area.call('setnx', area.keys.deadLetters, 'in the way')
      await area.add('1')
      const slot = await area.slot()
      const { counts } = await area.group.settle(slot, settlementsOf(await area.read(slot), LETTER))
      assertSame([counts.deadLettered, counts.unsettled, (await area.pending()).length], [0, 1, 1])
    },
  },
  {
    name: 'reports what was trimmed while it was pending',
    async run(area) {
      const ids = await area.add('1', '2')
      const slot = await area.slot()
      await area.read(slot)
      await area.age(slot, ids, TRY_MIN_IDLE_MS)
      await area.call('xdel', area.keys.stream, ids[0] ?? '')
      const { claimed, lost } = await area.claims.settleAndClaim(await area.slot('claimer'), [], claimPage())
      assertSame([claimed.map(({ id }) => id), lost, (await area.pending()).length], [[ids[1]], 1, 1])
    },
  },
  {
    name: 'recreates a lost group at its mark',
    async run(area) {
      await area.add('1')
      const slot = await area.slot()
      await settleAll(area, slot, await area.read(slot), ACK_OUTCOME)
      await area.claims.finishClaims(await area.slot('claimer'), '0-0', TRY_MIN_IDLE_MS)
      await area.call('xgroup', 'DESTROY', area.keys.stream, area.address.group)
      const ids = await area.add('2')
      assertSame(
        (await area.read(slot)).map(({ id }) => id),
        ids,
      )
    },
  },
  {
    name: 'trims by age on its own clock',
    async run(area) {
      await area.call('xadd', area.keys.stream, '1-0', 'v', 'old')
      const { answers } = await area.append(area.keys.stream, [[['v', '1']]], {
        kind: 'age',
        retentionMs: 60_000,
        exact: true,
      })
      assertSame([Number(await area.call('xlen', area.keys.stream)), typeof answers[0]], [1, 'string'])
    },
  },
  {
    name: 'raises a flag once, for its time',
    async run(area) {
      const flag = { key: area.keys.wake, windowMs: 60_000 }
      const raise = async () => (await area.append(area.keys.stream, [[['v', '1']]], { kind: 'none' }, [flag])).raised
      assertSame([await raise(), await raise()], [[true], [false]])
      assertSame(Number(await area.call('pttl', flag.key)) > 0, true)
      await area.slot()
      assertSame(await raise(), [true])
    },
  },
  {
    name: 'reports what a group has before it',
    async run(area) {
      await area.add('1', '2', '3')
      await area.read(await area.slot(), 1)
      const { backlog, pollers } = (await area.group.measure()) ?? {}
      assertSame([backlog?.pending, backlog?.lag, backlog?.streamLength, pollers], [1, 2, 3, 1])
    },
  },
]

/** The entries' own fields of the letters. */
async function lettersOf(area: TryCheckKeys): Promise<string[][]> {
  const letters = replyItems(await area.call('xrange', area.keys.deadLetters, '-', '+'))
  return letters.map((letter) => {
    const fields = replyAsFields(replyItems(letter)[1]).map((pair) => pair.map(replyAsText))
    return fields.slice(fields.findIndex(([name]) => name === 'fieldCount') + 1).flat()
  })
}

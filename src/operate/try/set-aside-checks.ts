import type { Outcome } from '../../core/outcome.ts'
import { assertSame, claimPage, settleAll, type TryCheck } from './check-kit.ts'
import { TRY_MIN_IDLE_MS } from './try-check-keys.ts'

const RETRY: Outcome = { kind: 'retry', delayMs: 0 }

const TAKE = { room: 100, maxDeliveries: 5, till: undefined, conditions: [] }

/** The contract of what is set aside, in short. */
export const SET_ASIDE_CHECKS: readonly TryCheck[] = [
  {
    name: 'brings a failure back when it is due, and counts when it starts',
    async run(area) {
      const [id = ''] = await area.add('1')
      const slot = await area.slot()
      await settleAll(area, slot, await area.read(slot), RETRY)
      assertSame(await area.pending(), [[id, 'parked', 1]])
      const claimer = await area.slot('claimer')
      const { started } = await area.claims.settleAndTake(claimer, [], TAKE)
      assertSame(
        started.map((one) => [one.id, one.deliveryCount]),
        [[id, 2]],
      )
      assertSame(await area.pending(), [[id, claimer.consumerName, 2]])
    },
  },
  {
    name: 'leaves a wait as it was',
    async run(area) {
      await area.add('1')
      const slot = await area.slot()
      await settleAll(area, slot, await area.read(slot), { kind: 'retry', delayMs: 2 * TRY_MIN_IDLE_MS })
      const before = await area.pending()
      const claimer = await area.slot('claimer')
      const { claimed } = await area.claims.settleAndClaim(claimer, [], claimPage())
      const { started } = await area.claims.settleAndTake(claimer, [], TAKE)
      assertSame([claimed, started, await area.pending()], [[], [], before])
    },
  },
  {
    name: 'brings back what waits for a condition, once it holds',
    async run(area) {
      const ids = await area.add('1', '2')
      const slot = await area.slot()
      await settleAll(area, slot, await area.read(slot), { kind: 'park', delayMs: 0, condition: 'try it' })
      const claimer = await area.slot('claimer')
      const early = await area.claims.settleAndTake(claimer, [], TAKE)
      const { started } = await area.claims.settleAndTake(claimer, [], { ...TAKE, conditions: early.left.conditions })
      assertSame(
        [early.started, started.map(({ id, deliveryCount }) => [id, deliveryCount])],
        [[], ids.map((id) => [id, 1])],
      )
    },
  },
  {
    name: 'gives a lost group back what was set aside',
    async run(area) {
      const [id = ''] = await area.add('1')
      const slot = await area.slot()
      await settleAll(area, slot, await area.read(slot), RETRY)
      await area.claims.finishClaims(await area.slot('claimer'), '0-0', TRY_MIN_IDLE_MS)
      await area.call('xgroup', 'DESTROY', area.keys.stream, area.address.group)
      const claimer = await area.slot('claimer')
      await area.claims.settleAndClaim(claimer, [], claimPage())
      await area.claims.heal(claimer)
      assertSame(await area.pending(), [[id, 'parked', 1]])
    },
  },
]

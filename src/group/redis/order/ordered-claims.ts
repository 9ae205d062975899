import type { ClaimRequest, Settlement, Slot, TakeDueRequest, TakeDueResult } from '../../group.ts'
import { takenBeforeRead, waitsInOrder } from '../../ordering.ts'
import { RedisClaims } from '../redis-claims.ts'
import { settledOf } from '../redis-group-calls.ts'
import { measureBacklogScript } from '../scripts/measure.ts'
import type { ScriptCall } from '../sender.ts'
import { isRequestTooLarge } from '../sender.ts'
import {
  claimPageInOrderScript,
  finishClaimsInOrderScript,
  measureInOrderScript,
  takeInOrder,
} from './claim-in-order.ts'
import type { OrderedCalls } from './ordered-calls.ts'
import { undoTakeInOrderScript } from './take-of-lanes.ts'

/** The claimer's side of a group that keeps order: only first members of lanes start, and whole lanes where the poller takes them. */
export class OrderedClaims extends RedisClaims {
  readonly #calls: OrderedCalls
  readonly #mayTake: (slot: Slot) => boolean
  /** What may come beside first members, at most: nothing once an answer was larger than a service takes. */
  #mostOfLanes = Infinity

  /** @param mayTake Whether all that is pending has its lane, as far as the holder of a slot needs that. */
  constructor(calls: OrderedCalls, mayTake: (slot: Slot) => boolean) {
    super(calls)
    this.#calls = calls
    this.#mayTake = mayTake
  }

  override async settleAndTake(
    slot: Slot,
    settlements: readonly Settlement[],
    request: TakeDueRequest,
  ): Promise<TakeDueResult> {
    if (!this.#mayTake(slot))
      return takenBeforeRead((await this.#calls.settleWith(slot, settlements, [])).settled, request)
    if (settlements.some(({ outcome }) => waitsInOrder(outcome))) return this.#settleFirst(slot, settlements, request)
    const taken = await super.settleAndTake(slot, settlements, request)
    if (this.#mostOfLanes === 0 || !taken.failures.some(isRequestTooLarge)) return taken
    this.#mostOfLanes = 0
    await this.settleAndGiveBack(slot, [])
    const again = await super.settleAndTake(slot, [], request)
    const { counts, failures } = taken
    return { ...again, counts, failures: [...failures.filter((one) => !isRequestTooLarge(one)), ...again.failures] }
  }

  /** In one request, a client that sends it again would set aside once more, as the first of a lane, what the take has brought with a whole one: its count is the same. */
  async #settleFirst(slot: Slot, settlements: readonly Settlement[], request: TakeDueRequest): Promise<TakeDueResult> {
    const { settled } = await this.#calls.settleWith(slot, settlements, [])
    if (settled.unanswered || settled.leaseLost) return takenBeforeRead(settled, request)
    const taken = await this.settleAndTake(slot, [], request)
    return { ...taken, ...settledOf(settled), failures: [...settled.failures, ...taken.failures] }
  }

  protected override claimPage(token: string, names: readonly string[], request: ClaimRequest): ScriptCall {
    return this.#calls.inOrder(super.claimPage(token, names, request), claimPageInOrderScript)
  }

  protected override takeDue(slot: Slot, nonce: string, request: TakeDueRequest): ScriptCall {
    const most = Math.min(this.#calls.order.listener?.taking() ?? -1, this.#mostOfLanes)
    const call = super.takeDue(slot, nonce, request)
    return this.#calls.inOrder({ ...call, args: [...call.args, most] }, takeInOrder(call.script))
  }

  protected override undoing(call: ScriptCall): ScriptCall {
    return this.#calls.inOrder(call, undoTakeInOrderScript)
  }

  protected override finishing(call: ScriptCall): ScriptCall {
    if (call.script !== measureBacklogScript) return { ...call, script: finishClaimsInOrderScript }
    return { script: measureInOrderScript, keys: [...call.keys, this.#calls.address.keys.waiting], args: call.args }
  }
}

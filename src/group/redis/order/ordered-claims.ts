import type { ClaimRequest, Slot, TakeDueRequest } from '../../group.ts'
import { RedisClaims } from '../redis-claims.ts'
import { measureBacklogScript } from '../scripts/measure.ts'
import type { ScriptCall } from '../sender.ts'
import {
  claimPageInOrderScript,
  finishClaimsInOrderScript,
  measureInOrderScript,
  takeInOrder,
} from './claim-in-order.ts'
import type { OrderedCalls } from './ordered-calls.ts'

/** The claimer's side of a group that keeps order: only first members of lanes start. */
export class OrderedClaims extends RedisClaims {
  readonly #calls: OrderedCalls

  constructor(calls: OrderedCalls) {
    super(calls)
    this.#calls = calls
  }

  protected override claimPage(token: string, names: readonly string[], request: ClaimRequest): ScriptCall {
    return this.#calls.inOrder(super.claimPage(token, names, request), claimPageInOrderScript)
  }

  protected override takeDue(slot: Slot, nonce: string, request: TakeDueRequest): ScriptCall {
    this.#calls.order.listener?.taking()
    const call = super.takeDue(slot, nonce, request)
    return this.#calls.inOrder(call, takeInOrder(call.script))
  }

  protected override finishing(call: ScriptCall): ScriptCall {
    if (call.script !== measureBacklogScript) return { ...call, script: finishClaimsInOrderScript }
    return { script: measureInOrderScript, keys: [...call.keys, this.#calls.address.keys.waiting], args: call.args }
  }
}

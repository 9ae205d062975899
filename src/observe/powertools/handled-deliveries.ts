import type { Observed, ObservedInvocation, ObservedRun } from '../../define/observe.ts'

/** A delivery that a handler has dealt with, until its acknowledgement is answered. */
export interface HandledDelivery {
  /** By `performance.now()`. */
  readonly at: number
  readonly deliveryCount: number
  readonly version: number | undefined
}

/** What is yet to be acknowledged, of invocations that are under way: an invocation takes it along when it ends. */
export class HandledDeliveries {
  readonly #byInvocation = new WeakMap<ObservedInvocation, Map<string, HandledDelivery>>()

  note({ call, outcomes }: Observed['handlerEnded']): void {
    const at = performance.now()
    for (const [n, { entryId, deliveryCount, version }] of call.deliveries.entries())
      if (outcomes[n]?.kind === 'ack')
        this.#of(call.invocation).set(keyOf(call, entryId), { at, deliveryCount, version })
  }

  /** `undefined` for what no handler was called for. */
  take(run: ObservedRun, entryId: string): HandledDelivery | undefined {
    const own = this.#of(run.invocation)
    const key = keyOf(run, entryId)
    const handled = own.get(key)
    own.delete(key)
    return handled
  }

  #of(invocation: ObservedInvocation): Map<string, HandledDelivery> {
    const known = this.#byInvocation.get(invocation)
    if (known) return known
    const made = new Map<string, HandledDelivery>()
    this.#byInvocation.set(invocation, made)
    return made
  }
}

/** An id alone where there is one consumer, as most have: written for every entry. */
function keyOf({ invocation, stream, group }: ObservedRun, entryId: string): string {
  return invocation.consumers.length === 1 ? entryId : `${entryId} ${group} ${stream}`
}

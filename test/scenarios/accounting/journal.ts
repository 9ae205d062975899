import type { BatchEvent, BatchHandler, EventHandler, EventOf } from 'millrace'
import { defineEvent } from 'millrace'
import * as z from 'zod/mini'
import { OrderPaid } from '../../support/consumer.ts'
import type { Ending, Visit } from './books.ts'
import type { Circumstances } from './fates.ts'
import { endingOf, perform, readOrder } from './fates.ts'

export { OrderPaid }

const payload = z.object({ orderId: z.string() })
export const OrderShipped = defineEvent('OrderShipped', { payload })
/** Nobody has a route for it. */
export const Unrouted = defineEvent('Unrouted', { payload })

type OpenVisit = { -readonly [Member in keyof Visit]: Visit[Member] }

/** Who and what is asked for while handlers run. */
export interface Surroundings {
  lifeOf(requestId: string, group: string, entryId: string): string
  isMended(entryId: string): boolean
  enterGate(): Promise<void>
}

/** Handlers that do what their orders say, and what they noted. */
export class Journal {
  readonly visits: OpenVisit[] = []
  readonly #calls = new Map<string, number>()
  readonly #surroundings: Surroundings

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** Notes a call in a process that is no more. */
  note(visit: Omit<Visit, 'life'>): void {
    this.visits.push({ ...visit, life: this.#lifeOf(visit) })
  }

  hasHandled(group: string, entryId: string): boolean {
    return this.visits.some(
      (visit) => visit.group === group && visit.entryId === entryId && visit.ending === 'succeeded',
    )
  }

  readonly paid: EventHandler<EventOf<typeof OrderPaid>> = ({ type, eventId, payload: { orderId } }, context) => {
    const { entryId, deliveryCount, group, awsRequestId: requestId, signal } = context
    const visit = this.#begin({ requestId, group, entryId, eventType: type, eventId, deliveryCount })
    const end = (ending: Ending) => {
      visit.ending = signal.aborted ? 'late' : ending
    }
    const fail = (error: unknown) => {
      end(endingOf(error))
      throw error
    }
    try {
      const acting = perform(orderId, this.#circumstances(visit, signal))
      if (acting) return acting.then(() => end('succeeded'), fail)
    } catch (error) {
      return fail(error)
    }
    return end('succeeded')
  }

  readonly shipped: BatchHandler<EventOf<typeof OrderShipped>> = async (events, context) => {
    const { group, awsRequestId: requestId, signal } = context
    const visits = events.map(({ type, entryId, eventId, deliveryCount }) =>
      this.#begin({ requestId, group, entryId, eventType: type, eventId, deliveryCount }),
    )
    const has = (fate: string) => events.some((event) => isFirst(event, fate))
    const acting = events.map(async ({ payload: { orderId } }, n) =>
      perform(orderId, this.#circumstances(visits[n] as OpenVisit, signal)),
    )
    const results = await Promise.allSettled(acting)
    const isAll = has('explodes') || has('lies')
    for (const [n, visit] of visits.entries())
      visit.ending = signal.aborted ? 'late' : isAll ? 'failed' : endOf(results[n] as PromiseSettledResult<void>)
    if (has('explodes')) throw new Error('the whole batch')
    if (has('lies')) return { batchItemFailures: [{ itemIdentifier: '0-1' }] }
    return {
      batchItemFailures: results.flatMap((result, n) => {
        if (result.status === 'fulfilled') return []
        const itemIdentifier = (events[n] as BatchEvent).entryId
        // a failure without its error is retried as any
        return [endOf(result) === 'failed' ? { itemIdentifier } : { itemIdentifier, error: result.reason }]
      }),
    }
  }

  #begin(visit: Omit<Visit, 'life' | 'ending'>): OpenVisit {
    const open: OpenVisit = { ...visit, life: this.#lifeOf(visit), ending: 'open' }
    this.visits.push(open)
    this.#calls.set(`${open.group} ${open.entryId}`, this.#callsOf(open) + 1)
    return open
  }

  #lifeOf({ requestId, group, entryId }: Omit<Visit, 'life' | 'ending'>): string {
    return this.#surroundings.lifeOf(requestId, group, entryId)
  }

  #callsOf({ group, entryId }: Visit): number {
    return this.#calls.get(`${group} ${entryId}`) ?? 0
  }

  #circumstances(visit: Visit, signal: AbortSignal): Circumstances {
    const { isMended, enterGate } = this.#surroundings
    return {
      deliveryCount: visit.deliveryCount,
      calls: this.#callsOf(visit),
      signal,
      isMended: isMended(visit.entryId),
      enterGate,
    }
  }
}

function isFirst({ payload, deliveryCount }: BatchEvent, wanted: string): boolean {
  return readOrder((payload as { orderId: string }).orderId).fate === wanted && deliveryCount === 1
}

function endOf(result: PromiseSettledResult<void>): Ending {
  return result.status === 'fulfilled' ? 'succeeded' : endingOf(result.reason)
}

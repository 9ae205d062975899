import { setTimeout as sleep } from 'node:timers/promises'

export interface Booking {
  readonly orderId: string
  readonly parcels: number
  /** Of several bookings with the same key, one is made. */
  readonly idempotencyKey: string
  readonly signal: AbortSignal
}

export interface Carrier {
  book(booking: Booking): Promise<void>
}

/** Stands in for a carrier and books nothing. Put the carriers' clients in its place. */
function pretend(latencyMs: number): Carrier {
  return { book: ({ signal }) => sleep(latencyMs, undefined, { signal }) }
}

/** The carriers that we have a contract with. */
export const carriers: ReadonlyMap<string, Carrier> = new Map([
  ['dhl', pretend(25)],
  ['dpd', pretend(10)],
  ['ups', pretend(40)],
])

import { MAX_POLLER_HOPS } from './scale-out.ts'

/** The event of a poller that another poller, or a publisher, calls. @param hop How many calls of pollers led to it. */
export function createHopEvent(hop: number): { readonly millrace: { readonly hop: number } } {
  return { millrace: { hop } }
}

/** How many calls led to an invocation, 0 for one that a publisher woke; `undefined` for a schedule's. No more are made where it says something odd. */
export function readHopCount(event: unknown): number | undefined {
  const own = (event as { millrace?: { hop?: unknown } } | null | undefined)?.millrace
  if (own === undefined) return undefined
  const hop = own?.hop as number
  return Number.isInteger(hop) && hop >= 0 ? hop : MAX_POLLER_HOPS
}

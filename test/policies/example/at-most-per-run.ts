import type { Policy } from 'millrace'
import { definePolicy } from 'millrace'

/**
 * Runs at most so many events of the consumer in one run, and parks the others for a minute, at no delivery.
 *
 * @param events 1 or more.
 * @throws {RangeError} Something else.
 */
export function atMostPerRun(events: number): Policy {
  if (!(Number.isInteger(events) && events > 0))
    throw new RangeError(`events must be a whole number >= 1, got ${events}`)
  return definePolicy({
    name: 'atMostPerRun',
    begin() {
      let left = events
      return { admit: (jobs) => jobs.map(() => (left-- > 0 ? undefined : { action: 'park', delayMs: 60_000 })) }
    },
  })
}

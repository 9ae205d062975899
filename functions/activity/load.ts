import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Publication } from 'millrace'
import { createPublisher } from 'millrace'
import { activityCodec, STREAMS } from '../events/activity.ts'
import type { Simulated } from './simulation.ts'

/** How much is published, and for how long. */
export interface Load {
  /** Events a second. */
  readonly rate: number
  readonly seconds: number
  /** Ends it early, without an error. */
  readonly signal: AbortSignal
}

const TICK_MS = 100

/** Hands events on in time: ten times a second what is due by then. What a slow receiver is behind with comes in one piece. */
export async function paced(
  events: Iterator<Simulated, unknown>,
  { rate, seconds, signal }: Load,
  publish: (events: readonly Simulated[]) => Promise<unknown>,
): Promise<void> {
  const startedAt = performance.now()
  const total = rate * seconds
  for (let sent = 0; sent < total && !signal.aborted; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt + TICK_MS) * rate) / 1_000))
    if (due > sent) await publish(take(events, due - sent))
    sent = Math.max(sent, due)
    await sleep(TICK_MS, undefined, { signal }).catch(() => {})
  }
}

/** Writes events, each to its stream, as a producer in Python would. */
export function createActivityPublisher(redis: Connection): (events: readonly Simulated[]) => Promise<void> {
  const streams = Object.entries(STREAMS).map(([to, stream]) => ({
    to,
    publisher: createPublisher({ stream, redis, codec: activityCodec, producer: 'simulator' }),
  }))
  return async (events) => {
    const writes = streams.map(({ to, publisher }) => {
      const own = events.filter((event) => event.to === to)
      const publications = own.map(({ event, payload, eventId }): Publication => [event, payload, { eventId }])
      return publisher.publishMany(publications)
    })
    // the first failure is thrown when the others are known, so that nothing is written later
    for (const result of await Promise.allSettled(writes)) if (result.status === 'rejected') throw result.reason
  }
}

function take<Item>(items: Iterator<Item, unknown>, count: number): Item[] {
  return Array.from({ length: count }, () => items.next().value as Item)
}

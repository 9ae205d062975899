import { setTimeout as sleep } from 'node:timers/promises'
import type { Consumer, Report, ScheduledHandler } from 'millrace'
import { startSchedule } from '../schedule.ts'
import type { Order, Writers } from './generator.ts'
import { TICK_MS } from './generator.ts'
import type { Gauges, Observer } from './observer.ts'
import type { Screen } from './screen.ts'
import { Tally } from './tally.ts'

/** The deployable functions, and the consumer that they serve. */
interface Functions {
  readonly billing: Consumer
  readonly poller: ScheduledHandler<Report>
  readonly claimer: ScheduledHandler<Report>
}

interface Stage {
  readonly functions: Functions
  readonly writers: Writers
  readonly observer: Observer
  readonly screen: Screen
  /** Ends the play early; it rejects then. */
  readonly signal: AbortSignal
}

export const POLL_EVERY_MS = 250
export const CLAIM_EVERY_MS = 1_000
const REFRESH_MS = 200
const DRAIN_LIMIT_MS = 60_000

/**
 * Publishes orders tick by tick while the functions are woken by a schedule, and goes on waking them until nothing is left to do, or for a
 * minute. When it is over, early or not, nothing that it started still runs.
 */
export async function play(ticks: Iterable<readonly Order[]>, stage: Stage): Promise<Tally> {
  const { functions, screen, observer } = stage
  const over = new AbortController()
  const signal = AbortSignal.any([stage.signal, over.signal])
  const startedAt = performance.now()
  const tally = new Tally()
  const { poller, claimer } = tally
  let gauges: Gauges = await observer.gauges(functions.billing)
  const schedule = startSchedule([
    { functionName: 'poller', everyMs: POLL_EVERY_MS, handler: functions.poller, onEnd: (end) => poller.add(end) },
    { functionName: 'claimer', everyMs: CLAIM_EVERY_MS, handler: functions.claimer, onEnd: (end) => claimer.add(end) },
  ])
  let publishedAt = Number.POSITIVE_INFINITY

  const picture = (phase: string) => ({ phase, elapsedMs: performance.now() - startedAt, tally, gauges })
  async function publish(): Promise<void> {
    await publishOnTime(ticks, { ...stage, signal }, tally)
    publishedAt = performance.now()
  }
  async function watch(): Promise<void> {
    for (;;) {
      const isPublished = publishedAt < performance.now()
      gauges = await observer.gauges(functions.billing)
      const isDrained = gauges.pending === 0 && gauges.backlog === 0
      if (isPublished && (isDrained || performance.now() > publishedAt + DRAIN_LIMIT_MS)) return
      screen.show(picture(isPublished ? 'draining' : 'publishing'))
      await sleep(REFRESH_MS, undefined, { signal })
    }
  }

  const tasks = [publish(), watch()]
  try {
    await Promise.all(tasks)
  } finally {
    over.abort()
    await Promise.allSettled(tasks)
    await schedule.stop()
  }
  screen.last(picture('done'))
  return tally
}

async function publishOnTime(
  ticks: Iterable<readonly Order[]>,
  { writers, signal }: Stage,
  tally: Tally,
): Promise<void> {
  let nextAt = performance.now()
  for (const orders of ticks) {
    await publishAll(orders, writers, tally)
    nextAt += TICK_MS
    await sleep(Math.max(0, nextAt - performance.now()), undefined, { signal })
  }
}

/** All at once; the first failure is thrown when the others are known, so that nothing is written later. */
async function publishAll(orders: readonly Order[], writers: Writers, tally: Tally): Promise<void> {
  const results = await Promise.allSettled(
    orders.map(async (order) => {
      await order.kind.write(order, writers)
      tally.addPublished(order.kind)
    }),
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

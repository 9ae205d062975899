import type { EventOf, HandlerContext } from 'millrace'
import { effects, NonRetryableError } from 'millrace'
import type { SampleTaken } from './events.ts'
import { addToRollups } from './rollups.ts'
import { admitSeries, seriesOf } from './series.ts'

/** How far a source's clock may be ahead. */
export const AHEAD_MS = 60_000

/**
 * How old a sample may be when it is handled. What is older is counted and not kept. A duplicate's marker outlives it by more than `AHEAD_MS`, so that a sample that comes again is either
 * known or too old, whenever that is.
 */
export const MAX_AGE_MS = 3_600_000

/** A hash: why samples were acknowledged and not kept, and how many were. */
export const REFUSED = '{samples}:refused'

/** Adds a sample to the buckets of its series, in one step with its acknowledgement. */
export async function recordSample(event: EventOf<typeof SampleTaken>, context: HandlerContext): Promise<void> {
  const { source, metric, value, at } = event.payload
  const series = seriesOf(source, metric)
  // an entry's id is the time at which the server had it, unless a source gave one itself: all later ids are beyond that one
  const aheadMs = at - Math.min(Number.parseInt(context.entryId, 10), Date.now())
  if (aheadMs > AHEAD_MS) throw new NonRetryableError(`A sample's time is ${aheadMs} ms in the future`)
  if (at < Date.now() - MAX_AGE_MS) effects(context).incrementField(REFUSED, 'late')
  else if (!(await admitSeries(series))) effects(context).incrementField(REFUSED, 'series')
  else addToRollups(effects(context), series, { value, at })
}

import { entryAgeMs } from '../../../core/entry.ts'
import { formatDurationRoughly } from '../../../core/words.ts'
import { defineCheck } from '../check.ts'
import { errorResult } from '../finding.ts'
import { parkedOf } from '../parked.ts'

/** How long what was published may wait for a poller, and how long ago the last one may have read. */
const PATIENCE_MS = 300_000

/** What is published must be read. Pollers that are held by `maxPending` or `maxParked` read nothing either, which are findings of their own. */
export const pollingCheck = defineCheck({
  check: 'polling',
  scope: 'group',
  needs: ['ahead', 'consumers', 'pending', 'pollers', 'beyond'],
  look({ ahead, consumers, pending, pollers, beyond }, { now, consumer }) {
    if (!consumer || ahead === undefined || pollers + beyond > 0) return []
    const { maxPending, maxParked } = consumer.settings
    const parked = parkedOf(consumers)
    if (pending.count - parked > maxPending || parked > maxParked) return []
    const reads = consumers.filter(({ name }) => name.startsWith('poller-')).map(({ idleMs }) => idleMs)
    const sinceMs = reads.reduce((least, ms) => Math.min(least, ms), Infinity)
    // an id of the future gives no age
    const waitsMs = entryAgeMs(ahead, now) ?? PATIENCE_MS
    if (waitsMs < PATIENCE_MS || sinceMs < PATIENCE_MS) return []
    const last =
      reads.length > 0 ? `the last poller read ${formatDurationRoughly(sinceMs)} ago` : 'no poller has read yet'
    return [
      errorResult(
        `Nobody polls: what was published since ${ahead}, ${formatDurationRoughly(waitsMs)} ago, is not read; ${last}, and none runs`,
        "see that the poller is scheduled and succeeds: its schedule, its log, the alarms 'nothing polls' and 'poller fails'",
      ),
    ]
  },
})

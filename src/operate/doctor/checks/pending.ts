import { count, span } from '../../../core/words.ts'
import { check } from '../check.ts'
import { error, warning } from '../finding.ts'

/** How long after `minIdleMs` a claimer may take to come by. */
const PATIENCE_MS = 300_000

/** What failed or was left behind must be claimed. */
export const claiming = check({
  check: 'claiming',
  scope: 'group',
  needs: ['oldest', 'waits'],
  look({ oldest, waits }, { now, consumer }) {
    if (!consumer || !waits) return []
    const limitMs = consumer.settings.minIdleMs + PATIENCE_MS
    // what was redriven is made to look idle: it was not delivered yet, and nobody knows since when it waits
    const left = oldest.filter(
      ({ id, idleMs, deliveryCount }) =>
        deliveryCount > 0 && idleMs >= limitMs && (waits.get(id) ?? 0) + PATIENCE_MS <= now,
    )
    const [first] = left
    if (!first) return []
    return [
      error(
        `Nobody claims: ${left.length} of the ${oldest.length} oldest pending entries are idle past minIdleMs and due; ${first.id}, of consumer ` +
          `"${first.consumerName}", for ${span(first.idleMs)}`,
        "see that the claimer is scheduled and succeeds: its schedule, its log, the alarm 'claimer fails'",
      ),
    ]
  },
})

/** Above `maxPending` pollers read nothing new. */
export const pending = check({
  check: 'pending',
  scope: 'group',
  needs: ['pending'],
  look({ pending: { count: pending } }, { consumer }) {
    if (!consumer || pending <= consumer.settings.maxPending) return []
    return [
      warning(
        `${count(pending, 'entry is', 'entries are')} pending, above maxPending, ${consumer.settings.maxPending}: pollers read nothing new`,
        'fix what fails (the log, the dead letters’ reasons), let the claimer catch up, or raise maxPending',
      ),
    ]
  },
})

import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly } from '../../../core/words.ts'
import { defineCheck } from '../check.ts'
import { errorResult, warningResult } from '../finding.ts'
import { parkedOf } from '../parked.ts'

/** How long after `minIdleMs`, or after a time that an entry was set aside for, a claimer may take to come by. */
const PATIENCE_MS = 300_000

const FIX = "see that the claimer is scheduled and succeeds: its schedule, its log, the alarm 'claimer fails'"

/** What failed or was left behind must be claimed. */
export const claimingCheck = defineCheck({
  check: 'claiming',
  scope: 'group',
  needs: ['oldest', 'byTime'],
  look({ oldest, byTime: { due, nextDueInMs = 0, handedBack, sample } }, { consumer }) {
    if (!consumer) return []
    if (nextDueInMs <= -PATIENCE_MS)
      return [
        errorResult(
          `Nobody claims: ${formatCount(due, 'entry that was', 'entries that were')} set aside ${due === 1 ? 'is' : 'are'} due, the first for ${formatDurationRoughly(-nextDueInMs)}`,
          FIX,
        ),
      ]
    const limitMs = consumer.settings.minIdleMs + PATIENCE_MS
    // what is set aside comes back by its index, whatever its idle clock says
    // but where nothing waits at no delivery, what no delivery counts for was handed back, and is due at once
    const isHandedBack = handedBack > 0 && !sample?.atNoDelivery
    const left = oldest.filter(
      ({ consumerName, deliveryCount, idleMs }) =>
        idleMs >= limitMs && (consumerName !== PARKED_CONSUMER || (isHandedBack && deliveryCount === 0)),
    )
    const [first] = left
    if (!first) return []
    return [
      errorResult(
        `Nobody claims: ${left.length} of the ${oldest.length} oldest pending entries are idle past minIdleMs; ${first.id}, of consumer ` +
          `"${first.consumerName}", for ${formatDurationRoughly(first.idleMs)}`,
        FIX,
      ),
    ]
  },
})

/** Above `maxPending` in hand pollers read nothing new. */
export const pendingCheck = defineCheck({
  check: 'pending',
  scope: 'group',
  needs: ['pending', 'consumers'],
  look({ pending: { count: all }, consumers }, { consumer }) {
    const inHand = all - parkedOf(consumers)
    if (!consumer || inHand <= consumer.settings.maxPending) return []
    return [
      warningResult(
        `${formatCount(inHand, 'entry is', 'entries are')} pending and not set aside, above maxPending, ${consumer.settings.maxPending}: pollers read nothing new`,
        'fix what fails (the log, the dead letters’ reasons), let the claimer catch up, or raise maxPending',
      ),
    ]
  },
})

import { entryAgeMs } from '../../../core/entry.ts'
import { isInEffect, parsePauses, WHOLE_GROUP } from '../../../core/pauses.ts'
import { formatCount, formatDurationRoughly, formatNumber, MS_PER_UNIT } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import type { FirstOfKeyInspection, KeyInspection } from '../../inspect/inspection.ts'
import { orderedConsumerOf } from '../../inspect/ordered-consumer.ts'
import { type CheckSubject, defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, warningResult } from '../finding.ts'
import { ORDERED_SLOT } from '../order-facts.ts'
import { parkedOf } from '../parked.ts'
import { listFirstNames, quoteForShell } from '../text.ts'

/** How long what was published may wait for a poller, and how long one may go without a read. */
const PATIENCE_MS = 300_000

/** A part of `maxParked` from which on lanes are a warning: a hot key may fill the rest in minutes. */
const NEARLY_FULL = 0.8

/** A key stands while its first entry is undone. */
export const orderedKeyCheck = defineCheck({
  check: 'ordered-key',
  scope: 'group',
  needs: ['order'],
  look({ order }, subject) {
    const standing = order?.longest?.filter(({ ageMs = 0 }) => ageMs > MS_PER_UNIT.d) ?? []
    const [key, ...others] = standing
    if (!key) return []
    const names = others.map((other) => other.key)
    const more = names.length === 0 ? '' : `; so do ${listFirstNames(names)}${order?.isSample ? ', and others' : ''}`
    return [warningResult(`Key ${quotedValue(key.key)} stands: ${keyText(key)}${more}`, fixOf(key, subject))]
  },
})

function keyText({ waiting, ageMs = 0, first }: KeyInspection): string {
  const { id, eventType, deliveryCount = 0, error } = first
  const type = eventType === undefined ? '' : ` of type ${quotedValue(eventType)}`
  const count = deliveryCount > 0 ? ` at delivery ${deliveryCount}` : ''
  const last = error === undefined ? '' : `; the last error was ${quotedValue(error)}`
  return (
    `${formatCount(waiting, 'entry waits', 'entries wait')}, the oldest published ${formatDurationRoughly(ageMs)} ago, ` +
    `behind ${id}${type}${count}, ${stateText(first)}${last}`
  )
}

function stateText({ state, dueInMs = 0, condition, consumerName = '', isPaused }: FirstOfKeyInspection): string {
  if (isPaused) return 'which is paused'
  if (state === 'time')
    return dueInMs > 0 ? `due in ${formatDurationRoughly(dueInMs)}` : `due for ${formatDurationRoughly(-dueInMs)}`
  if (state === 'suspect') return 'whose process died'
  if (state === 'in-hand') return `in hand of ${quotedValue(consumerName)}`
  if (state === 'dead-letter') return 'which is a dead letter'
  if (state === 'not-pending') return 'which is pending no more'
  return condition ? `which waits for "${condition.reason} ${condition.what}"` : 'which waits for a condition'
}

function fixOf({ first }: KeyInspection, { stream, group, consumer }: CheckSubject): string {
  const { state, isPaused, eventType = '', condition, dueInMs = 0, error } = first
  const where = `${quoteForShell(consumer?.set?.name ?? stream)} ${quoteForShell(group)}`
  if (isPaused || condition?.reason === 'paused')
    return `millrace resume ${where}, with --type ${quoteForShell(eventType)} where only the type is paused`
  if (condition?.reason === 'circuitBreaker') return 'fix what its handler calls: a probe closes the circuit breaker'
  if (condition) return 'end what it waits for (millrace status --details shows it)'
  if (state === 'time' && dueInMs > 0)
    return `${error === undefined ? 'see in the log why it fails' : 'fix what it fails with'}; once its deliveries are used up it is a dead letter, and its key goes on`
  if (state === 'dead-letter')
    return 'redrive its dead letter, or drop it (millrace dlq ls --key): until then its key waits'
  if (state === 'not-pending') return 'see that the poller runs, whose next run has the key go on'
  return "see that poller and claimer are scheduled and succeed: their schedules, their logs, the alarm 'claimer fails'"
}

/** Of a stream in order one poller reads at a time. One that holds the slot and does not read keeps all others from it. */
export const orderedSlotCheck = defineCheck({
  check: 'ordered-slot',
  scope: 'group',
  needs: ['order', 'slotLeaseMs', 'ahead', 'consumers', 'pending', 'paused'],
  isFor: keepsOrder,
  look({ order, slotLeaseMs, ahead, consumers, pending, paused }, { now, consumer }) {
    if (!consumer || !order || slotLeaseMs === undefined || ahead === undefined) return []
    const pause = parsePauses(paused).get(WHOLE_GROUP)
    if (pause && isInEffect(pause, now)) return []
    const { maxPending, maxParked } = consumer.settings
    const parked = parkedOf(consumers)
    if (pending.count - parked > maxPending || parked > maxParked) return []
    const sinceMs = consumers.find(({ name }) => name === ORDERED_SLOT)?.idleMs ?? Infinity
    const waitsMs = entryAgeMs(ahead, now) ?? 0
    if (waitsMs < PATIENCE_MS || sinceMs < PATIENCE_MS) return []
    const last = sinceMs === Infinity ? 'it has never read' : `it last read ${formatDurationRoughly(sinceMs)} ago`
    return [
      warningResult(
        `One run holds the only slot, and ${last}: no other poller gets its turn, though what was published ${formatDurationRoughly(waitsMs)} ago waits`,
        `see what that run does (its log): a handler that does not end, or a process that was killed; its lease ends in ${formatDurationRoughly(slotLeaseMs)} at the latest, unless the run renews it`,
      ),
    ]
  },
})

/** A run without order holds entries: nothing is read in order before it has ended. */
export const heldWithoutOrderCheck = defineCheck({
  check: 'ordered-held',
  scope: 'group',
  needs: ['heldWithoutOrder'],
  isFor: keepsOrder,
  look({ heldWithoutOrder }) {
    if (heldWithoutOrder.length === 0) return []
    const entries = heldWithoutOrder.reduce((sum, one) => sum + one.entries, 0)
    const names = listFirstNames(heldWithoutOrder.map(({ consumerName }) => consumerName))
    return [
      errorResult(
        `${formatCount(entries, 'entry is', 'entries are')} held by a run that keeps no order, as ${names}: nothing is read in order until that has ended`,
        'deploy the consumer with orderedBy to every function that polls or claims this group, and let the last run without it end',
      ),
    ]
  },
})

/** What waits in lanes counts against `maxParked`, above which nothing is read, whatever its key. */
export const lanesFillCheck = defineCheck({
  check: 'ordered-parked',
  scope: 'group',
  needs: ['order', 'consumers'],
  isFor: keepsOrder,
  look({ order, consumers }, { consumer }): CheckResult[] {
    const parked = parkedOf(consumers)
    if (!consumer || !order || order.waiting < parked / 2) return []
    const { maxParked } = consumer.settings
    if (parked < NEARLY_FULL * maxParked || parked > maxParked) return []
    const [key] = order.longest?.toSorted((a, b) => b.waiting - a.waiting) ?? []
    const most = key ? `; ${formatNumber(key.waiting)} of them have key ${quotedValue(key.key)}` : ''
    return [
      warningResult(
        `${formatNumber(order.waiting)} of ${formatCount(parked, 'entry that is', 'entries that are')} set aside wait behind another of their key, near maxParked, ${formatNumber(maxParked)}: above it nothing new is read, of no key${most}`,
        'have the first of these keys done (millrace status --details names them), or raise maxParked',
      ),
    ]
  },
})

function keepsOrder({ consumer }: CheckSubject): boolean {
  return consumer !== undefined && orderedConsumerOf(consumer) !== undefined
}

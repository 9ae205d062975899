import { AGING_CONSUMER } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly, formatNumber, MS_PER_UNIT } from '../../../core/words.ts'
import type { ConditionInspection } from '../../inspect/inspection.ts'
import type { Places } from '../aside-facts.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, warningResult } from '../finding.ts'
import { parkedOf } from '../parked.ts'
import { listFirstNames, quoteForShell } from '../text.ts'

const REPAIR = 'the next claimer compares all of it and repairs, or run millrace doctor --repair'

/** Why entries wait that no deployed consumer can handle. */
const UNKNOWN_TYPES: readonly string[] = ['newer-version', 'unrouted']

/** Above `maxParked` pollers read nothing new. */
export const setAside = defineCheck({
  check: 'set-aside',
  scope: 'group',
  needs: ['consumers', 'byTime', 'byCondition', 'waiting'],
  look({ consumers, byTime, byCondition, waiting }, { consumer }) {
    const parked = parkedOf(consumers)
    if (!consumer || parked <= consumer.settings.maxParked) return []
    const [reason, entries] = mostOf(byTime.entries, waiting, byCondition.conditions)
    return [
      warningResult(
        `${formatCount(parked, 'entry is', 'entries are')} set aside, above maxParked, ${formatNumber(consumer.settings.maxParked)}: pollers read nothing new; ` +
          `most of them, ${formatNumber(entries)}, wait ${reason}`,
        'end what they wait for (millrace status --details lists it), or raise maxParked',
      ),
    ]
  },
})

/** What fills the indexes most: the time that entries wait for, or the reason of conditions. */
function mostOf(
  timed: number,
  inLanes: number,
  conditions: readonly ConditionInspection[],
): readonly [reason: string, entries: number] {
  const sums = new Map([
    ['for their time (retries and delays)', timed],
    ['behind another of their key', inLanes],
  ])
  for (const { reason, entries } of conditions) {
    const words = `with reason "${reason}"`
    sums.set(words, (sums.get(words) ?? 0) + entries)
  }
  return [...sums].reduce((most, one) => (one[1] > most[1] ? one : most))
}

/** What is set aside comes back by an index only: what has no place in one stays where it is. */
export const index = defineCheck({
  check: 'index',
  scope: 'group',
  needs: ['places', 'notIndexes'],
  look({ places, notIndexes }, { stream, group }) {
    if (notIndexes.length > 0) return [ofOtherType(notIndexes, stream, group)]
    return places && !places.isHealing ? ofPlaces(places) : []
  },
})

function ofOtherType(keys: readonly string[], stream: string, group: string): CheckResult {
  const [first = ''] = keys
  return errorResult(
    `${listFirstNames(keys)} ${keys.length === 1 ? 'is' : 'are'} no sorted set: what is set aside has no place there`,
    `RENAME ${quoteForShell(first)} to another name; then ${repairOf(stream, group)}`,
  )
}

function ofPlaces({ parked, indexed, known }: Places): CheckResult[] {
  if (parked > indexed) {
    const entries = formatCount(parked, 'entry is', 'entries are')
    const what = `${entries} set aside, but the indexes have ${formatNumber(indexed)}: what has no place there does not come back`
    return [errorResult(what, REPAIR)]
  }
  // what was compared and is still so is what somebody else acknowledged: it goes when it is due
  if (parked === indexed || parked - indexed === known) return []
  return [
    errorResult(
      `The indexes have ${formatCount(indexed, 'place')}, but only ${formatCount(parked, 'entry is', 'entries are')} set aside: somebody acknowledges or claims under the name "parked"`,
      `see who does; ${REPAIR}`,
    ),
  ]
}

function repairOf(stream: string, group: string): string {
  return `millrace doctor --repair --stream ${quoteForShell(stream)} --group ${quoteForShell(group)}`
}

/** What an index refused comes back by its age, later than it should. */
export const aging = defineCheck({
  check: 'aging',
  scope: 'group',
  needs: ['consumers', 'notIndexes'],
  look({ consumers, notIndexes }, { keys }) {
    const entries = consumers.find(({ name }) => name === AGING_CONSUMER)?.pending ?? 0
    if (entries === 0 || !keys) return []
    const [key] = notIndexes
    const why = key === undefined ? 'a right is missing there' : `"${key}" is no sorted set`
    const fix =
      key === undefined
        ? `give poller and claimer +zadd on ${quoteForShell(keys.due)} and ${quoteForShell(keys.waiting)} (millrace plan --acl MODULE prints their rules)`
        : `RENAME ${quoteForShell(key)} to another name`
    return [
      warningResult(
        `${formatCount(entries, 'entry lies', 'entries lie')} under "${AGING_CONSUMER}": an index refused ${entries === 1 ? 'it' : 'them'}, as ${why}; ` +
          'a claimer takes up what has been there for minIdleMs, whatever its back-off or condition',
        fix,
      ),
    ]
  },
})

/** Entries of types and versions that no deployed consumer knows must not be forgotten. */
export const unknownTypes = defineCheck({
  check: 'unknown-types',
  scope: 'group',
  needs: ['byCondition'],
  look({ byCondition: { conditions } }) {
    const old = conditions.filter(
      ({ reason, oldestAgeMs = 0 }) => UNKNOWN_TYPES.includes(reason) && oldestAgeMs > MS_PER_UNIT.d,
    )
    if (old.length === 0) return []
    const entries = old.reduce((sum, condition) => sum + condition.entries, 0)
    const oldestMs = Math.max(...old.map(({ oldestAgeMs = 0 }) => oldestAgeMs))
    const what = old.map(({ reason, what, entries }) => `${what} (${reason}, ${formatNumber(entries)})`)
    return [
      warningResult(
        `${formatCount(entries, 'entry waits', 'entries wait')} for a consumer that knows the type and version, the oldest published ${formatDurationRoughly(oldestMs)} ago: ${listFirstNames(what)}`,
        "deploy a consumer that knows them; or, if nobody ever will, one with unrouted and newerVersion 'deadLetter'",
      ),
    ]
  },
})

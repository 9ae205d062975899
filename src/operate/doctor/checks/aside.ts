import { AGING } from '../../../core/keys.ts'
import { count, number, span, UNIT_MS } from '../../../core/words.ts'
import type { ConditionInspection } from '../../inspect/inspection.ts'
import type { Places } from '../aside-facts.ts'
import { check } from '../check.ts'
import type { Verdict } from '../finding.ts'
import { error, warning } from '../finding.ts'
import { parkedOf } from '../parked.ts'
import { list, word } from '../text.ts'

const REPAIR = 'the next claimer compares all of it and repairs, or run millrace doctor --repair'

/** Why entries wait that no deployed consumer can handle. */
const UNKNOWN_TYPES: readonly string[] = ['newer-version', 'unrouted']

/** Above `maxParked` pollers read nothing new. */
export const setAside = check({
  check: 'set-aside',
  scope: 'group',
  needs: ['consumers', 'byTime', 'byCondition'],
  look({ consumers, byTime, byCondition }, { consumer }) {
    const parked = parkedOf(consumers)
    if (!consumer || parked <= consumer.settings.maxParked) return []
    const [reason, entries] = mostOf(byTime.entries, byCondition.conditions)
    return [
      warning(
        `${count(parked, 'entry is', 'entries are')} set aside, above maxParked, ${number(consumer.settings.maxParked)}: pollers read nothing new; ` +
          `most of them, ${number(entries)}, wait ${reason}`,
        'end what they wait for (millrace status --details lists it), or raise maxParked',
      ),
    ]
  },
})

/** What fills the indexes most: the time that entries wait for, or the reason of conditions. */
function mostOf(timed: number, conditions: readonly ConditionInspection[]): readonly [reason: string, entries: number] {
  const sums = new Map([['for their time (retries and delays)', timed]])
  for (const { reason, entries } of conditions) {
    const words = `with reason "${reason}"`
    sums.set(words, (sums.get(words) ?? 0) + entries)
  }
  return [...sums].reduce((most, one) => (one[1] > most[1] ? one : most))
}

/** What is set aside comes back by an index only: what has no place in one stays where it is. */
export const index = check({
  check: 'index',
  scope: 'group',
  needs: ['places', 'notIndexes'],
  look({ places, notIndexes }, { stream, group }) {
    if (notIndexes.length > 0) return [ofOtherType(notIndexes, stream, group)]
    return places && !places.isHealing ? ofPlaces(places) : []
  },
})

function ofOtherType(keys: readonly string[], stream: string, group: string): Verdict {
  const [first = ''] = keys
  return error(
    `${list(keys)} ${keys.length === 1 ? 'is' : 'are'} no sorted set: what is set aside has no place there`,
    `RENAME ${word(first)} to another name; then ${repairOf(stream, group)}`,
  )
}

function ofPlaces({ parked, indexed, known }: Places): Verdict[] {
  if (parked > indexed) {
    const entries = count(parked, 'entry is', 'entries are')
    const what = `${entries} set aside, but the indexes have ${number(indexed)}: what has no place there does not come back`
    return [error(what, REPAIR)]
  }
  // what was compared and is still so is what somebody else acknowledged: it goes when it is due
  if (parked === indexed || parked - indexed === known) return []
  return [
    error(
      `The indexes have ${count(indexed, 'place')}, but only ${count(parked, 'entry is', 'entries are')} set aside: somebody acknowledges or claims under the name "parked"`,
      `see who does; ${REPAIR}`,
    ),
  ]
}

function repairOf(stream: string, group: string): string {
  return `millrace doctor --repair --stream ${word(stream)} --group ${word(group)}`
}

/** What an index refused comes back by its age, later than it should. */
export const aging = check({
  check: 'aging',
  scope: 'group',
  needs: ['consumers', 'notIndexes'],
  look({ consumers, notIndexes }, { keys }) {
    const entries = consumers.find(({ name }) => name === AGING)?.pending ?? 0
    if (entries === 0 || !keys) return []
    const [key] = notIndexes
    const why = key === undefined ? 'a right is missing there' : `"${key}" is no sorted set`
    const fix =
      key === undefined
        ? `give poller and claimer +zadd on ${word(keys.due)} and ${word(keys.waiting)} (millrace plan --acl MODULE prints their rules)`
        : `RENAME ${word(key)} to another name`
    return [
      warning(
        `${count(entries, 'entry lies', 'entries lie')} under "${AGING}": an index refused ${entries === 1 ? 'it' : 'them'}, as ${why}; ` +
          'a claimer takes up what has been there for minIdleMs, whatever its back-off or condition',
        fix,
      ),
    ]
  },
})

/** Entries of types and versions that no deployed consumer knows must not be forgotten. */
export const unknownTypes = check({
  check: 'unknown-types',
  scope: 'group',
  needs: ['byCondition'],
  look({ byCondition: { conditions } }) {
    const old = conditions.filter(
      ({ reason, oldestAgeMs = 0 }) => UNKNOWN_TYPES.includes(reason) && oldestAgeMs > UNIT_MS.d,
    )
    if (old.length === 0) return []
    const entries = old.reduce((sum, condition) => sum + condition.entries, 0)
    const oldestMs = Math.max(...old.map(({ oldestAgeMs = 0 }) => oldestAgeMs))
    const what = old.map(({ reason, what, entries }) => `${what} (${reason}, ${number(entries)})`)
    return [
      warning(
        `${count(entries, 'entry waits', 'entries wait')} for a consumer that knows the type and version, the oldest published ${span(oldestMs)} ago: ${list(what)}`,
        "deploy a consumer that knows them; or, if nobody ever will, one with unrouted and newerVersion 'deadLetter'",
      ),
    ]
  },
})

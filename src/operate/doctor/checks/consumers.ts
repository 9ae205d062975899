import { AGING_CONSUMER, PARKED_CONSUMER } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly } from '../../../core/words.ts'
import { CLAIMER_SLOT_COUNT, isLeftOverConsumer, slotConsumerNames } from '../../../group/consumer-names.ts'
import type { ConsumerInfo } from '../../../group/redis/commands/xinfo-consumers.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { infoResult, warningResult } from '../finding.ts'
import { listFirstNames, quoteForShell } from '../text.ts'

/** Who has not read for that long is taken for dead. */
const DEAD_MS = 600_000

/** More names than that have nothing to do with replicas of a program: somebody makes one per process. */
const MANY = 20

/** Names that others gave: what they read never reaches our handlers, what they held they hold for ever. */
export const consumerNamesCheck = defineCheck({
  check: 'consumers',
  scope: 'group',
  needs: ['consumers'],
  look({ consumers: all }, { stream, group, consumer }) {
    const others = all.filter(({ name }) => !isOurs(name))
    const dead = others.filter(({ idleMs }) => idleMs >= DEAD_MS)
    const idle = dead.filter(({ pending }) => pending === 0)
    const remove = `XGROUP DELCONSUMER ${quoteForShell(stream)} ${quoteForShell(group)} <name>, only for names without pending entries: what is pending goes with its name`
    const verdicts: CheckResult[] = []
    if (consumer) verdicts.push(...ofStrangers(others.filter(({ idleMs }) => idleMs < DEAD_MS)))
    verdicts.push(
      ...ofDead(
        dead.filter(({ pending }) => pending > 0),
        remove,
      ),
    )
    if (idle.length > MANY)
      verdicts.push(
        warningResult(
          `${formatCount(idle.length, 'consumer name')} that nobody uses any more: ${listFirstNames(namesOf(idle))}; something makes a name for every process`,
          `read under stable names; remove these by ${remove}`,
        ),
      )
    else if (idle.length > 0)
      verdicts.push(
        infoResult(
          `${formatCount(idle.length, 'consumer name')} that nobody uses any more: ${listFirstNames(namesOf(idle))}`,
          remove,
        ),
      )
    return verdicts
  },
})

function ofStrangers(active: readonly ConsumerInfo[]): CheckResult[] {
  if (active.length === 0) return []
  return [
    warningResult(
      `Something else reads as the same group, under ${listFirstNames(namesOf(active))}: what it reads does not come to these handlers`,
      'give it a group of its own, or stop it',
    ),
  ]
}

function ofDead(dead: readonly ConsumerInfo[], remove: string): CheckResult[] {
  const [first] = dead
  if (!first) return []
  const pending = dead.reduce((sum, one) => sum + one.pending, 0)
  return [
    warningResult(
      `${formatCount(pending, 'entry is', 'entries are')} pending under names that are dead: ${listFirstNames(namesOf(dead))}; "${first.name}" last read ${formatDurationRoughly(first.idleMs)} ago`,
      `run the claimer, which takes them over after minIdleMs; then ${remove}`,
    ),
  ]
}

function isOurs(name: string): boolean {
  return (
    name === PARKED_CONSUMER ||
    name === AGING_CONSUMER ||
    slotConsumerNames('claimer', CLAIMER_SLOT_COUNT).includes(name) ||
    isLeftOverConsumer(name, 0)
  )
}

function namesOf(consumers: readonly ConsumerInfo[]): string[] {
  return consumers.map(({ name }) => name)
}

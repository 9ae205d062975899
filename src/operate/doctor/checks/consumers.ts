import { AGING, PARKED } from '../../../core/keys.ts'
import { count, span } from '../../../core/words.ts'
import { CLAIMER_SLOTS, isLeftOver, slotNames } from '../../../group/consumer-names.ts'
import type { ConsumerInfo } from '../../../group/redis/commands/xinfo-consumers.ts'
import { check } from '../check.ts'
import type { Verdict } from '../finding.ts'
import { info, warning } from '../finding.ts'
import { list, word } from '../text.ts'

/** Who has not read for that long is taken for dead. */
const DEAD_MS = 600_000

/** More names than that have nothing to do with replicas of a program: somebody makes one per process. */
const MANY = 20

/** Names that others gave: what they read never reaches our handlers, what they held they hold for ever. */
export const consumers = check({
  check: 'consumers',
  scope: 'group',
  needs: ['consumers'],
  look({ consumers: all }, { stream, group, consumer }) {
    const others = all.filter(({ name }) => !isOurs(name))
    const dead = others.filter(({ idleMs }) => idleMs >= DEAD_MS)
    const idle = dead.filter(({ pending }) => pending === 0)
    const remove = `XGROUP DELCONSUMER ${word(stream)} ${word(group)} <name>, only for names without pending entries: what is pending goes with its name`
    const verdicts: Verdict[] = []
    if (consumer) verdicts.push(...ofStrangers(others.filter(({ idleMs }) => idleMs < DEAD_MS)))
    verdicts.push(
      ...ofDead(
        dead.filter(({ pending }) => pending > 0),
        remove,
      ),
    )
    if (idle.length > MANY)
      verdicts.push(
        warning(
          `${count(idle.length, 'consumer name')} that nobody uses any more: ${list(namesOf(idle))}; something makes a name for every process`,
          `read under stable names; remove these by ${remove}`,
        ),
      )
    else if (idle.length > 0)
      verdicts.push(
        info(`${count(idle.length, 'consumer name')} that nobody uses any more: ${list(namesOf(idle))}`, remove),
      )
    return verdicts
  },
})

function ofStrangers(active: readonly ConsumerInfo[]): Verdict[] {
  if (active.length === 0) return []
  return [
    warning(
      `Something else reads as the same group, under ${list(namesOf(active))}: what it reads does not come to these handlers`,
      'give it a group of its own, or stop it',
    ),
  ]
}

function ofDead(dead: readonly ConsumerInfo[], remove: string): Verdict[] {
  const [first] = dead
  if (!first) return []
  const pending = dead.reduce((sum, one) => sum + one.pending, 0)
  return [
    warning(
      `${count(pending, 'entry is', 'entries are')} pending under names that are dead: ${list(namesOf(dead))}; "${first.name}" last read ${span(first.idleMs)} ago`,
      `run the claimer, which takes them over after minIdleMs; then ${remove}`,
    ),
  ]
}

function isOurs(name: string): boolean {
  return name === PARKED || name === AGING || slotNames('claimer', CLAIMER_SLOTS).includes(name) || isLeftOver(name, 0)
}

function namesOf(consumers: readonly ConsumerInfo[]): string[] {
  return consumers.map(({ name }) => name)
}

import { arePauses, isInEffect, type Pause, parsePauses, timeText, WHOLE_GROUP } from '../../../core/pauses.ts'
import { formatDuration } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { infoResult, warningResult } from '../finding.ts'
import { quoteForShell } from '../text.ts'

/** A pause that lasts for longer may have been forgotten. */
const LONG_MS = 86_400_000

/** What somebody paused: it is read, started and claimed by nobody. */
export const paused = defineCheck({
  check: 'paused',
  scope: 'group',
  needs: ['paused'],
  look({ paused: text }, { now, stream, group, keys, consumer }) {
    if (text === '') return []
    const inEffect = [...parsePauses(text)].filter(([, pause]) => isInEffect(pause, now))
    const words = `${quoteForShell(stream)} ${quoteForShell(group)}`
    const verdicts = inEffect.map(([type, pause]) =>
      verdictOn(type, pause, { now, words, isRouted: !consumer || consumer.routes.has(type) }),
    )
    if (arePauses(text)) return verdicts
    const unreadable = warningResult(
      'What is paused cannot be read, and is not paused',
      `see what is in it, and drop it: GETDEL ${quoteForShell(keys?.paused ?? '')}; then pause anew`,
    )
    return [unreadable, ...verdicts]
  },
})

interface Circumstances {
  readonly now: number
  /** The stream and the group, for a shell. */
  readonly words: string
  /** False: the consumer is known, and has no route for the type. */
  readonly isRouted: boolean
}

function verdictOn(type: string, { at, until, by, why }: Pause, { now, words, isRouted }: Circumstances): CheckResult {
  const isWhole = type === WHOLE_GROUP
  const what = isWhole ? 'The group' : quotedValue(type)
  const end = until === undefined ? '' : `, until ${timeText(until)}`
  const who = by === undefined ? '' : ` by ${quotedValue(by)}`
  const message = `${what} has been paused${who} for ${formatDuration(now - at)}${end}${why === undefined ? '' : `: ${quotedValue(why)}`}`
  const fix = `millrace resume ${words}${isWhole ? '' : ` --type ${quoteForShell(type)}`}`
  if (!isWhole && !isRouted)
    return warningResult(
      `${message}; the consumer has no route for it, so that nothing that it handles is paused`,
      `compare the type with those of the routes; if it is mistyped: ${fix}, then pause the right one`,
    )
  return now - at > LONG_MS ? warningResult(message, fix) : infoResult(message, fix)
}

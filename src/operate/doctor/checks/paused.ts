import { arePauses, isInEffect, type Pause, parsePauses, timeText, WHOLE_GROUP } from '../../../core/pauses.ts'
import { duration } from '../../../core/words.ts'
import { quoted } from '../../../errors.ts'
import { check } from '../check.ts'
import type { Verdict } from '../finding.ts'
import { info, warning } from '../finding.ts'
import { word } from '../text.ts'

/** A pause that lasts for longer may have been forgotten. */
const LONG_MS = 86_400_000

/** What somebody paused: it is read, started and claimed by nobody. */
export const paused = check({
  check: 'paused',
  scope: 'group',
  needs: ['paused'],
  look({ paused: text }, { now, stream, group, keys }) {
    if (text === '') return []
    const inEffect = [...parsePauses(text)].filter(([, pause]) => isInEffect(pause, now))
    const verdicts = inEffect.map(([type, pause]) => verdictOn(type, pause, now, `${word(stream)} ${word(group)}`))
    if (arePauses(text)) return verdicts
    const unreadable = warning(
      'What is paused cannot be read, and is not paused',
      `see what is in it, and drop it: GETDEL ${word(keys?.paused ?? '')}; then pause anew`,
    )
    return [unreadable, ...verdicts]
  },
})

function verdictOn(type: string, { at, until, by, why }: Pause, now: number, words: string): Verdict {
  const isWhole = type === WHOLE_GROUP
  const what = isWhole ? 'The group' : quoted(type)
  const end = until === undefined ? '' : `, until ${timeText(until)}`
  const who = by === undefined ? '' : ` by ${quoted(by)}`
  const message = `${what} has been paused${who} for ${duration(now - at)}${end}${why === undefined ? '' : `: ${quoted(why)}`}`
  const fix = `millrace resume ${words}${isWhole ? '' : ` --type ${word(type)}`}`
  return now - at > LONG_MS ? warning(message, fix) : info(message, fix)
}

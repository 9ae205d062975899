import { formatCount } from '../core/words.ts'
import { type Resumed, resume } from '../operate/pause/pause.ts'
import { confirmedText, noteRoute, openGroup, whatOf } from './pause.ts'
import { RESUME_USAGE, readResumeOptions } from './pause-options.ts'
import { pauseText } from './pause-text.ts'
import { printableJson } from './text/printable.ts'

/**
 * `millrace resume`: resumes what was paused.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {Error} There is no such group, or the server refused or could not be reached.
 */
export async function run(args: readonly string[]): Promise<void> {
  const options = readResumeOptions(args)
  if (options === undefined) return console.log(RESUME_USAGE)
  const { group, type, maxAgeMs, json } = options
  const { redis, members } = await openGroup('resume', options)
  try {
    for (const { stream, consumer } of members) {
      const what = whatOf({ ...options, stream })
      const resumed = await resume(consumer ?? { stream, group }, {
        redis,
        ...(type !== undefined && { type }),
        ...(maxAgeMs !== undefined && { maxAgeMs }),
      })
      const row = resumed ?? { was: null }
      if (json) console.log(printableJson(members.length > 1 ? { stream, ...row } : row))
      else if (resumed) for (const line of resumedLines(resumed, what)) console.log(line)
      else console.error(`Not paused: ${what}`)
      if (!resumed) process.exitCode = 1
    }
    noteRoute(members[0]?.consumer, type)
  } finally {
    await redis.close()
  }
}

function resumedLines(
  { was, waiting, unread, expiring, isMoreExpiring, isConfirmed }: Resumed,
  what: string,
): string[] {
  const lines = [`Resumed ${what}, paused ${pauseText(was, Date.now())}${confirmedText(isConfirmed)}`]
  const due = `${formatCount(waiting, 'entry waits', 'entries wait')} for it`
  lines.push(unread === undefined ? due : `${due}, and ${formatCount(unread, 'is', 'are')} not read yet`)
  if (expiring !== undefined)
    lines.push(
      `${isMoreExpiring ? 'At least ' : ''}${formatCount(expiring, 'entry is', 'entries are')} too old, and will expire`,
    )
  return lines
}

import { formatCount } from '../core/words.ts'
import type { Consumer } from '../define/consumer.ts'
import type { Connection } from '../group/connection.ts'
import { closeBreakers, type OpenBreaker } from '../operate/pause/breakers.ts'
import { type PauseSource, type Resumed, resume } from '../operate/pause/pause.ts'
import { confirmedText, noteRoute, openGroup, whatOf } from './pause.ts'
import { RESUME_USAGE, type ResumeOptions, readResumeOptions } from './pause-options.ts'
import { pauseText } from './pause-text.ts'
import { printableJson, printableName } from './text/printable.ts'

/**
 * `millrace resume`: resumes what was paused.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {Error} There is no such group, or the server refused or could not be reached.
 */
export async function run(args: readonly string[]): Promise<void> {
  const options = readResumeOptions(args)
  if (options === undefined) return console.log(RESUME_USAGE)
  const { group, type, maxAgeMs, json, breaker } = options
  const { redis, members, gates } = await openGroup('resume', options)
  try {
    if (breaker) {
      await close(options, redis, gates, members[0]?.consumer)
      return
    }
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

async function close(
  options: ResumeOptions,
  redis: Connection,
  gates: PauseSource,
  consumer: Consumer | undefined,
): Promise<void> {
  const { type, json } = options
  const closed = await closeBreakers(gates, { redis, ...(type !== undefined && { type }) })
  if (json) console.log(printableJson(closed))
  else if (closed.length === 0) console.error(`No circuit breaker is open: ${whatOf(options)}`)
  else for (const one of closed) console.log(closedLine(one))
  if (closed.length === 0) process.exitCode = 1
  noteRoute(consumer, type)
}

function closedLine({ eventType, openedAt, error }: OpenBreaker): string {
  return `Closed the circuit breaker of ${printableName(eventType)}, open since ${new Date(openedAt).toISOString()}: ${printableName(error)}`
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

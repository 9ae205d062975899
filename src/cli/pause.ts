import { userInfo } from 'node:os'
import { sharedStream } from '../core/keys.ts'
import type { Consumer } from '../define/consumer.ts'
import { type Paused, pause } from '../operate/pause/pause.ts'
import { listAbsentNames } from './absent-names.ts'
import { PAUSE_USAGE, readPauseOptions } from './pause-options.ts'
import { pauseText } from './pause-text.ts'
import { connectInspectionTargets, streamsOf } from './targets.ts'
import { printableJson, printableName } from './text/printable.ts'
import { UsageError } from './usage-error.ts'

/**
 * `millrace pause`: pauses a group, or an event type of it.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {Error} There is no such group, `--until` is over, or the server refused or could not be reached.
 */
export async function run(args: readonly string[]): Promise<void> {
  const options = readPauseOptions(args)
  if (options === undefined) return console.log(PAUSE_USAGE)
  const { type, until, why, by, json } = options
  const { redis, members } = await openGroup('pause', options)
  try {
    for (const { stream, consumer } of members) {
      const paused = await pause(consumer ?? { stream, group: options.group }, {
        redis,
        ...(type !== undefined && { type }),
        ...(until !== undefined && { until }),
        ...(why !== undefined && { why }),
        ...(by !== undefined && { by }),
        ...defaultBy(),
      })
      if (json) console.log(printableJson(members.length > 1 ? { stream, ...paused } : paused))
      else for (const line of pausedLines(paused, whatOf({ ...options, stream }))) console.log(line)
    }
    noteRoute(members[0]?.consumer, type)
    if (type !== undefined && options.module === undefined)
      console.error(`--module FILE says whether its consumer has a route for ${printableName(type)}`)
  } finally {
    await redis.close()
  }
}

function pausedLines({ pause, before, isConfirmed }: Paused, what: string): string[] {
  // the first pause is of now, by the server's clock
  const now = before ? Date.now() : pause.at
  const lines = [`Paused ${what}: ${pauseText(pause, now)}${confirmedText(isConfirmed)}`]
  return before ? [...lines, `It was paused already ${pauseText(before, now)}`] : lines
}

function defaultBy(): { defaultBy?: string } {
  try {
    const { username } = userInfo()
    return username === '' ? {} : { defaultBy: username }
  } catch {
    return {} // there may be no such user, as in a container
  }
}

interface Which {
  readonly stream: string
  readonly group: string
  readonly type?: string | undefined
  readonly module?: string | undefined
  readonly priorities?: string | undefined
  readonly redis?: string | undefined
}

/** A connection, which must be closed; and the stream, or those of a set, each with the consumer of that group if a module is given. @throws {UsageError} The module has none. @throws {Error} Without a module: the server has none. */
export async function openGroup(command: string, { stream, group, module, priorities, redis: url }: Which) {
  const modules = module === undefined ? [] : [module]
  const targets = { redis: url, group, ...(priorities !== undefined && { stream: [stream], priorities }) }
  const { redis, consumers, sets } = await connectInspectionTargets(command, modules, targets)
  const members = streamsOf([stream], sets).map((one) => ({
    stream: one,
    consumer: consumers.find((consumer) => consumer.stream === one),
  }))
  // whose circuit breakers they are: a set's are of none of its streams
  const set = sets.find(({ name }) => name === stream)
  const gates = members[0]?.consumer ?? { stream: set ? sharedStream(set.name) : stream, group }
  const names = { redis, streams: members.map((member) => member.stream), sets, group }
  const [absent] = module === undefined ? await listAbsentNames(names) : []
  if (absent === undefined && (module === undefined || members.every(({ consumer }) => consumer)))
    return { redis, members, gates }
  await redis.close()
  if (absent !== undefined) throw new Error(`millrace ${command}: ${absent}`)
  throw new UsageError(`millrace ${command}: no consumer of stream ${printableName(stream)} in ${module}`)
}

/** What of a stream a command was about. */
export function whatOf({ stream, group, type }: Which): string {
  const whole = `group ${printableName(group)} of ${printableName(stream)}`
  return type === undefined ? whole : `${printableName(type)} in ${whole}`
}

export function confirmedText(isConfirmed: boolean | undefined): string {
  if (isConfirmed === undefined) return ''
  return isConfirmed ? ' (confirmed by a replica)' : ' (not confirmed by a replica)'
}

/** The server knows no types: only a consumer shows that one may be mistyped. */
export function noteRoute(consumer: Consumer | undefined, type: string | undefined): void {
  if (consumer && type !== undefined && !consumer.routes.has(type))
    console.error(`The consumer has no route for ${printableName(type)}`)
}

import { envelopeCodec } from '../core/codec.ts'
import { createOperatorSender } from '../group/redis/redis-connection.ts'
import { listAbsentNames, type TypedNames } from './absent-names.ts'
import { followStream } from './follow-stream.ts'
import { createTailLineFormatter, readTailedEntry, type TailedEntry, tailedEntryJson } from './tail-line.ts'
import { readTailOptions, TAIL_USAGE, type TailOptions } from './tail-options.ts'
import { connectInspectionTargets } from './targets.ts'
import { printLine } from './text/print.ts'
import { printable, printableName } from './text/printable.ts'
import { UsageError } from './usage-error.ts'

/**
 * `millrace tail`: prints a stream's entries as they come, until the signal or enough of them.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {MillraceError} The server cannot be reached, or refuses.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = readTailOptions(args)
  if (options.help) return console.log(TAIL_USAGE)
  const { redis, streams, sets, consumers } = await connectInspectionTargets('tail', options.modules, options)
  const enough = new AbortController()
  const until = AbortSignal.any([signal, enough.signal])
  try {
    const set = sets.find((one) => streams.every((stream) => one.streams.includes(stream)))
    if (streams.length !== 1 && !(set && streams.length === set.streams.length))
      throw new UsageError(`millrace tail: one --stream must be named, got ${streams.length}`)
    if (consumers.length === 0) await noteAbsentNames({ redis, streams, sets }, options)
    const columns = createTailLineFormatter(options.payload)
    const lineOf = (stream: string, entry: TailedEntry) => {
      const of = streams.length > 1 ? stream : undefined
      if (options.json) return tailedEntryJson(entry, options.payload, of)
      return of === undefined ? columns(entry) : `${printableName(of)}  ${columns(entry)}`
    }
    const onTrouble = ({ message }: Error) => console.error(`${printable(message)}; trying again`)
    let left = options.count
    const follow = async (stream: string) => {
      const codec = consumers.find((consumer) => consumer.stream === stream)?.codec ?? envelopeCodec
      const sender = createOperatorSender('follow a stream', redis)
      const { start, toEnd } = options
      for await (const entries of followStream({ sender, stream, start, toEnd, signal: until, onTrouble })) {
        const tailed = entries.map((entry) => readTailedEntry(entry, codec))
        const wanted = tailed.filter((entry) => isWanted(entry, options)).slice(0, left)
        left -= wanted.length
        for (const entry of wanted) await printLine(lineOf(stream, entry), signal)
        if (left <= 0) return enough.abort()
      }
    }
    await Promise.all(streams.map(follow))
  } finally {
    enough.abort()
    await redis.close()
  }
}

/** What is yet to come is waited for; what is to have an end must be there. */
async function noteAbsentNames(names: TypedNames, { toEnd }: TailOptions): Promise<void> {
  const [absent] = await listAbsentNames(names)
  if (absent === undefined) return
  if (toEnd) throw new Error(`millrace tail: ${absent}`)
  console.error(`millrace tail: ${absent}; waiting for it`)
}

function isWanted({ event }: TailedEntry, { types, eventIds }: TailOptions): boolean {
  if (types.size > 0 && !(event && types.has(event.type))) return false
  return eventIds.size === 0 || (event?.eventId !== undefined && eventIds.has(event.eventId))
}

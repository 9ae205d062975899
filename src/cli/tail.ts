import { envelopeCodec } from '../core/codec.ts'
import { createOperatorSender } from '../group/redis/redis-connection.ts'
import { followStream } from './follow-stream.ts'
import { createTailLineFormatter, readTailedEntry, type TailedEntry, tailedEntryJson } from './tail-line.ts'
import { readTailOptions, TAIL_USAGE, type TailOptions } from './tail-options.ts'
import { connectInspectionTargets } from './targets.ts'
import { printLine } from './text/print.ts'
import { printable } from './text/printable.ts'
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
  const { redis, streams, consumers } = await connectInspectionTargets('tail', options.modules, options)
  try {
    const [stream, ...others] = streams
    if (stream === undefined || others.length > 0)
      throw new UsageError(`millrace tail: one --stream must be named, got ${streams.length}`)
    const codec = consumers.find((consumer) => consumer.stream === stream)?.codec ?? envelopeCodec
    const lineOf = options.json
      ? (entry: ReturnType<typeof readTailedEntry>) => tailedEntryJson(entry, options.payload)
      : createTailLineFormatter(options.payload)
    const onTrouble = ({ message }: Error) => console.error(`${printable(message)}; trying again`)
    const pages = followStream({
      sender: createOperatorSender('follow a stream', redis),
      stream,
      start: options.start,
      toEnd: options.toEnd,
      signal,
      onTrouble,
    })
    let left = options.count
    for await (const entries of pages) {
      const tailed = entries.map((entry) => readTailedEntry(entry, codec))
      const wanted = tailed.filter((entry) => isWanted(entry, options))
      for (const entry of wanted.slice(0, left)) await printLine(lineOf(entry), signal)
      left -= wanted.length
      if (left <= 0) return
    }
  } finally {
    await redis.close()
  }
}

function isWanted({ event }: TailedEntry, { types, eventIds }: TailOptions): boolean {
  if (types.size > 0 && !(event && types.has(event.type))) return false
  return eventIds.size === 0 || (event?.eventId !== undefined && eventIds.has(event.eventId))
}

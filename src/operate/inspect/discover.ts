import { RedisReplyError } from '../../errors.ts'
import { parseScan, scan } from '../../group/redis/commands/scan.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { failuresIfSomeAnswered } from '../../group/redis/some-answered.ts'

/** Keys that one SCAN inspects, and those that a search inspects in all. */
const KEYS = { aCall: 1_000, inAll: 100_000 }

/**
 * Finds the streams of a server, of a cluster those of all its nodes, in the order of their names.
 *
 * @returns `incomplete`: why there may be more of them.
 * @throws {RedisReplyError} The server refuses SCAN.
 */
export async function discoverStreams(
  sender: CallSender,
  maxStreams: number,
): Promise<{ streams: string[]; incomplete: string | undefined }> {
  const masters = await sender.masters()
  const found = await searched(masters, maxStreams)
  const streams = [...new Set(found.flatMap((node) => node.streams))].sort()
  const incomplete = found.map((node) => node.incomplete).find((reason) => reason !== undefined)
  if (streams.length <= maxStreams) return { streams, incomplete }
  return { streams: streams.slice(0, maxStreams), incomplete: `stopped after ${maxStreams} streams` }
}

/** A node that is gone hides only its own streams. @throws {RedisConnectionError} No node answers. */
async function searched(masters: readonly CallSender[], maxStreams: number) {
  const ends = await Promise.allSettled(masters.map((master) => scanNode(master, maxStreams)))
  const failures = failuresIfSomeAnswered(ends)
  return ends.map((end, at) =>
    end.status === 'fulfilled'
      ? end.value
      : { streams: [], incomplete: `a node did not answer: ${failures[at]?.message}` },
  )
}

async function scanNode(sender: CallSender, maxStreams: number) {
  const found = new Set<string>()
  let incomplete: string | undefined
  let cursor = '0'
  let looked = 0
  do {
    const page = await pageAt(sender, cursor)
    for (const key of page.keys) found.add(key)
    looked += KEYS.aCall
    cursor = page.cursor
    if (cursor === '0') break
    if (found.size >= maxStreams) incomplete = `stopped after ${maxStreams} streams`
    else if (looked >= KEYS.inAll) incomplete = `stopped after about ${KEYS.inAll} keys`
  } while (incomplete === undefined)
  return { streams: [...found], incomplete }
}

/** @throws {RedisReplyError} The server refuses SCAN. */
async function pageAt(sender: CallSender, cursor: string) {
  try {
    return parseScan(await sender.call(scan(cursor, KEYS.aCall)))
  } catch (cause) {
    if (!(cause instanceof RedisReplyError)) throw cause
    throw new RedisReplyError(`Cannot search for streams, name them instead: ${cause.message}`, { cause })
  }
}

import { slotPrefix } from '../core/keys.ts'
import { quotedValue, RedisReplyError } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { createOperatorSender } from '../group/redis/redis-connection.ts'
import type { CallSender } from '../group/redis/sender.ts'
import { askQuestions } from '../operate/ask.ts'
import { listFirstNames } from '../operate/doctor/text.ts'
import { discoverStreams } from '../operate/inspect/discover.ts'
import type { NamedSet } from '../operate/inspect/set-totals.ts'
import { groupsQuestion, readStreamAbsence } from '../operate/questions.ts'
import { printable } from './text/printable.ts'

/** Names that somebody typed, and where they should be. */
export interface TypedNames {
  readonly redis: Connection
  /** Also those of named sets. */
  readonly streams: readonly string[]
  /** A stream of these may be missing, as long as another one is there. */
  readonly sets: readonly NamedSet[]
  readonly group?: string | undefined
}

/**
 * Says which streams and groups that somebody typed the server does not have, and which names may be meant.
 *
 * @returns A sentence for each; none: all are there, or the server does not report it.
 * @throws {RedisConnectionError} No reply came.
 */
export async function listAbsentNames({ redis, streams, sets, group }: TypedNames): Promise<readonly string[]> {
  const sender = createOperatorSender('find streams', redis)
  const wholeSets = sets.filter((set) => set.streams.every((stream) => streams.includes(stream)))
  const alone = streams.filter((stream) => !wholeSets.some((set) => set.streams.includes(stream)))
  const targets = [...wholeSets, ...alone.map((stream) => ({ name: stream, streams: [stream] }))]
  const sentences = await Promise.all(targets.map((target) => absenceOf(sender, target, group)))
  return sentences.filter((sentence) => sentence !== undefined).map(printable)
}

async function absenceOf(
  sender: CallSender,
  { name, streams }: NamedSet,
  group: string | undefined,
): Promise<string | undefined> {
  const told = await Promise.all(streams.map((stream) => groupsIn(sender, stream)))
  if (told.includes('unknown')) return undefined
  const found = told.filter((groups) => typeof groups !== 'string')
  if (found.length === 0) return `${missingStream(name, streams)}; ${await hintFor(sender, name)}`
  const groups = [...new Set(found.flat())]
  if (group === undefined || groups.includes(group)) return undefined
  const others = groups.length === 0 ? 'it has none' : `it has ${listFirstNames(groups)}`
  return `the group must exist on ${quotedValue(name)}, got ${quotedValue(group)}: its poller makes it when it first runs; ${others}`
}

function missingStream(name: string, streams: readonly string[]): string {
  if (streams.length === 1) return `the stream must exist, got ${quotedValue(name)}`
  return `one of the streams of ${quotedValue(name)} must exist, got ${listFirstNames(streams)}`
}

/** The names of a stream's groups. */
async function groupsIn(sender: CallSender, stream: string): Promise<readonly string[] | 'missing' | 'unknown'> {
  const { groups } = await askQuestions(sender, { groups: groupsQuestion(stream) })
  if ('value' in groups) return groups.value.map(({ name }) => name)
  return readStreamAbsence(groups.refusal) === 'missing' ? 'missing' : 'unknown'
}

/** Streams of a server that are searched for a name. */
const MOST_STREAMS = 1_000

async function hintFor(sender: CallSender, name: string): Promise<string> {
  const streams = await discoverStreams(sender, MOST_STREAMS).catch((error: unknown) => {
    if (error instanceof RedisReplyError) return { streams: [] }
    throw error
  })
  const members = streams.streams.filter((stream) => isMemberOf(name, stream))
  if (members.length > 0)
    return `there are ${listFirstNames(members)}: if they are a set, --priorities must say how they end, the highest first`
  const similar = streams.streams.filter((stream) => withoutBraces(stream) === withoutBraces(name))
  if (similar.length > 0) return `there is ${listFirstNames(similar)}`
  return 'millrace status lists those that there are'
}

/** Whether a stream may be one of a set, as `prioritized` names them; a group's dead letters have one part more. */
function isMemberOf(name: string, stream: string): boolean {
  const prefix = `${prefixOf(name)}:`
  return stream.startsWith(prefix) && /^[\w-]+$/.test(stream.slice(prefix.length))
}

function prefixOf(name: string): string {
  try {
    return slotPrefix(name)
  } catch {
    return name // no keys can lie beside it
  }
}

function withoutBraces(name: string): string {
  return name.replace(/[{}]/g, '')
}

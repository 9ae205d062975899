import { formatNumber } from '../core/words.ts'
import type { Consumer } from '../define/consumer.ts'
import { MIN_APART_BYTES } from '../group/redis/scripts/delayed-pieces.ts'

/** What lies in the server's memory of a stream and its groups; each is counted by itself. */
export type MemoryPart = 'entries' | 'pending' | 'setAside' | 'markers' | 'delays' | 'deadLetters'

export type MemoryCounts = Readonly<Record<MemoryPart, number>>

/** How many there are of a part, and the bytes of one of them. */
export interface PartSize {
  readonly count: number
  readonly bytesEach: number
}

export type MemoryParts = Readonly<Record<MemoryPart, PartSize>>

/** A setting that says how much of something there is. */
export interface MemorySetting {
  /** As its option is called. */
  readonly name: string
  readonly value: number
  /** What is there by it. */
  readonly part: MemoryPart
  readonly bytes: number
}

/** What of maxmemory may be in use: the rest is for buffers of clients and replicas, and for a busy hour. */
export const FULL = 0.9

/** Lowering what takes less than this part changes little. */
const SMALL = 0.05

/** A node of a stream takes no more than these by default: stream-node-max-bytes and stream-node-max-entries. */
const NODE_BYTES = 4_096
const NODE_ENTRIES = 100
/** What the radix tree takes of a node, and what a node says of itself and of its first entry. */
const NODE_OVERHEAD_BYTES = 62
const NODE_HEAD_BYTES = 25
/** What a node takes of an entry beside its names and values: its id, its counts, and the lengths of five values. */
const PACKED_BYTES = 21
/** Names that an entry of ours has: eventId, eventType, producer, occurredAt, payload. A node has them once. */
const NAMES_BYTES = 41

/** Measured on Redis 7.0 with its own allocator; test/operate/sizing.full.test.ts has how. A group and one of its consumers list each pending entry. */
const PENDING_BYTES = 160
/** A place in one of the indexes: a member of a sorted set. */
const PLACE_BYTES = 108
/** A place in order: a member of a sorted set and a field of a hash, both with the name of a key of 36 bytes, as a UUID has. First of their keys have one place less, a field more, and what they failed with. */
const PLACE_IN_ORDER_BYTES = 400
/** A key whose name has some sixty bytes, its text, and when it expires. */
const MARKER_BYTES = 225
/** Of a delayed event: its place in the index by event id. */
const DELAY_PLACE_BYTES = 20
/** Names of an entry's fields that a delayed event does not have, less what it has beside. */
const DELAY_SAVED_BYTES = 20
/** Of one with a large value, which is kept apart: its place, its body without the value, and what stays unused. */
const DELAY_APART_BYTES = 115
/** What a page of other delayed events holds on average, what it takes beside, and how much of its memory stays unused. */
const DELAY_PAGE_BYTES = 5_900
const DELAY_PAGE_OVERHEAD_BYTES = 200
const DELAY_PAGE_ROUNDING = 1.09
/** The fields that come before an entry's own: their values without the error, and their names. */
const LETTER_HEAD_BYTES = 165
const LETTER_NAMES_BYTES = 160
/** Assumed: an error's name, message and stack of some ten lines. */
const ERROR_BYTES = 770

/** What MEMORY USAGE of Redis counts too many of each pending entry: it takes a radix tree's nodes for some seven times as large as they are. Valkey 9 does not. */
const OVERCOUNTED_PENDING_BYTES = 980

/**
 * Bytes of one of each, for entries whose names and values have so many bytes.
 *
 * @param inOrder The part of what is set aside that waits in order, or has others wait behind it.
 */
export function bytesEach(entryBytes: number, inOrder = 0): Readonly<Record<MemoryPart, number>> {
  return {
    entries: packedBytes(entryBytes, NAMES_BYTES),
    pending: PENDING_BYTES,
    setAside: PENDING_BYTES + PLACE_BYTES + inOrder * (PLACE_IN_ORDER_BYTES - PLACE_BYTES),
    markers: MARKER_BYTES,
    delays: delayedBytes(Math.max(0, entryBytes - DELAY_SAVED_BYTES)),
    deadLetters: packedBytes(
      entryBytes + LETTER_HEAD_BYTES + LETTER_NAMES_BYTES + ERROR_BYTES,
      NAMES_BYTES + LETTER_NAMES_BYTES,
    ),
  }
}

/**
 * What counts come to, for entries of one size.
 *
 * @param entryBytes Bytes of an entry's names and values, as `analyze` counts them.
 * @param inOrder As `bytesEach` has it.
 */
export function memoryParts(counts: MemoryCounts, entryBytes: number, inOrder = 0): MemoryParts {
  const bytes = bytesEach(entryBytes, inOrder)
  const sizes = Object.entries(counts).map(([part, count]) => [part, { count, bytesEach: bytes[part as MemoryPart] }])
  return Object.fromEntries(sizes) as MemoryParts
}

/** Milliseconds for which the consumer's policies remember an event; 0 where none does. */
export function markerMsOf({ policies, keys }: Consumer): number {
  const kept = policies.flatMap(({ policy }) => policy.needs?.(keys).keys ?? [])
  return Math.max(0, ...kept.map(({ perEventMs = 0 }) => perEventMs))
}

export function partBytes({ count, bytesEach }: PartSize): number {
  return Math.round(count * bytesEach)
}

export function totalBytes(parts: MemoryParts): number {
  return Object.values(parts).reduce((sum, part) => sum + partBytes(part), 0)
}

/**
 * The bytes of an entry in a stream, by what MEMORY USAGE says of it.
 *
 * @param usageBytes Of the stream, its groups included.
 * @param pending Of all groups together.
 * @param info What the server says of its version.
 * @returns `undefined` where pending entries make up most of it.
 */
export function measuredEntryBytes(
  usageBytes: number,
  length: number,
  pending: number,
  { valkey_version: valkey = '' }: { readonly valkey_version?: string },
): number | undefined {
  const isExact = Number.parseInt(valkey, 10) >= 9
  const bytes = usageBytes - pending * (PENDING_BYTES + (isExact ? 0 : OVERCOUNTED_PENDING_BYTES))
  return length > 0 && bytes >= usageBytes / 2 ? bytes / length : undefined
}

/**
 * How to get below so many bytes: the setting of what takes most is lowered, or all that take much are, or the server gets more.
 *
 * @param total Bytes in use, by settings or otherwise.
 */
export function fixOf(settings: readonly MemorySetting[], total: number, mostBytes: number): string {
  const least = `take a maxmemory of ${formatNumber(Math.ceil(total / FULL / 1_048_576))} MB or more`
  const large = settings.filter(({ bytes }) => bytes > SMALL * total).toSorted((a, b) => b.bytes - a.bytes)
  const [largest] = large
  if (!largest) return least
  const { part, name, value, bytes } = largest
  const fitting = roundDown(value * (1 - (total - mostBytes) / bytes))
  const lower =
    fitting > 0
      ? `lower ${name} from ${formatNumber(value)} to ${formatNumber(fitting)}`
      : `lower ${large.map((setting) => setting.name).join(', ')} to ${Math.floor((100 * mostBytes) / total)} % of what they are`
  return `${lower}, ${part === 'entries' ? 'keep large payloads elsewhere (claimCheck), ' : ''}or ${least}`
}

/** What a stream's nodes take of an entry: as many go into one as Redis lets in. */
function packedBytes(entryBytes: number, namesBytes: number): number {
  const names = Math.min(namesBytes, entryBytes / 2)
  const packed = entryBytes - names + PACKED_BYTES
  const head = NODE_HEAD_BYTES + names
  const further = Math.ceil((NODE_BYTES - entryBytes - head) / packed)
  const entries = Math.min(NODE_ENTRIES, Math.max(1, further))
  return (allocatedBytes(head + entries * packed) + NODE_OVERHEAD_BYTES) / entries
}

/** Of a delayed event, which shares a page with its neighbours, unless it is large. */
function delayedBytes(bytes: number): number {
  if (bytes > MIN_APART_BYTES) return bytes + DELAY_APART_BYTES
  return DELAY_PLACE_BYTES + bytes * (DELAY_PAGE_ROUNDING + DELAY_PAGE_OVERHEAD_BYTES / DELAY_PAGE_BYTES)
}

/** What the allocator gives for so many bytes: it has four sizes to each power of two. */
function allocatedBytes(bytes: number): number {
  const step = Math.max(16, 2 ** (Math.ceil(Math.log2(Math.max(16, bytes))) - 3))
  return Math.ceil(bytes / step) * step
}

/** To two digits. */
function roundDown(value: number): number {
  if (!(value >= 1)) return 0
  const step = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1)
  return Math.floor(value / step) * step
}

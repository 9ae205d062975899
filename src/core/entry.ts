import { quotedValue } from '../errors.ts'

/** A field's name or value: bytes where the client can carry them (TCP), exact text over REST. */
export type Bytes = Buffer | string

/** One field of an entry. Names may repeat; order is the stream's. */
export type Field = readonly [name: Bytes, value: Bytes]

/** One item of a stream. */
export interface Entry {
  /** `<milliseconds>-<sequence>`, both unsigned 64-bit integers in decimal. */
  readonly id: string
  readonly fields: readonly Field[]
}

/** An entry that a server may have answered. */
export interface AnsweredEntry extends Entry {
  /** Names and values in turn, where it came so: pairs are made only where somebody asks for them. */
  readonly namesAndValues?: readonly Bytes[] | undefined
}

export function namesAndValuesOf(entry: AnsweredEntry): readonly Bytes[] {
  return entry.namesAndValues ?? inTurn(entry.fields)
}

/** The names and values of pairs. A loop: `flat` takes several times as long. */
export function inTurn(fields: readonly Field[]): Bytes[] {
  const namesAndValues: Bytes[] = []
  for (const field of fields) namesAndValues.push(field[0], field[1])
  return namesAndValues
}

const ENTRY_ID = /^(\d+)(?:-(\d+))?$/
const MAX = 2n ** 64n - 1n
/** UTF-8 of one UTF-16 code unit. */
const MOST_BYTES_A_UNIT = 3

/**
 * The two numbers of an entry id; a missing sequence is 0.
 *
 * @throws {RangeError} Not an entry id.
 */
export function parseEntryId(id: string): { ms: bigint; seq: bigint } {
  const [, ms, seq = '0'] = ENTRY_ID.exec(id) ?? []
  const parsed = ms === undefined ? undefined : { ms: BigInt(ms), seq: BigInt(seq) }
  if (!parsed || parsed.ms > MAX || parsed.seq > MAX) {
    throw new RangeError(
      `Cannot read entry id: must be <ms>-<seq>, two unsigned 64-bit integers, got ${quotedValue(id)}`,
    )
  }
  return parsed
}

/** Negative if `a` is before `b`, 0 if they are the same id, positive if `a` is after `b`. */
export function compareEntryIds(a: string, b: string): number {
  const left = parseEntryId(a)
  const right = parseEntryId(b)
  return left.ms === right.ms ? compare(left.seq, right.seq) : compare(left.ms, right.ms)
}

/**
 * The first id after `id`.
 *
 * @throws {RangeError} `id` is the last one there can be.
 */
export function entryIdAfter(id: string): string {
  const { ms, seq } = parseEntryId(id)
  if (seq < MAX) return `${ms}-${seq + 1n}`
  if (ms < MAX) return `${ms + 1n}-0`
  throw new RangeError(`Cannot go past entry id ${id}: it is the last there can be`)
}

/** The last id before `id`; `0-0` has none and stays. */
export function entryIdBefore(id: string): string {
  const { ms, seq } = parseEntryId(id)
  if (seq > 0n) return `${ms}-${seq - 1n}`
  return ms > 0n ? `${ms - 1n}-${MAX}` : '0-0'
}

/** What two machines' clocks may differ by, in milliseconds, before an entry counts as one of the future. */
const SKEW_MS = 1_000

/** Milliseconds since an entry was published, by its id; `undefined` for an id that is ahead of the clock: its age is not known. */
export function entryAgeMs(id: string, now: number): number | undefined {
  const ageMs = now - Number.parseInt(id, 10)
  // neither is that of a clock that says no number
  return ageMs >= -SKEW_MS && ageMs < Infinity ? Math.max(0, ageMs) : undefined
}

/** Bytes of an entry's names and values. */
export function entryBytes(fields: readonly Field[]): number {
  let bytes = 0
  for (const field of fields) bytes += byteLength(field[0]) + byteLength(field[1])
  return bytes
}

/** Bytes of names and values in turn. */
export function bytesOf(namesAndValues: readonly Bytes[]): number {
  let bytes = 0
  for (let n = 0; n + 1 < namesAndValues.length; n += 2)
    bytes += byteLength(namesAndValues[n] as Bytes) + byteLength(namesAndValues[n + 1] as Bytes)
  return bytes
}

/** Bytes that they have at most: characters are counted in a fraction of the time. */
export function entryBytesUpperBound(fields: readonly Field[]): number {
  let units = 0
  for (const field of fields) units += field[0].length + field[1].length
  return MOST_BYTES_A_UNIT * units
}

function byteLength(bytes: Bytes): number {
  return typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}

import type { Bytes, Field } from '../entry.ts'
import { parseEntryId } from '../entry.ts'

/** An entry that was set aside, and why. What is not known is `undefined`. */
export interface DeadLetter {
  /** Its id in the dead-letter stream; the first part is the server's time, in milliseconds since 1970, at which it got there. */
  readonly id: string
  readonly stream: string
  readonly group: string
  /** The entry's own id, in `stream`. */
  readonly entryId: string
  readonly consumerName: string
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly schemaVersion: number | undefined
  /** A `DeadLetterReason`. */
  readonly reason: string
  /** What the last delivery failed with. Its texts may quote the payload. */
  readonly error: { readonly name: string; readonly message: string; readonly stack: string } | undefined
  readonly deliveryCount: number
  /** ISO 8601. */
  readonly lastDeliveredAt: string
  /** ISO 8601. */
  readonly failedAt: string
  readonly traceparent: string | undefined
  /** What `orderedBy` gave for the event; `undefined` without order or without a key. Of a long key its start, and a hash. */
  readonly orderingKey: string | undefined
  /** The entry's own fields. `undefined` where they were packed and their bytes did not survive the way, as over REST. */
  readonly fields: readonly Field[] | undefined
  readonly problem?: undefined
}

/** Something in a dead-letter stream that is no dead letter of ours. */
export interface UnreadableDeadLetter {
  readonly id: string
  /** What is wrong with it. */
  readonly problem: string
}

/** Reads an entry of a dead-letter stream: a head of names and values up to `fieldCount`, and then the entry's own pairs. */
export function parseDeadLetter(id: string, pairs: readonly Field[]): DeadLetter | UnreadableDeadLetter {
  const end = pairs.findIndex(([name]) => name.toString() === 'fieldCount')
  const head = new Map(pairs.slice(0, end + 1).map(([name, value]) => [name.toString(), value.toString()]))
  const own = pairs.slice(end + 1)
  const fieldCount = wholeNumber(head.get('fieldCount'))
  const problem = problemOf(head, fieldCount, own)
  if (problem !== undefined) return { id, problem }
  const text = (name: string) => head.get(name) ?? ''
  const known = (name: string) => head.get(name) || undefined
  const error = { name: text('errorName'), message: text('errorMessage'), stack: text('errorStack') }
  return {
    id,
    stream: text('originalStream'),
    group: text('group'),
    entryId: text('originalId'),
    consumerName: text('consumer'),
    eventId: known('eventId'),
    eventType: known('eventType'),
    schemaVersion: wholeNumber(head.get('schemaVersion')),
    reason: text('reason'),
    error: Object.values(error).some(Boolean) ? error : undefined,
    deliveryCount: wholeNumber(head.get('deliveryCount')) ?? 0,
    lastDeliveredAt: text('lastDeliveredAt'),
    failedAt: text('failedAt'),
    traceparent: known('traceparent'),
    orderingKey: known('orderingKey'),
    fields: own.length === fieldCount ? own : unpack(own[0]?.[1] ?? '', fieldCount as number),
  }
}

function problemOf(
  head: ReadonlyMap<string, string>,
  fieldCount: number | undefined,
  own: readonly Field[],
): string | undefined {
  for (const name of ['originalStream', 'originalId', 'group', 'fieldCount'])
    if (!head.get(name)) return `its field ${name} is missing`
  if (!isEntryId(head.get('originalId') ?? '')) return 'its originalId is no entry id'
  if (fieldCount === undefined) return 'its fieldCount is no whole number'
  const isPacked = own.length === 1 && own[0]?.[0].toString() === 'packed'
  return own.length === fieldCount || isPacked ? undefined : `its fieldCount is ${fieldCount}, and ${own.length} follow`
}

function isEntryId(id: string): boolean {
  try {
    parseEntryId(id)
    return true
  } catch {
    return false
  }
}

function wholeNumber(digits: string | undefined): number | undefined {
  return digits !== undefined && /^\d+$/.test(digits) ? Number(digits) : undefined
}

const COLON = 0x3a
/** Digits of the longest value there can be, 512 MB. */
const MAX_DIGITS = 9

/** Each name and value as its length in bytes, a colon, and its bytes; `undefined` if that does not come out even. */
function unpack(packed: Bytes, fieldCount: number): Field[] | undefined {
  const bytes = Buffer.from(packed as string)
  const values: Bytes[] = []
  for (let at = 0; at < bytes.length; ) {
    const colon = bytes.subarray(at, at + MAX_DIGITS + 1).indexOf(COLON)
    const length = wholeNumber(bytes.toString('latin1', at, at + colon))
    const start = at + colon + 1
    if (colon < 0 || length === undefined || start + length > bytes.length) return undefined
    at = start + length
    const value = bytes.subarray(start, at)
    values.push(typeof packed === 'string' ? value.toString() : value)
  }
  if (values.length !== 2 * fieldCount) return undefined
  return Array.from({ length: fieldCount }, (_, n) => [values[2 * n] as Bytes, values[2 * n + 1] as Bytes])
}

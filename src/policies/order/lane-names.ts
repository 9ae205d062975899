import type { DecodedEvent } from '../../core/codec.ts'
import { withOptionalTexts } from '../../core/codec.ts'
import { checkDecodedEvent } from '../../core/decoded-event.ts'
import type { Entry } from '../../core/entry.ts'
import { ignoreRejection } from '../../core/thenable.ts'
import type { Consumer } from '../../define/consumer.ts'
import { laneOfKey, ORDER_POLICY } from '../../group/ordering.ts'

/** What a key function sees of an event: all but its payload, as it stands in its entry. */
export type OrderedEvent = Omit<DecodedEvent, 'payload'>

/** Gives the key of an event; `undefined`: none. */
export type OrderingKey = (event: OrderedEvent) => string | undefined

/** Bytes of a key, at most. */
const LONGEST_KEY = 1_024

/**
 * The key of an event, checked.
 *
 * @throws {TypeError} It is no text of 1 byte to 1 KB.
 * @throws {unknown} What the function threw.
 */
export function orderingKeyOf(keyOf: OrderingKey, decoded: DecodedEvent): string | undefined {
  const { type, version, eventId } = decoded
  // members that are named: a rest pattern takes twice the time of all else that order does
  const key: unknown = keyOf(Object.freeze(withOptionalTexts({ type, version, eventId }, decoded)))
  if (key === undefined) return undefined
  if (typeof key === 'string' && key !== '' && Buffer.byteLength(key) <= LONGEST_KEY) return key
  ignoreRejection(key)
  throw new TypeError(
    `orderedBy must give a text of 1 byte to 1 KB, or undefined, got ${typeof key === 'string' ? `${Buffer.byteLength(key)} bytes` : typeof key}`,
  )
}

/** The lane of an entry without a key, which is alone in it. */
function ownLane(entryId: string): string {
  return `${ORDER_POLICY} ~${entryId}`
}

/** The lane of an entry; one of its own also where its key cannot be read, as it is dead-lettered once it starts. */
export function laneOfEntry(consumer: Consumer, keyOf: OrderingKey, entry: Entry): string {
  const key = orderingKeyOfEntry(consumer, keyOf, entry)
  return key === undefined ? ownLane(entry.id) : laneOfKey(key)
}

/** The key of an entry; `undefined`: none, or none that can be read. */
export function orderingKeyOfEntry(
  { codec, settings }: Consumer,
  keyOf: OrderingKey,
  { id, fields }: Entry,
): string | undefined {
  try {
    return orderingKeyOf(keyOf, checkDecodedEvent(codec.decode(fields, id), settings.maxEntryBytes))
  } catch (error) {
    ignoreRejection(error)
    return undefined
  }
}

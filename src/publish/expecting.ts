import type { Codec } from '../core/codec.ts'
import { entryBytes } from '../core/entry.ts'
import { wrongUseError } from '../core/options.ts'
import { quotedValue } from '../errors.ts'
import type { ExpectingEntry } from '../group/aggregates.ts'
import { MAX_AGGREGATE_BYTES, MAX_AGGREGATE_EVENTS, MAX_AGGREGATE_FIELDS } from '../group/aggregates.ts'
import type { Encoded } from './encode-events.ts'
import type { EventDraft } from './publication.ts'

/**
 * Whether events are published at versions of their aggregates.
 *
 * @throws {TypeError | RangeError} Some are and some are not, more than one step takes, or versions of one aggregate that do not follow each other.
 */
export function areExpecting(action: string, drafts: readonly EventDraft[]): boolean {
  const count = drafts.filter(({ expectedVersion }) => expectedVersion !== undefined).length
  if (count === 0) return false
  if (count < drafts.length)
    throw wrongUseError(action, 'all events must have expectedVersion, or none: they are published in one step')
  if (count > MAX_AGGREGATE_EVENTS)
    throw wrongUseError(
      action,
      `at most ${MAX_AGGREGATE_EVENTS} events with expectedVersion are published in one step, got ${count}`,
      RangeError,
    )
  const next = new Map<string, number>()
  for (const { options, expectedVersion = 0 } of drafts) {
    const { aggregateType, aggregateId } = options
    const aggregate = JSON.stringify([aggregateType, aggregateId])
    const version = next.get(aggregate) ?? expectedVersion
    if (version !== expectedVersion)
      throw wrongUseError(
        action,
        `expectedVersion of aggregate ${quotedValue(aggregateId)} must go up by one, from ${version - 1} to ${version}, got ${expectedVersion}`,
        RangeError,
      )
    next.set(aggregate, version + 1)
  }
  return true
}

/** Encoded events, and the versions at which they find their aggregates. @throws {TypeError | RangeError} Too many bytes or fields, or an entry that does not say its id. */
export function expectingEntries(
  action: string,
  codec: Codec | undefined,
  drafts: readonly EventDraft[],
  encoded: readonly Encoded[],
): readonly ExpectingEntry[] {
  const bytes = encoded.reduce((sum, fields) => sum + entryBytes(fields), 0)
  if (drafts.length > 1 && bytes > MAX_AGGREGATE_BYTES)
    throw wrongUseError(
      action,
      `events with expectedVersion must have at most ${MAX_AGGREGATE_BYTES} bytes together, got ${bytes}`,
      RangeError,
    )
  return drafts.map(({ options, eventId, expectedVersion = 0 }, n) => {
    const { aggregateType, aggregateId } = options
    const fields = encoded[n] ?? []
    if (fields.length > MAX_AGGREGATE_FIELDS)
      throw wrongUseError(
        action,
        `an event with expectedVersion must have at most ${MAX_AGGREGATE_FIELDS} fields, got ${fields.length}`,
        RangeError,
      )
    const idField = idFieldOf(codec, fields, eventId)
    if (idField < 0)
      throw wrongUseError(action, 'an event with expectedVersion needs a field for its eventId, by its codec')
    return { aggregateType, aggregateId, expectedVersion, idField, fields }
  })
}

/** Of a codec of one's own: which field it reads the id from, since others may hold the same text. */
function idFieldOf(codec: Codec | undefined, fields: Encoded, eventId: string): number {
  if (!codec) return fields.findIndex(([name]) => name === 'eventId')
  const others = [`${eventId}~`, sameFormAs(eventId)]
  const isRead = (n: number, name: string) =>
    others.some((other) => idIn(codec, fields.with(n, [name, other])) === other)
  return fields.findIndex(([name, value], n) => value === eventId && isRead(n, name))
}

/** Two of each kind of character, decimals and hexadecimals among them. */
const KINDS = [
  [/\d/, '01'],
  [/[a-z]/, 'ab'],
  [/[A-Z]/, 'AB'],
] as const

/** Another id, for a codec that takes none but UUIDs, digits or so many characters: the last one is another of its kind. */
function sameFormAs(eventId: string): string {
  const last = eventId.slice(-1)
  const [, two] = KINDS.find(([kind]) => kind.test(last)) ?? ['', '~_']
  return eventId.slice(0, -1) + (two.startsWith(last) ? two.slice(1) : two.slice(0, 1))
}

function idIn(codec: Codec, fields: Encoded): unknown {
  try {
    return codec.decode(fields, '0-1')?.eventId
  } catch {
    return undefined
  }
}

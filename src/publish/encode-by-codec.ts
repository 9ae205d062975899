import type { EncodableEvent, TextField, TwoWayCodec } from '../core/codec.ts'
import { UnwritableMemberError } from '../core/flat-members.ts'
import { wrongUseError } from '../core/options.ts'
import { schemaMemberNames } from '../core/schema-member-names.ts'
import { ignoreRejectionsWithin } from '../core/thenable.ts'
import type { EventDefinition } from '../define/event.ts'
import { quotedValue } from '../errors.ts'

/**
 * The fields that a publisher's codec, which may be a user's own, makes of an event.
 *
 * @throws {TypeError} It answered none.
 * @throws {unknown} What it threw. A member that it cannot write is named where it is one of the schema's.
 */
export function encodeByCodec(
  action: string,
  codec: TwoWayCodec,
  { type, payload: schema }: EventDefinition,
  event: EncodableEvent,
): readonly TextField[] {
  try {
    const answer: unknown = codec.encode(event)
    const fields = copyFields(answer)
    if (fields.length > 0 && fields.every(isTextField)) return fields
    ignoreRejectionsWithin(answer)
  } catch (error) {
    if (!(error instanceof UnwritableMemberError) || !schemaMemberNames(schema).has(error.member)) throw error
    throw new UnwritableMemberError(type, error.member, error.rule, true)
  }
  throw wrongUseError(
    action,
    `encode of its codec must answer [name, value] pairs, strings of whole characters, for ${quotedValue(type)}`,
  )
}

/** What a codec answers stays its own, and it may fill the same array for the next event. Holes, which `every` passes over, are `undefined` in the copy. */
function copyFields(answer: unknown): readonly unknown[] {
  if (!Array.isArray(answer)) return []
  return Array.from<unknown, unknown>(answer, (pair) => (Array.isArray(pair) ? Array.from<unknown>(pair) : pair))
}

function isTextField(pair: unknown): pair is TextField {
  return (
    Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string' && text.isWellFormed())
  )
}

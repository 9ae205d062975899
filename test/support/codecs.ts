import fc from 'fast-check'
import type { Codec } from '../../src/core/codec.ts'
import type { Field } from '../../src/core/entry.ts'

export const toBuffers = (fields: readonly Field[]): Field[] =>
  fields.map(([name, value]) => [Buffer.from(name as string), Buffer.from(value as string)])

/** As REST gives fields, and as TCP does. */
export const transports = [
  ['strings', (fields: readonly Field[]) => fields],
  ['Buffers', toBuffers],
] as const

/** The error that reading the fields throws. */
export function refusalOf(codec: Codec, fields: readonly Field[]): unknown {
  try {
    codec.decode(fields, '1-0')
  } catch (error) {
    return error
  }
  return undefined
}

/** Any text that has a UTF-8 form: control characters, emojis, U+FFFD and U+FEFF among them. */
export const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', '🦊', '👩‍👩‍👧‍👦', '\uFFFD', '\uFEFF', '\u0000', '__proto__', '\u2028', 'é'),
)
export const maybe = fc.option(anyText, { nil: undefined })

/** No byte of these is UTF-8. */
export const notUtf8 = [
  Buffer.from([0xff]),
  Buffer.from([0xc3]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xc0, 0x80]),
  Buffer.concat([Buffer.from('"\uFFFD'), Buffer.from([0x80]), Buffer.from('"')]),
]

/** Names of members, some of which codecs know. */
export const someName = fc.oneof(anyText, fc.constantFrom('items', 'meta', 'kind', 'trace_id', 'event_type'))
/** What JSON has, and what only looks like it. */
export const someValue = fc.oneof(
  anyText,
  fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown), // which has one 0
  fc.constantFrom('{', '[1]', '[draft]', '{"a":1}'),
)

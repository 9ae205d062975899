import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Codec, EnvelopeEvent } from '../../src/core/codec.ts'
import { encodeEnvelope, envelopeCodec, flatCodec } from '../../src/core/codec.ts'
import type { Field } from '../../src/core/entry.ts'
import { MalformedEntryError } from '../../src/errors.ts'

const toBuffers = (fields: readonly Field[]): Field[] =>
  fields.map(([name, value]) => [Buffer.from(name as string), Buffer.from(value as string)])

/** As REST gives fields, and as TCP does. */
const transports = [
  ['strings', (fields: readonly Field[]) => fields],
  ['Buffers', toBuffers],
] as const

/** The error that reading the fields throws. */
function refusalOf(codec: Codec, fields: readonly Field[]): unknown {
  try {
    codec.decode(fields, '1-0')
  } catch (error) {
    return error
  }
  return undefined
}

/** Any text that has a UTF-8 form: control characters, emojis, U+FFFD and U+FEFF among them. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', '🦊', '👩‍👩‍👧‍👦', '\uFFFD', '\uFEFF', '\u0000', '__proto__', '\u2028', 'é'),
)
const maybe = fc.option(anyText, { nil: undefined })

/** No byte of these is UTF-8. */
const notUtf8 = [
  Buffer.from([0xff]),
  Buffer.from([0xc3]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xc0, 0x80]),
  Buffer.concat([Buffer.from('"\uFFFD'), Buffer.from([0x80]), Buffer.from('"')]),
]

describe('encodeEnvelope()', () => {
  test('writes every field in its order', () => {
    const event: EnvelopeEvent = {
      payload: '{}',
      traceparent: '00-1-2-01',
      occurredAt: '2026-01-02T03:04:05.000Z',
      producer: 'shop',
      tenantId: 't-1',
      aggregateId: 'o-1',
      aggregateType: 'Order',
      version: 2,
      type: 'OrderPaid',
      eventId: 'e-1',
    }

    expect(encodeEnvelope(event)).toEqual([
      ['eventId', 'e-1'],
      ['eventType', 'OrderPaid'],
      ['schemaVersion', '2'],
      ['aggregateType', 'Order'],
      ['aggregateId', 'o-1'],
      ['tenantId', 't-1'],
      ['producer', 'shop'],
      ['occurredAt', '2026-01-02T03:04:05.000Z'],
      ['traceparent', '00-1-2-01'],
      ['payload', '{}'],
    ])
  })

  test('writes no version 1 and nothing that is absent', () => {
    expect(encodeEnvelope({ type: 'OrderPaid', version: 1, tenantId: undefined, payload: '1' })).toEqual([
      ['eventType', 'OrderPaid'],
      ['payload', '1'],
    ])
  })
})

describe.each(transports)('envelopeCodec, over %s', (_title, carry) => {
  test('reads back whatever was written', () => {
    const event = fc.record({
      type: anyText.filter((text) => text !== ''),
      version: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      payload: fc.jsonValue(),
      eventId: maybe,
      aggregateType: maybe,
      aggregateId: maybe,
      tenantId: maybe,
      producer: maybe,
      occurredAt: maybe,
      traceparent: maybe,
    })
    fc.assert(
      fc.property(event, ({ payload, ...rest }) => {
        const json = JSON.stringify(payload)
        const fields = carry(encodeEnvelope({ ...rest, payload: json }))
        expect(envelopeCodec.decode(fields, '1-0')).toEqual({ ...rest, payload: JSON.parse(json) as unknown })
      }),
    )
  })

  test('reads the fields in any order, and leaves alone those it does not know', () => {
    const fields: Field[] = [
      ['payload', '[1]'],
      ['', 'nameless'],
      ['colour', 'red'],
      ['colour', 'blue'],
      ['__proto__', '{}'],
      ['constructor', 'x'],
      ['eventtype', 'x'],
      ['eventType', 'OrderPaid'],
    ]

    expect(envelopeCodec.decode(carry(fields), '1-0')).toEqual({ type: 'OrderPaid', version: 1, payload: [1] })
  })

  test('keeps a member named __proto__ a member', () => {
    const fields: Field[] = [
      ['eventType', 'OrderPaid'],
      ['payload', '{"__proto__":{"isAdmin":true}}'],
    ]
    const { payload } = envelopeCodec.decode(carry(fields), '1-0')

    expect([Object.keys(payload as object), (payload as { isAdmin?: true }).isAdmin]).toEqual([
      ['__proto__'],
      undefined,
    ])
  })

  const type: Field = ['eventType', 'OrderPaid']
  const payload: Field = ['payload', '"secret"']
  const version = (value: string): Field => ['schemaVersion', value]
  const malformed: [fields: Field[], message: string][] = [
    [[], 'Field eventType is missing'],
    [[payload], 'Field eventType is missing'],
    [[['eventType', ''], payload], 'Field eventType is missing'],
    [[type], 'Field payload is missing'],
    [[type, payload, payload], 'Field payload must not repeat'],
    [[type, payload, type], 'Field eventType must not repeat'],
    [[['eventId', ''], ['eventId', ''], type, payload], 'Field eventId must not repeat'],
    [[type, ['payload', '']], 'Field "payload" must be JSON'],
    [[type, ['payload', 'secret']], 'Field "payload" must be JSON'],
    [[type, ['payload', '{"secret":']], 'Field "payload" must be JSON'],
    [[type, ['payload', '\uFEFF{}']], 'Field "payload" must be JSON'],
    [[type, ['payload', 'undefined']], 'Field "payload" must be JSON'],
    ...['', '0', '-1', '01', '1.5', '1e3', '0x1', ' 1', '1\n', 'secret', '٢'].map((text): [Field[], string] => [
      [type, payload, version(text)],
      'Schema version must be a whole number from 1',
    ]),
  ]
  test.each(malformed)('refuses %j', (fields, message) => {
    expect(refusalOf(envelopeCodec, carry(fields))).toEqual(new MalformedEntryError(message))
  })

  test('reads a version of any size', () => {
    const versions = ['1', '2', '9007199254740991', '99999999999999999999'].map(
      (text) => envelopeCodec.decode(carry([type, payload, version(text)]), '1-0').version,
    )

    expect(versions).toEqual([1, 2, Number.MAX_SAFE_INTEGER, 1e20])
  })
})

describe('envelopeCodec', () => {
  test('refuses bytes that are no UTF-8 in each of its fields', () => {
    const names = encodeEnvelope({
      type: 't',
      version: 2,
      payload: '',
      eventId: 'e',
      aggregateType: 'a',
      aggregateId: 'a',
      tenantId: 't',
      producer: 'p',
      occurredAt: 'o',
      traceparent: 't',
    }).map(([name]) => name as string)
    for (const name of names) {
      for (const bytes of notUtf8) {
        expect(refusalOf(envelopeCodec, [[Buffer.from(name), bytes]])).toEqual(
          new MalformedEntryError(`Field ${JSON.stringify(name)} must be UTF-8`),
        )
      }
    }
  })

  test('leaves bytes that are no UTF-8 alone in fields of others', () => {
    const fields: Field[] = [
      ...notUtf8.flatMap((bytes): Field[] => [
        [bytes, bytes],
        [Buffer.from('picture'), bytes],
      ]),
      ...toBuffers(encodeEnvelope({ type: 'OrderPaid', payload: 'null' })),
    ]

    expect(envelopeCodec.decode(fields, '1-0')).toEqual({ type: 'OrderPaid', version: 1, payload: null })
  })

  test('never shows a value in an error, whatever the fields are', () => {
    const name = fc.constantFrom('eventType', 'schemaVersion', 'payload', 'eventId', 'other')
    const value = fc.oneof(
      fc.constantFrom('', '1', '{}').map((text) => Buffer.from(text)),
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(`s3cr3t${text}`)),
      fc.uint8Array({ minLength: 1 }).map((bytes) => Buffer.concat([Buffer.from('s3cr3t'), bytes])),
    )
    const field = fc.tuple(
      name.map((text) => Buffer.from(text)),
      value,
    )
    fc.assert(
      fc.property(fc.array(field, { maxLength: 6 }), (fields) => {
        for (const codec of [envelopeCodec, flatCodec({ typeField: 'eventType', jsonFields: ['payload', 'other'] })]) {
          const error = refusalOf(codec, fields)
          if (error === undefined) continue
          expect(error).toBeInstanceOf(MalformedEntryError)
          expect(`${(error as Error).stack} ${String((error as Error).cause)}`).not.toContain('s3cr3t')
        }
      }),
    )
  })
})

describe.each(transports)('flatCodec(), over %s', (_title, carry) => {
  test('makes the payload of the fields, as strings', () => {
    const fields: Field[] = [
      ['event_type', 'OrderPaid'],
      ['orderId', 'o-1'],
      ['amount', '007'],
      ['note', '🦊'],
      ['', ''],
    ]

    expect(flatCodec().decode(carry(fields), '1-0')).toEqual({
      type: 'OrderPaid',
      version: 1,
      eventId: undefined,
      payload: { orderId: 'o-1', amount: '007', note: '🦊', '': '' },
    })
  })

  test('takes type, version and id from the named fields, and leaves them out of payloads', () => {
    const codec = flatCodec({ typeField: 'kind', versionField: 'v', idField: 'id', jsonFields: ['items', 'absent'] })
    const fields: Field[] = [
      ['id', 'e-1'],
      ['v', '3'],
      ['kind', 'OrderPaid'],
      ['event_type', 'a field like any other'],
      ['items', '[{"sku":1}]'],
    ]

    expect(codec.decode(carry(fields), '1-0')).toEqual({
      type: 'OrderPaid',
      version: 3,
      eventId: 'e-1',
      payload: { event_type: 'a field like any other', items: [{ sku: 1 }] },
    })
  })

  test('leaves version and id out where the entry has none', () => {
    const codec = flatCodec({ versionField: 'v', idField: 'id' })

    expect(codec.decode(carry([['event_type', 'Ping']]), '1-0')).toEqual({
      type: 'Ping',
      version: 1,
      eventId: undefined,
      payload: {},
    })
  })

  test('keeps a field named __proto__ a member', () => {
    const fields: Field[] = [
      ['event_type', 'OrderPaid'],
      ['__proto__', '{"isAdmin":true}'],
      ['constructor', 'x'],
    ]
    const plain = flatCodec().decode(carry(fields), '1-0').payload as Record<string, unknown>
    const json = flatCodec({ jsonFields: ['__proto__'] }).decode(carry(fields), '1-0').payload as { isAdmin?: true }

    expect([Object.entries(plain), Object.getPrototypeOf(plain), json.isAdmin]).toEqual([
      [
        ['__proto__', '{"isAdmin":true}'],
        ['constructor', 'x'],
      ],
      Object.prototype,
      undefined,
    ])
  })

  const options = { versionField: 'v', jsonFields: ['items'] }
  const type: Field = ['event_type', 'OrderPaid']
  const malformed: [fields: Field[], message: string][] = [
    [[], 'Field "event_type" is missing'],
    [[['event_type', '']], 'Field "event_type" is missing'],
    [[type, type], 'Field "event_type" must not repeat'],
    [[type, ['a', 'secret'], ['b', '2'], ['a', 'secret']], 'Field of the payload must not repeat'],
    [[type, ['__proto__', '1'], ['__proto__', '2']], 'Field of the payload must not repeat'],
    [[type, ['items', 'secret']], 'Field "items" must be JSON'],
    [[type, ['v', 'secret']], 'Schema version must be a whole number from 1'],
    [[type, ['v', '']], 'Schema version must be a whole number from 1'],
  ]
  test.each(malformed)('refuses %j', (fields, message) => {
    expect(refusalOf(flatCodec(options), carry(fields))).toEqual(new MalformedEntryError(message))
  })
})

describe('flatCodec()', () => {
  test.each(notUtf8)('refuses values and names that are no UTF-8: %j', (bytes) => {
    const type = [Buffer.from('event_type'), Buffer.from('OrderPaid')] as const
    const refusals = [
      refusalOf(flatCodec(), [type, [Buffer.from('note'), bytes]]),
      refusalOf(flatCodec(), [type, [bytes, Buffer.from('')]]),
    ]

    expect(refusals).toEqual([
      new MalformedEntryError('Field of the payload must be UTF-8'),
      new MalformedEntryError('Field "name" must be UTF-8'),
    ])
  })

  test('gives back any fields whose names differ', () => {
    const fields = fc.uniqueArray(fc.tuple(anyText, anyText), { selector: ([name]) => name })
    fc.assert(
      fc.property(fields, (members) => {
        fc.pre(!members.some(([name]) => name === 'event_type'))
        const entry = toBuffers([...members, ['event_type', 'OrderPaid']])
        const payload = flatCodec().decode(entry, '1-0').payload as object
        expect(new Map(Object.entries(payload))).toEqual(new Map(members))
      }),
    )
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EnvelopeEvent } from '../../src/core/codec.ts'
import { encodeEnvelope, envelopeCodec } from '../../src/core/codec.ts'
import type { Field } from '../../src/core/entry.ts'
import { flatCodec } from '../../src/core/flat-codec.ts'
import { MalformedEntryError } from '../../src/errors.ts'
import { anyText, maybe, notUtf8, refusalOf, toBuffers, transports } from '../support/codecs.ts'

const OWN_FIELDS = [
  'eventId',
  'eventType',
  'schemaVersion',
  'aggregateType',
  'aggregateId',
  'tenantId',
  'producer',
].concat(['occurredAt', 'traceparent', 'aggregateVersion', 'payload'])

/** Attributes that no field of the envelope is among; `undefined` for none. */
const someAttributes = fc
  .uniqueArray(fc.tuple(anyText, anyText), { selector: ([name]) => name, maxLength: 4 })
  .map((pairs) => pairs.filter(([name]) => !OWN_FIELDS.includes(name)))
  .map((pairs) => (pairs.length > 0 ? Object.fromEntries(pairs) : undefined))

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

  test('writes attributes before the payload', () => {
    expect(encodeEnvelope({ type: 'OrderPaid', attributes: { source: 'web', '': '' }, payload: '1' })).toEqual([
      ['eventType', 'OrderPaid'],
      ['source', 'web'],
      ['', ''],
      ['payload', '1'],
    ])
  })

  test.each(OWN_FIELDS)('refuses an attribute named %s', (name) => {
    expect(() => encodeEnvelope({ type: 'OrderPaid', attributes: { a: '1', [name]: 'x' }, payload: '1' })).toThrow(
      new TypeError(`Cannot encode "OrderPaid": no attribute must be named as a field of the envelope, got "${name}"`),
    )
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
      attributes: someAttributes,
    })
    fc.assert(
      fc.property(event, ({ payload, ...rest }) => {
        const json = JSON.stringify(payload)
        const back = { ...rest, payload: JSON.parse(json) as unknown }
        expect(envelopeCodec.decode(carry(encodeEnvelope({ ...rest, payload: json })), '1-0')).toEqual(back)
        expect(envelopeCodec.decode(carry(envelopeCodec.encode(back)), '1-0')).toEqual(back)
      }),
    )
  })

  test('reads the fields in any order, and makes attributes of those it does not know', () => {
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

    const { attributes, ...event } = envelopeCodec.decode(carry(fields), '1-0')
    expect(event).toEqual({ type: 'OrderPaid', version: 1, payload: [1] })
    expect([Object.getPrototypeOf(attributes), Object.entries(attributes ?? {})]).toEqual([
      Object.prototype,
      [
        ['', 'nameless'],
        ['colour', 'blue'],
        ['__proto__', '{}'],
        ['constructor', 'x'],
        ['eventtype', 'x'],
      ],
    ])
  })

  test('has no attributes where there is no further field', () => {
    expect(envelopeCodec.decode(carry(encodeEnvelope({ type: 'Ping', payload: '1' })), '1-0')).not.toHaveProperty(
      'attributes',
    )
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
    ...['', '0', '-1', '1.5', 'secret'].map((text): [Field[], string] => [
      [type, payload, ['aggregateVersion', text]],
      'Aggregate version must be a whole number from 1',
    ]),
    [[type, payload, ['aggregateVersion', '1'], ['aggregateVersion', '1']], 'Field aggregateVersion must not repeat'],
    // of several faults, that of the first field
    [[['aggregateVersion', '0'], version('0'), payload, payload], 'Aggregate version must be a whole number from 1'],
  ]
  test.each(malformed)('refuses %j', (fields, message) => {
    expect(refusalOf(envelopeCodec, carry(fields))).toEqual(new MalformedEntryError(message))
  })

  test('reads the version of an aggregate that it writes', () => {
    const event = { type: 'Ping', payload: '1', aggregateVersion: 12 }

    expect(envelopeCodec.decode(carry(encodeEnvelope(event)), '1-0')).toMatchObject({ aggregateVersion: 12 })
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

  test('leaves out attributes whose bytes are no UTF-8', () => {
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

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EncodableEvent } from '../../src/core/codec.ts'
import type { Field } from '../../src/core/entry.ts'
import type { FlatCodecOptions } from '../../src/core/flat-codec.ts'
import { flatCodec } from '../../src/core/flat-codec.ts'
import { MalformedEntryError } from '../../src/errors.ts'
import { anyText, notUtf8, refusalOf, someName, someValue, toBuffers, transports } from '../support/codecs.ts'

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
    [[type, ['items', '']], 'Field "items" must be JSON'],
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

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** All options that name a field. */
const ALL_FIELDS = {
  typeField: 'kind',
  versionField: 'v',
  idField: 'id',
  aggregateTypeField: 'about',
  aggregateIdField: 'order_id',
  tenantIdField: 'tenant',
  producerField: 'producer_id',
  occurredAtField: 'published_at',
  traceIdField: 'trace_id',
} satisfies FlatCodecOptions

const someOptions = fc
  .record({
    fields: fc.oneof(fc.constant(Object.entries(ALL_FIELDS)), fc.subarray(Object.entries(ALL_FIELDS))),
    hasType: fc.boolean(),
    jsonFields: fc.constantFrom([], 'all', ['items', 'meta', '__proto__']),
  })
  .map(({ fields, hasType, jsonFields }): FlatCodecOptions => {
    const { typeField, ...named } = Object.fromEntries(fields) as Partial<typeof ALL_FIELDS>
    return { ...named, ...(hasType ? { type: 'T' } : { typeField }), jsonFields } as FlatCodecOptions
  })

const someTrace = fc.constantFrom<Partial<EncodableEvent>>(
  {},
  { traceparent: TRACEPARENT },
  { traceparent: 'x' },
  { attributes: { trace_id: 'x' } },
  { attributes: { trace_id: '' } },
  { attributes: { trace_id: TRACEPARENT } },
  { attributes: { trace_id: 'x', a: '1' } },
  { attributes: { trace_id: 'x' }, traceparent: TRACEPARENT },
)
const someTexts = fc.record(
  {
    version: fc.constantFrom(1, 2, 9_007_199_254_740_991),
    eventId: anyText,
    aggregateType: anyText,
    aggregateId: anyText,
    tenantId: anyText,
    producer: anyText,
    occurredAt: fc.constantFrom('2026-01-02T03:04:05Z', 'x', '', '1700000000'),
  },
  { requiredKeys: [] },
)
const someEvent = fc
  .record({
    type: fc.constantFrom('T', 'T', 'S', '🦊'),
    payload: fc.oneof(
      fc.dictionary(someName, anyText, { maxKeys: 4 }),
      fc.dictionary(someName, someValue, { maxKeys: 4 }),
      someValue,
    ),
    more: fc.oneof(
      fc.constant({}),
      someTexts,
      fc.tuple(someTexts, someTrace).map(([texts, trace]) => ({ ...texts, ...trace })),
    ),
  })
  .map(({ type, payload, more }): EncodableEvent => ({ type, payload, ...more }))

describe.each(transports)('the codec of flatCodec(), over %s', (_title, carry) => {
  const read = (options: FlatCodecOptions, ...fields: Field[]) => flatCodec(options).decode(carry(fields), '1-0')

  test('takes every text from its field, and leaves them out of the payload', () => {
    const fields = [...Object.values(ALL_FIELDS), 'name'].map((name): Field => [name, `the ${name}`])
    const event = read(ALL_FIELDS, ...fields.filter(([name]) => !['v', 'trace_id'].includes(name as string)))

    expect(event).toEqual({
      type: 'the kind',
      version: 1,
      payload: { name: 'the name' },
      eventId: 'the id',
      aggregateType: 'the about',
      aggregateId: 'the order_id',
      tenantId: 'the tenant',
      producer: 'the producer_id',
      occurredAt: 'the published_at',
    })
  })

  test('gives every entry its constant type, whatever its fields are', () => {
    const fields: Field[] = [
      ['event_type', 'a field like any other'],
      ['sku', 's-1'],
    ]

    expect(read({ type: 'StockMoved' }, ...fields)).toEqual({
      type: 'StockMoved',
      version: 1,
      eventId: undefined,
      payload: { event_type: 'a field like any other', sku: 's-1' },
    })
    expect(read({ type: 'StockMoved' })).toMatchObject({ type: 'StockMoved', payload: {} })
  })

  test.each([
    ['1700000000', '2023-11-14T22:13:20.000Z'],
    ['1700000000.123', '2023-11-14T22:13:20.123Z'],
    ['1700000000.9996', '2023-11-14T22:13:21.000Z'],
    ['1700000000123', '2023-11-14T22:13:20.123Z'],
    ['2024-01-01T10:00:00.123456', '2024-01-01T10:00:00.123456'],
    ['2024-01-01T10:00:00+00:00', '2024-01-01T10:00:00+00:00'],
    ['2024-01-01 10:00:00', '2024-01-01 10:00:00'],
    ['20240101', '20240101'],
    ['2024', '2024'],
    ['1.7e9', '1.7e9'],
    ['-1700000000', '-1700000000'],
    ['None', 'None'],
    ['', ''],
  ])('reads the time %j as %j', (text, occurredAt) => {
    expect(read({ occurredAtField: 'at' }, ['event_type', 'T'], ['at', text]).occurredAt).toBe(occurredAt)
  })

  test.each([
    [TRACEPARENT, { traceparent: TRACEPARENT }],
    ['01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more', {}],
    ['0af7651916cd43dd8448eb211c80319c', undefined],
    [`${TRACEPARENT}-more`, undefined],
    [TRACEPARENT.toUpperCase(), undefined],
    ['Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1', undefined],
    ['', undefined],
  ])('reads the trace %j', (text, traced) => {
    const { traceparent, attributes } = read({ traceIdField: '__proto__' }, ['event_type', 'T'], ['__proto__', text])

    expect(traceparent ?? Object.entries(attributes ?? {})).toEqual(traced ? text : [['__proto__', text]])
    expect([traceparent, attributes]).toContain(undefined)
  })

  test.each<[text: string, value: unknown]>([
    ['{"a":1}', { a: 1 }],
    ['[]', []],
    ['{"__proto__":{"isAdmin":true}}', JSON.parse('{"__proto__":{"isAdmin":true}}')],
    ['[1, {"b": null}]\n', [1, { b: null }]],
    ...[
      '00123',
      '12345678901234567890',
      'True',
      'true',
      'None',
      'null',
      '99.99',
      '"quoted"',
      '',
      ' {}',
      '\uFEFF[]',
    ].map((text): [string, string] => [text, text]),
    ...["{'a': 1}", '{', '[draft] see below', '{"a":1}}', '{"a":NaN}', '[1,]', '[[["'].map((text): [string, string] => [
      text,
      text,
    ]),
  ])("reads %j by jsonFields 'all'", (text, value) => {
    expect(read({ jsonFields: 'all' }, ['event_type', 'T'], ['x', text]).payload).toEqual({ x: value })
  })

  test('reads back whatever it writes', () => {
    let written = 0
    fc.assert(
      fc.property(someOptions, someEvent, (options, event) => {
        const codec = flatCodec(options)
        let fields: readonly Field[]
        try {
          fields = codec.encode(event)
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError)
          return
        }
        written++
        expect(codec.decode(carry(fields), '1-0')).toEqual({ version: 1, ...event })
      }),
      { numRuns: 3_000 },
    )
    expect(written).toBeGreaterThan(300)
  })
})

describe('encode of flatCodec()', () => {
  const write = (options: FlatCodecOptions, event: Partial<EncodableEvent> = {}) =>
    flatCodec(options).encode({ type: 'T', payload: { a: 'x' }, ...event })

  test('writes type, version and texts, then the members in their order', () => {
    const event = {
      type: 'OrderPaid',
      version: 2,
      traceparent: TRACEPARENT,
      occurredAt: '2026-01-02T03:04:05Z',
      producer: 'shop',
      tenantId: 't',
      aggregateId: 'o-1',
      aggregateType: 'Order',
      eventId: 'e-1',
      payload: { user_id: '00123', left_out: undefined, items: [{ sku: 1 }], note: '' },
    }

    expect(flatCodec({ ...ALL_FIELDS, jsonFields: 'all' }).encode(event)).toEqual([
      ['kind', 'OrderPaid'],
      ['v', '2'],
      ['id', 'e-1'],
      ['about', 'Order'],
      ['order_id', 'o-1'],
      ['tenant', 't'],
      ['producer_id', 'shop'],
      ['published_at', '2026-01-02T03:04:05Z'],
      ['trace_id', TRACEPARENT],
      ['user_id', '00123'],
      ['items', '[{"sku":1}]'],
      ['note', ''],
    ])
  })

  test('writes anything in fields of JSON', () => {
    const payload = { n: 1.5, b: false, none: null, text: '1', list: [] }

    expect(write({ type: 'T', jsonFields: ['n', 'b', 'none', 'text', 'list', 'absent'] }, { payload })).toEqual([
      ['n', '1.5'],
      ['b', 'false'],
      ['none', 'null'],
      ['text', '"1"'],
      ['list', '[]'],
    ])
  })

  test('leaves out what a publisher filled in and no option has a field for', () => {
    const event = { eventId: 'e', occurredAt: '2026-01-02T03:04:05Z', traceparent: TRACEPARENT }

    expect(write({}, { ...event, filledIn: ['eventId', 'occurredAt', 'traceparent'] })).toEqual([
      ['event_type', 'T'],
      ['a', 'x'],
    ])
  })

  test('leaves out a trace that a publisher filled in and that would be read as another', () => {
    expect(write({ traceIdField: 't' }, { traceparent: 'junk', filledIn: ['traceparent'] })).toEqual([
      ['event_type', 'T'],
      ['a', 'x'],
    ])
  })

  test("prefers an event's own trace id to the trace of its publishing", () => {
    const event = { traceparent: TRACEPARENT, filledIn: ['traceparent'] as const, attributes: { trace: 'abc' } }

    expect(write({ traceIdField: 'trace' }, event)).toContainEqual(['trace', 'abc'])
  })

  const asString =
    'member * of the payload must be a string, or be one of jsonFields: it would be read back as a string'
  const asObject =
    'member * of the payload must be an object, an array, or a string that is no JSON of one: it would be read back as something else'
  const object = 'its payload must be an object: each member is a field'
  test.each<[rule: string, options: FlatCodecOptions, event: Partial<EncodableEvent>]>([
    ...[1, true, null, [], {}].map((a): [string, FlatCodecOptions, Partial<EncodableEvent>] => [
      asString,
      { jsonFields: ['b'] },
      { payload: { a } },
    ]),
    ...[1, true, null, '{}', '[1]', '{"a":1}'].map((a): [string, FlatCodecOptions, Partial<EncodableEvent>] => [
      asObject,
      { jsonFields: 'all' },
      { payload: { a } },
    ]),
    ...[1, 'x', null, [], undefined].map((payload): [string, FlatCodecOptions, Partial<EncodableEvent>] => [
      object,
      {},
      { payload },
    ]),
    ['its payload must have no member "event_type", which is a field apart', {}, { payload: { event_type: 'x' } }],
    [
      'its payload must have no member "tenant", which is a field apart',
      { tenantIdField: 'tenant' },
      { payload: { tenant: 'x' } },
    ],
    ['its payload must have a member: an entry has one field at least', { type: 'T' }, { payload: {} }],
    ['the codec has type "S" for all entries', { type: 'S' }, {}],
    ['version 2 needs a field, by versionField', {}, { version: 2 }],
    ['eventId needs a field, by idField', {}, { eventId: 'e' }],
    ['aggregateType needs a field, by aggregateTypeField', {}, { aggregateType: 'e' }],
    ['aggregateId needs a field, by aggregateIdField', {}, { aggregateId: 'e' }],
    ['tenantId needs a field, by tenantIdField', {}, { tenantId: 'e' }],
    ['producer needs a field, by producerField', {}, { producer: 'e' }],
    ['occurredAt needs a field, by occurredAtField', {}, { occurredAt: '2026-01-02T03:04:05Z' }],
    ['occurredAt must be ISO 8601', { occurredAtField: 'at' }, { occurredAt: '1700000000' }],
    ['traceparent needs a field, by traceIdField', {}, { traceparent: TRACEPARENT }],
    [
      `traceparent must be W3C's; another trace id is given as attributes["t"]`,
      { traceIdField: 't' },
      { traceparent: 'x' },
    ],
    [
      'its trace must stand in traceparent or in attributes, not in both',
      { traceIdField: 't' },
      { traceparent: TRACEPARENT, attributes: { t: 'x' } },
    ],
    [
      'attributes["t"] is a traceparent, and must be given as such',
      { traceIdField: 't' },
      { attributes: { t: TRACEPARENT } },
    ],
    [
      'attributes have no field in a flat entry, where further fields are the payload',
      { traceIdField: 't' },
      { attributes: { t: 'x', u: 'y' } },
    ],
    ['attributes have no field in a flat entry, where further fields are the payload', {}, { attributes: { u: 'y' } }],
    ['its texts must be of whole characters', {}, { payload: { a: 'x\uD800' } }],
    ['its texts must be of whole characters', {}, { payload: { '\uDC00': 'x' } }],
  ])('refuses: %s', (rule, options, event) => {
    expect(() => write(options, event)).toThrow(new TypeError(`Cannot encode "T": ${rule}`))
  })
})

describe('flatCodec()', () => {
  test.each<[rule: string, options: object]>([
    ['type and typeField must not both be given', { type: 'T', typeField: 'kind' }],
    ['type must be a string that is not empty, got ""', { type: '' }],
    ['typeField must be a string that is not empty, got number', { typeField: 1 }],
    ['traceIdField must be a string that is not empty, got ""', { traceIdField: '' }],
    ['jsonFields must be an array, or "all", got string', { jsonFields: 'some' }],
    ['each of jsonFields must be a string that is not empty, got number', { jsonFields: [1] }],
    ['typeField and idField must name different fields, got "event_type"', { idField: 'event_type' }],
    ['idField and tenantIdField must name different fields, got "x"', { tenantIdField: 'x', idField: 'x' }],
    ['idField and jsonFields must name different fields, got "x"', { idField: 'x', jsonFields: ['a', 'x'] }],
    ['typeField and jsonFields must name different fields, got "event_type"', { jsonFields: ['event_type'] }],
  ])('refuses: %s', (rule, options) => {
    expect(() => flatCodec(options as FlatCodecOptions)).toThrow(new TypeError(`Cannot make flatCodec: ${rule}`))
  })

  test('shows the server no type field where the type is constant', () => {
    expect([flatCodec().typeField, flatCodec({ typeField: 'k' }).typeField, flatCodec({ type: 'T' })]).toEqual([
      'event_type',
      'k',
      expect.not.objectContaining({ typeField: expect.anything() as unknown }),
    ])
  })
})

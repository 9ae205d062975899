import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { claimCheck } from '../../src/core/claim-check.ts'
import type { EncodableEvent } from '../../src/core/codec.ts'
import { envelopeCodec } from '../../src/core/codec.ts'
import { flatCodec } from '../../src/core/flat-codec.ts'
import { defineEvent } from '../../src/define/event.ts'
import type { Observer } from '../../src/define/observe.ts'
import { InvalidPayloadError, OversizeEntryError, PublishFailedError, RedisReplyError } from '../../src/errors.ts'
import type { Connection } from '../../src/group/connection.ts'
import type { PublishOptions } from '../../src/publish/publication.ts'
import { createPublisher } from '../../src/publish/publisher.ts'
import type { PublisherOptions } from '../../src/publish/publisher-options.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const OrderPaid = defineEvent('OrderPaid', {
  version: 2,
  payload: z.object({ orderId: z.string(), amount: z._default(z.string(), '0') }),
})
const Ping = defineEvent('Ping', { payload: z.any() })

const Sold = defineEvent('Sold', {
  payload: z.object({ orderId: z.any(), items: z.array(z.object({ n: z.any() })) }),
})
const Timed = defineEvent('Timed', {
  payload: z.partial(
    z.object({
      at: z.date(),
      byId: z.map(z.string(), z.string()),
      n: z.number(),
      items: z.array(z.object({ id: z.string() })),
    }),
  ),
})

const SHARED = { n: 1 }

function circular(): object {
  const payload = { items: [{ n: {} }] }
  payload.items = [{ n: payload }]
  return payload
}

const tooLarge = (type: string, bytes: number, limit: number) =>
  new OversizeEntryError(
    bytes,
    limit,
    `Cannot publish to stream "orders": the entry of "${type}"`,
    '; claimCheck() keeps large payloads in a store',
  )

const always = { eventId: 'e-1', occurredAt: '2026-01-02T03:04:05Z' }

/** A connection that keeps what it has to append, and answers with ids, or with what it is given. */
function aConnection(answers?: readonly (string | Error)[]) {
  const calls: Parameters<NonNullable<Connection['append']>>[] = []
  const redis: Pick<Connection, 'append' | 'group'> = {
    group: () => {
      throw new Error('a publisher asks for no group')
    },
    append: async (...call) => {
      calls.push(call)
      return { answers: answers ?? call[1].map((_, n) => `1-${n}`), raised: (call[3] ?? []).map(() => true) }
    },
  }
  return { calls, redis: redis as Connection }
}

/** A publisher into stream `orders`, and what it appended. */
function aPublisher(options: Partial<PublisherOptions> = {}, answers?: readonly (string | Error)[]) {
  const { calls, redis } = aConnection(answers)
  return { calls, publisher: createPublisher({ stream: 'orders', redis, ...options }) }
}

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

describe('createPublisher()', () => {
  const create = (options: object) => {
    const { redis } = aConnection()
    return createPublisher({ stream: 'orders', redis, ...options } as PublisherOptions)
  }
  const type = (message: string) => new TypeError(`Cannot create publisher for stream "orders": ${message}`)
  const range = (message: string) => new RangeError(`Cannot create publisher for stream "orders": ${message}`)
  const known =
    'known are stream, redis, codec, producer, retentionMs, deduplicateMs, maxBacklog, onFull, wake, observe, maxLength, exactTrimming, maxWaitMs, maxEntryBytes, clock'
  const readOnly = type('codec must have an encode function: one without it can only be read')
  const noConnection = type('redis must be a connection, as from connectIoredis(url) or connectUpstash(options)')
  test.each<[refusal: Error, options: object]>([
    [type(`unknown option "maxlen"; ${known}`), { maxlen: 5 }],
    [noConnection, { redis: undefined }],
    [noConnection, { redis: 'redis://127.0.0.1' }],
    [noConnection, { redis: {} }],
    [type('producer must be a string that is not empty, got ""'), { producer: '' }],
    [range('maxLength must be >= 1, got 0'), { maxLength: 0 }],
    [range('maxLength must be a whole number, got 1.5'), { maxLength: 1.5 }],
    [type('maxLength must be a number, got string'), { maxLength: '5' }],
    [range('maxLength must be >= 1, got NaN'), { maxLength: Number.NaN }],
    [range('retentionMs must be >= 1, got 0'), { retentionMs: 0 }],
    [range('retentionMs must be <= 9007199254740991, got Infinity'), { retentionMs: Number.POSITIVE_INFINITY }],
    [type('retentionMs must be a number, got string'), { retentionMs: '1d' }],
    [type('maxLength and retentionMs must not both be given, got 5 and 6'), { maxLength: 5, retentionMs: 6 }],
    [
      type('maxLength and retentionMs must not both be given, got Infinity and 6'),
      { maxLength: Number.POSITIVE_INFINITY, retentionMs: 6 },
    ],
    [type('exactTrimming must be true or false, got string'), { exactTrimming: 'yes' }],
    [range('maxEntryBytes must be >= 1, got 0'), { maxEntryBytes: 0 }],
    [readOnly, { codec: { decode: () => ({}) } }],
    [readOnly, { codec: {} }],
    [readOnly, { codec: null }],
    [readOnly, { codec: 'flat' }],
  ])('throws %s', (refusal, options) => {
    expect(() => create(options)).toThrow(refusal)
  })

  test.each<[refusal: Error, options: unknown]>([
    [new TypeError('Cannot create publisher: options must be an object, got string'), 'orders'],
    [
      new TypeError(
        'Cannot create publisher for stream undefined: stream must be a string that is not empty, got undefined',
      ),
      {},
    ],
  ])('throws %s', (refusal, options) => {
    expect(() => createPublisher(options as PublisherOptions)).toThrow(refusal)
  })

  test.each<[options: Partial<PublisherOptions>, trim: object]>([
    [{}, { kind: 'length', maxLength: 1_000_000, exact: false }],
    [{ maxLength: 5 }, { kind: 'length', maxLength: 5, exact: false }],
    [
      { maxLength: 5, exactTrimming: true },
      { kind: 'length', maxLength: 5, exact: true },
    ],
    [{ maxLength: Number.POSITIVE_INFINITY }, { kind: 'none' }],
    [{ maxLength: Number.POSITIVE_INFINITY, exactTrimming: true }, { kind: 'none' }],
    [{ retentionMs: 60_000 }, { kind: 'age', retentionMs: 60_000, exact: false }],
    [
      { retentionMs: 1.5, exactTrimming: true },
      { kind: 'age', retentionMs: 1.5, exact: true },
    ],
  ])('trims by %j', async (options, trim) => {
    const { publisher, calls } = aPublisher(options)
    await publisher.publish(Ping, 1, always)

    expect(calls.map(([, , by]) => by)).toEqual([trim])
  })
})

describe('publish()', () => {
  test('appends the payload as it was given, with its envelope, and answers both ids', async () => {
    const { publisher, calls } = aPublisher({ producer: 'shop' })
    const published = await publisher.publish(
      OrderPaid,
      { orderId: 'o-1' },
      { ...always, aggregateType: 'Order', aggregateId: 'o-1', tenantId: 't-1', traceparent: '00-1-2-01' },
    )

    expect(published).toEqual({ entryId: '1-0', eventId: 'e-1' })
    expect(calls.map(([stream, entries]) => [stream, entries])).toEqual([
      [
        'orders',
        [
          [
            ['eventId', 'e-1'],
            ['eventType', 'OrderPaid'],
            ['schemaVersion', '2'],
            ['aggregateType', 'Order'],
            ['aggregateId', 'o-1'],
            ['tenantId', 't-1'],
            ['producer', 'shop'],
            ['occurredAt', '2026-01-02T03:04:05Z'],
            ['traceparent', '00-1-2-01'],
            ['payload', '{"orderId":"o-1"}'],
          ],
        ],
      ],
    ])
  })

  test('writes four fields by default: a random id, the type, the time and the payload', async () => {
    const { publisher, calls } = aPublisher()
    const before = Date.now()
    const ids = [await publisher.publish(Ping, null), await publisher.publish(Ping, null)].map(({ eventId }) => eventId)
    const entries = calls.map(([, [fields]]) => Object.fromEntries(fields as [string, string][]))

    expect(entries).toEqual(
      ids.map((eventId) => ({ eventId, eventType: 'Ping', occurredAt: expect.any(String), payload: 'null' })),
    )
    expect(ids).toEqual([expect.stringMatching(UUID), expect.stringMatching(UUID)])
    expect(new Set(ids).size).toBe(2)
    for (const { occurredAt = '' } of entries) {
      expect(new Date(occurredAt).toISOString()).toBe(occurredAt)
      expect(Date.parse(occurredAt)).toBeGreaterThanOrEqual(before)
    }
  })

  test('writes a Date as ISO 8601, and a text as it is', async () => {
    const { publisher, calls } = aPublisher()
    const iso = '2026-01-02T04:04:05.123456+01:00'
    await publisher.publish(Ping, 1, { occurredAt: new Date(Date.UTC(2026, 0, 2)) })
    await publisher.publish(Ping, 1, { occurredAt: iso })

    expect(calls.map(([, [fields]]) => new Map(fields as [string, string][]).get('occurredAt'))).toEqual([
      '2026-01-02T00:00:00.000Z',
      iso,
    ])
  })

  test('refuses with the first error where an asynchronous schema refuses another event later', async () => {
    const Slow = defineEvent('Slow', { payload: z.string().check(z.refine(async () => false)) })
    const { publisher, calls } = aPublisher()

    const publishing = publisher.publishMany([
      [Slow, 'x'],
      [OrderPaid, { orderId: 1 } as never],
    ])

    await expect(publishing).rejects.toThrow(InvalidPayloadError)
    expect(calls).toEqual([])
  })

  test('checks with a schema that is asynchronous', async () => {
    const Paid = defineEvent('Paid', { payload: z.string().check(z.refine(async (id) => id !== 'o-0')) })
    const { publisher, calls } = aPublisher()
    const failures = [await failureOf(publisher.publish(Paid, 'o-1')), await failureOf(publisher.publish(Paid, 'o-0'))]

    expect(failures).toEqual([undefined, expect.any(InvalidPayloadError)])
    expect(calls).toHaveLength(1)
  })

  test('sends nothing that the schema refuses, and says where it does', async () => {
    const { publisher, calls } = aPublisher()
    const wrong = { orderId: 5, amount: null } as unknown as { orderId: string }
    const error = await failureOf(publisher.publish(OrderPaid, wrong))

    expect(error).toEqual(
      new InvalidPayloadError('OrderPaid', [
        { path: 'orderId', message: 'Invalid input' },
        { path: 'amount', message: 'Invalid input' },
      ]),
    )
    expect(calls).toEqual([])
  })

  test('counts the bytes of all names and values, and sends what has exactly maxEntryBytes', async () => {
    const names = ['eventId', 'eventType', 'occurredAt', 'payload']
    const values = [always.eventId, 'Ping', always.occurredAt, '"🦊"']
    const bytes = Buffer.byteLength([...names, ...values].join(''))
    const whole = aPublisher({ maxEntryBytes: bytes })
    const tooSmall = aPublisher({ maxEntryBytes: bytes - 1 })

    expect([
      await failureOf(whole.publisher.publish(Ping, '🦊', always)),
      await failureOf(tooSmall.publisher.publish(Ping, '🦊', always)),
      tooSmall.calls,
    ]).toEqual([undefined, tooLarge('Ping', bytes, bytes - 1), []])
  })

  test('names claimCheck() of what is too large only where the codec has none', async () => {
    const store = { put: async () => {}, get: async () => undefined }
    const codec = claimCheck({ store, overBytes: 1_000 })

    expect(await failureOf(aPublisher({ codec, maxEntryBytes: 10 }).publisher.publish(Ping, 1))).toMatchObject({
      message: expect.stringMatching(/^Cannot publish to stream "orders": the entry of "Ping" must .*, got \d+$/),
    })
  })

  test.each<[says: string, payload: unknown]>([
    ['orderId is a BigInt, which may be given as a string', { orderId: 5n }],
    ['items.1.n is a BigInt, which may be given as a string', { items: [{ n: 1 }, { n: 5n }] }],
    ['*.* is a BigInt, which may be given as a string', { secret: { 4111: 5n } }],
    ['items.0.n refers to what it is part of', circular()],
    ['items is a BigInt, which may be given as a string', { orderId: { toJSON: () => SHARED }, id: SHARED, items: 5n }],
    ['the payload itself is a BigInt, which may be given as a string', 5n],
    ['it cannot be read', { get orderId() { throw new Error('secret') } }], // biome-ignore format: one line
  ])('says where a payload is no JSON: %s', async (says, payload) => {
    const { publisher, calls } = aPublisher()

    expect(await failureOf(publisher.publish(Sold, payload as never))).toEqual(
      new TypeError(`${here}the payload of "Sold" must be JSON: ${says}`),
    )
    expect(calls).toEqual([])
  })

  test.each<[is: string, payload: object, isNamed: boolean]>([
    ['a Date', { at: new Date(0) }, true],
    ['a Map', { byId: new Map() }, true],
    ['a number that is none', { n: Number.NaN }, true],
    ['the same in JSON', { at: 'x' }, false],
    ['left out', { items: [{}] }, false],
  ])('says that a schema sees JSON where what it refuses is %s', async (_is, payload, isNamed) => {
    const { message } = (await failureOf(aPublisher().publisher.publish(Timed, payload as never))) as Error

    expect(message).toMatch(/^Payload of "Timed" must fit its schema, which refuses /)
    expect(message.includes('; it is checked as the JSON that consumers read, where a Date is text')).toBe(isNamed)
  })

  const here = 'Cannot publish to stream "orders": '
  test.each<[refusal: Error, options: unknown]>([
    [new TypeError(`${here}options must be an object, got string`), 'e-1'],
    [new TypeError(`${here}options must be an object, got null`), null],
    [
      new TypeError(
        `${here}unknown option "id"; known are eventId, aggregateType, aggregateId, tenantId, traceparent, occurredAt, attributes, delayMs, deliverAt, deduplicateMs, expectedVersion, priority`,
      ),
      { id: 'e-1' },
    ],
    [
      new TypeError(
        `${here}unknown option "producer"; known are eventId, aggregateType, aggregateId, tenantId, traceparent, occurredAt, attributes, delayMs, deliverAt, deduplicateMs, expectedVersion, priority`,
      ),
      { producer: 'shop' },
    ],
    [new TypeError(`${here}eventId must be a string that is not empty, got ""`), { eventId: '' }],
    [new TypeError(`${here}eventId must be a string that is not empty, got number`), { eventId: 5 }],
    [new TypeError(`${here}aggregateType must be a string that is not empty, got null`), { aggregateType: null }],
    [new TypeError(`${here}aggregateId must be a string that is not empty, got number`), { aggregateId: 5 }],
    [new TypeError(`${here}tenantId must be a string that is not empty, got object`), { tenantId: {} }],
    [new TypeError(`${here}traceparent must be a string that is not empty, got ""`), { traceparent: '' }],
    [new TypeError(`${here}attributes must be an object, got string`), { attributes: 'a' }],
    [new TypeError(`${here}attributes must be an object, got null`), { attributes: null }],
    [new TypeError(`${here}attributes must be an object, got an array`), { attributes: ['a'] }],
    [new TypeError(`${here}attributes must be a plain object`), { attributes: new Map([['a', 'b']]) }],
    [
      new TypeError(`${here}a name in attributes must be a string that is not empty, got ""`),
      { attributes: { '': '' } },
    ],
    [new TypeError(`${here}attributes["a"] must be a string, got number`), { attributes: { a: 1 } }],
    [new TypeError(`${here}attributes["a"] must be a string, got undefined`), { attributes: { a: undefined } }],
    [new TypeError(`${here}attributes must be texts of whole characters`), { attributes: { a: '\uD800' } }],
    [new TypeError(`${here}attributes must be texts of whole characters`), { attributes: { '\uD800': '' } }],
    [
      new TypeError('Cannot encode "Ping": no attribute must be named as a field of the envelope, got "payload"'),
      { attributes: { payload: '' } },
    ],
    [
      new RangeError(`${here}occurredAt must be a valid Date or ISO 8601, got "yesterday"`),
      { occurredAt: 'yesterday' },
    ],
    [
      new RangeError(`${here}occurredAt must be a valid Date or ISO 8601, got "2026-02-30T12:00:00Z"`),
      { occurredAt: '2026-02-30T12:00:00Z' },
    ],
  ])('rejects with %s', async (refusal, options) => {
    const { publisher, calls } = aPublisher()

    expect(await failureOf(publisher.publish(Ping, 1, options as PublishOptions))).toEqual(refusal)
    expect(calls).toEqual([])
  })

  test.each<[got: string, payload: unknown]>([
    ['undefined', undefined],
    ['function', () => 1],
    ['symbol', Symbol('no')],
  ])('rejects a payload that is no JSON: %s', async (got, payload) => {
    const { publisher, calls } = aPublisher()

    expect(await failureOf(publisher.publish(Ping, payload))).toEqual(
      new TypeError(`${here}the payload of "Ping" must be JSON, got ${got}`),
    )
    expect(calls).toEqual([])
  })

  test('rejects what is no event', async () => {
    const { publisher } = aPublisher()

    expect(await failureOf(publisher.publish(undefined as unknown as typeof Ping, 1))).toEqual(
      new TypeError(`${here}event must come from defineEvent, got undefined`),
    )
  })

  test('rejects with what the server refused', async () => {
    const refusal = new RedisReplyError('OOM command not allowed')

    expect(await failureOf(aPublisher({}, [refusal]).publisher.publish(Ping, 1))).toEqual(
      new PublishFailedError('orders', [undefined], refusal),
    )
  })

  test('rejects with what the connection rejects with', async () => {
    const error = new Error('hung up')
    const redis = { ...aConnection().redis, append: () => Promise.reject(error) }

    expect(await failureOf(createPublisher({ stream: 'orders', redis }).publish(Ping, 1))).toBe(error)
  })
})

describe('publishMany()', () => {
  test('appends all in one call, in order, each with an id of its own', async () => {
    const { publisher, calls } = aPublisher()
    const published = await publisher.publishMany([
      [OrderPaid, { orderId: 'o-1' }, { eventId: 'e-1' }],
      [Ping, 1],
      [OrderPaid, { orderId: 'o-2' }, undefined],
    ])
    const types = calls.map(([, entries]) =>
      entries.map((fields) => fields.find(([name]) => name === 'eventType')?.[1]),
    )

    expect(types).toEqual([['OrderPaid', 'Ping', 'OrderPaid']])
    expect(published).toEqual([
      { entryId: '1-0', eventId: 'e-1' },
      { entryId: '1-1', eventId: expect.stringMatching(UUID) },
      { entryId: '1-2', eventId: expect.stringMatching(UUID) },
    ])
  })

  test('of nothing sends nothing', async () => {
    const { publisher, calls } = aPublisher()

    expect([await publisher.publishMany([]), calls]).toEqual([[], []])
  })

  test('sends nothing if one of them is refused', async () => {
    const { publisher, calls } = aPublisher()
    const wrong = {} as unknown as { orderId: string }
    const error = await failureOf(
      publisher.publishMany([
        [Ping, 1],
        [OrderPaid, wrong],
      ]),
    )

    expect([error, calls]).toEqual([expect.any(InvalidPayloadError), []])
  })

  test('rejects with the ids of those that were written, and the first refusal', async () => {
    const refusals = [new RedisReplyError('OOM one'), new RedisReplyError('OOM two')] as const
    const { publisher } = aPublisher({}, ['1-0', refusals[0], '1-1', refusals[1]])
    const error = await failureOf(
      publisher.publishMany([
        [Ping, 1],
        [Ping, 2],
        [Ping, 3],
        [Ping, 4],
      ]),
    )

    expect(error).toEqual(new PublishFailedError('orders', ['1-0', undefined, '1-1', undefined], refusals[0]))
  })
})

describe('publish() with a codec', () => {
  const Acted = defineEvent('Acted', { payload: z.looseObject({ user_id: z.string(), amount: z.optional(z.any()) }) })
  const flat = flatCodec({ idField: 'id' })

  test('writes the entry as its codec does', async () => {
    const { calls, publisher } = aPublisher({ codec: flat })
    const { eventId } = await publisher.publish(Acted, { user_id: '00123', gone: undefined })

    expect(calls[0]?.[1]).toEqual([
      [
        ['event_type', 'Acted'],
        ['id', eventId],
        ['user_id', '00123'],
      ],
    ])
  })

  test('writes as by default with the envelopeCodec', async () => {
    const [one, other] = [aPublisher({ codec: envelopeCodec, producer: 'shop' }), aPublisher({ producer: 'shop' })]
    for (const { publisher } of [one, other])
      await publisher.publish(OrderPaid, { orderId: 'o' }, { ...always, attributes: { source: 'web' } })

    expect(one.calls).toEqual(other.calls)
  })

  test('gives encode all that the event says, and which of it was filled in', async () => {
    const given: unknown[] = []
    const codec = {
      decode: () => ({ type: 'Ping', payload: 1 }),
      encode: (event: EncodableEvent) => {
        given.push(event)
        return [['a', 'b']] as const
      },
    }
    const { publisher } = aPublisher({ codec, producer: 'shop' })
    await publisher.publish(Ping, { at: new Date(0) }, { occurredAt: always.occurredAt, attributes: { source: 'web' } })
    await publisher.publish(Ping, 1, { ...always, traceparent: 't' })

    expect(given).toMatchObject([
      {
        type: 'Ping',
        version: 1,
        payload: { at: '1970-01-01T00:00:00.000Z' },
        eventId: expect.stringMatching(UUID) as string,
        producer: 'shop',
        occurredAt: always.occurredAt,
        attributes: { source: 'web' },
        filledIn: ['eventId', 'traceparent'],
      },
      { payload: 1, eventId: 'e-1', filledIn: [] },
    ])
  })

  test.each([
    ['nothing', () => undefined],
    ['no field', () => []],
    ['a promise', () => Promise.resolve([['a', 'b']])],
    ['a rejection', () => Promise.reject(new Error('no'))],
    ['an object', () => ({ a: 'b' })],
    ['bytes', () => [['a', Buffer.from('b')]]],
    ['a name alone', () => [['a']]],
    ['texts', () => ['ab']],
    ['half a character', () => [['a', '\uD800']]],
    ['promises of pairs', () => [Promise.reject(new Error('no'))]],
    ['a promise of a value', () => [['a', Promise.reject(new Error('no'))]]],
    ['a hole', () => Object.assign([['a', 'b']], { length: 2 })],
    ['a pair with a hole', () => [Object.assign(['a'], { length: 2 })]],
  ])('refuses an encode that answers %s', async (_title, answer) => {
    const codec = { decode: () => ({ type: 'Ping', payload: 1 }), encode: () => answer() as never }
    const { calls, publisher } = aPublisher({ codec })

    expect(await failureOf(publisher.publish(Ping, 1))).toEqual(
      new TypeError(
        'Cannot publish to stream "orders": encode of its codec must answer [name, value] pairs, strings of whole characters, for "Ping"',
      ),
    )
    expect(calls).toEqual([])
  })

  test('writes each event of a codec that fills one array', async () => {
    const fields: [string, string][] = [['', '']]
    const codec = {
      decode: () => ({ type: 'Ping', payload: 1 }),
      encode: ({ payload }: EncodableEvent) => {
        fields[0]?.splice(0, 2, 'a', `${payload}`)
        return fields
      },
    }
    const { calls, publisher } = aPublisher({ codec })
    await publisher.publishMany([
      [Ping, 1],
      [Ping, 2],
    ])

    expect(calls[0]?.[1]).toEqual([[['a', '1']], [['a', '2']]])
  })

  test.each(['junk', '\uD800'])('leaves out a trace of its observers that is none: %j', async (traceparent) => {
    const observe: Observer = {
      within: {
        publish: (call, run) => {
          call.traceparent = traceparent
          return run()
        },
      },
    }
    const { calls, publisher } = aPublisher({ codec: flatCodec({ traceIdField: 'trace' }), observe })
    await publisher.publish(Acted, { user_id: 'u' })

    expect(calls[0]?.[1]).toEqual([
      [
        ['event_type', 'Acted'],
        ['user_id', 'u'],
      ],
    ])
  })

  const member = (shown: string) =>
    new TypeError(
      `Cannot encode "Acted": member ${shown} of the payload must be a string, or be one of jsonFields: it would be read back as a string`,
    )
  test.each<[title: string, refusal: Error, payload: object, options: PublishOptions]>([
    ['a member of the schema by its name', member('"amount"'), { amount: 5 }, {}],
    ['another member without its name', member('*'), { 'jane@example.com': 5 }, {}],
    [
      'a text that no field holds',
      new TypeError('Cannot encode "Acted": tenantId needs a field, by tenantIdField'),
      {},
      { tenantId: 't' },
    ],
  ])('refuses %s', async (_title, refusal, payload, options) => {
    const { calls, publisher } = aPublisher({ codec: flat })
    const error = await failureOf(publisher.publish(Acted, { user_id: 'u', ...payload }, options))

    expect(error).toEqual(refusal)
    expect(JSON.stringify(error)).toBe('{}')
    expect(calls).toEqual([])
  })

  test('counts the bytes that its codec writes', async () => {
    const { publisher } = aPublisher({ codec: flatCodec({ type: 'Acted' }), maxEntryBytes: 10 })

    expect(await failureOf(publisher.publish(Acted, { user_id: 'abcd' }))).toEqual(tooLarge('Acted', 11, 10))
    expect(await failureOf(publisher.publish(Acted, { user_id: 'abc' }))).toBeUndefined()
  })

  test('checks the payload before it is encoded', async () => {
    const { publisher } = aPublisher({ codec: flat })

    expect(await failureOf(publisher.publish(Acted, { user_id: 5 } as never))).toBeInstanceOf(InvalidPayloadError)
  })
})

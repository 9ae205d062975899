import { runInNewContext } from 'node:vm'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import type { DecodedEvent, EnvelopeEvent } from '../../src/core/codec.ts'
import { encodeEnvelope } from '../../src/core/codec.ts'
import type { Entry, Field } from '../../src/core/entry.ts'
import type { ConsumerOptions } from '../../src/define/consumer.ts'
import { defineConsumer, on } from '../../src/define/consumer.ts'
import type { EventDefinition } from '../../src/define/event.ts'
import { defineEvent } from '../../src/define/event.ts'
import { InvalidPayloadError, MalformedEntryError, NoRouteError, UnsupportedVersionError } from '../../src/errors.ts'
import { prepareEntry } from '../../src/run/prepare.ts'

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })

/** A definition at version 4 that lifts from 2 on, and keeps what it lifted. */
function aLiftedEvent() {
  const lifted: unknown[] = []
  const note = (key: string) => (old: Record<string, unknown>) => {
    lifted.push(old)
    return { ...old, [key]: true }
  }
  const payload = z.looseObject({ orderId: z.string() })
  return {
    lifted,
    event: defineEvent('OrderPaid', { version: 4, payload, upcast: { 2: note('two'), 3: note('three') } }),
  }
}

const aConsumer = (event: EventDefinition = OrderPaid, options: Partial<ConsumerOptions> = {}) =>
  defineConsumer({ stream: 'orders', group: 'billing', routes: [on(event, () => {})], ...options })

const anEntry = (event: Partial<EnvelopeEvent> = {}): Entry => ({
  id: '5-1',
  fields: encodeEnvelope({ type: 'OrderPaid', payload: '{"orderId":"o-1"}', ...event }),
})

/** A Standard Schema that does what a test says. */
const aSchema = (validate: StandardSchemaV1.Props['validate']): StandardSchemaV1 => ({
  '~standard': { version: 1, vendor: 'test', validate },
})

const decodedOf = (more: Partial<DecodedEvent> = {}): DecodedEvent => ({
  type: 'OrderPaid',
  version: 1,
  payload: { orderId: 'o-1' },
  ...more,
})

describe('prepareEntry()', () => {
  test('gives the event, its route and what was decoded, at once', () => {
    const consumer = aConsumer()
    const rest = {
      eventId: 'e-1',
      aggregateType: 'Order',
      aggregateId: 'o-1',
      tenantId: 't-1',
      producer: 'shop',
      occurredAt: '2026-01-02T03:04:05Z',
      traceparent: '00-1-2-01',
    }

    expect(prepareEntry(anEntry(rest), consumer)).toEqual({
      kind: 'prepared',
      route: consumer.routes.get('OrderPaid'),
      decoded: decodedOf(rest),
      event: { type: 'OrderPaid', version: 1, payload: { orderId: 'o-1' }, ...rest },
    })
  })

  test.each([undefined, ''])('names the event after its entry where its own id is %j', (eventId) => {
    expect(prepareEntry(anEntry({ eventId }), aConsumer())).toMatchObject({ event: { eventId: 'orders:5-1' } })
  })

  test('leaves out of the event what the entry does not say', () => {
    const { event } = prepareEntry(anEntry(), aConsumer()) as { event: object }

    expect(Object.keys(event)).toEqual(['type', 'version', 'payload', 'eventId'])
  })

  test('reads Buffers as it reads text', () => {
    const { id, fields } = anEntry({ eventId: '🦊' })
    const bytes = fields.map(([name, value]): Field => [Buffer.from(name), Buffer.from(value)])
    const consumer = aConsumer()

    expect(prepareEntry({ id, fields: bytes }, consumer)).toEqual(prepareEntry({ id, fields }, consumer))
  })

  test("hands on the schema's output", () => {
    const payload = z.object({
      orderId: z.pipe(
        z.string(),
        z.transform((id) => id.toUpperCase()),
      ),
      currency: z._default(z.string(), 'EUR'),
    })
    const consumer = aConsumer(defineEvent('OrderPaid', { payload }))

    expect(prepareEntry(anEntry(), consumer)).toMatchObject({
      decoded: { payload: { orderId: 'o-1' } },
      event: { payload: { orderId: 'O-1', currency: 'EUR' } },
    })
  })

  test('hands the entry id and the fields as they are to a codec', () => {
    const seen: unknown[] = []
    const codec = {
      decode: (...args: unknown[]) => {
        seen.push(args)
        return { type: 'OrderPaid', payload: { orderId: 'o-1' } }
      },
    }
    const entry = anEntry()

    expect(prepareEntry(entry, aConsumer(OrderPaid, { codec }))).toMatchObject({
      kind: 'prepared',
      event: { version: 1 },
    })
    expect(seen).toEqual([[entry.fields, '5-1']])
  })
})

describe('prepareEntry() rejects', () => {
  test('what the codec cannot read as malformed', () => {
    expect(prepareEntry(anEntry({ payload: 'secret' }), aConsumer())).toEqual({
      kind: 'rejected',
      reason: 'malformed',
      error: new MalformedEntryError('Field "payload" must be JSON'),
      decoded: undefined,
    })
  })

  test.each([[new Error('no')], ['no'], [undefined]])('whatever a codec throws as malformed: %o', (thrown) => {
    const codec = {
      decode(): DecodedEvent {
        throw thrown
      },
    }

    expect(prepareEntry(anEntry(), aConsumer(OrderPaid, { codec }))).toEqual({
      kind: 'rejected',
      reason: 'malformed',
      error: thrown,
      decoded: undefined,
    })
  })

  test.each(['OrderShipped', 'orderPaid', '__proto__', 'constructor'])('the type %j as unrouted', (type) => {
    expect(prepareEntry(anEntry({ type, eventId: 'e-1' }), aConsumer())).toEqual({
      kind: 'rejected',
      reason: 'unrouted',
      error: new NoRouteError(type),
      decoded: decodedOf({ type, eventId: 'e-1' }),
    })
  })

  test.each([
    [5, 'newer-version'],
    [1e20, 'newer-version'],
    [1, 'unsupported-version'],
  ])('version %d of a definition that lifts versions 2 and 3 to 4 as %s', (version, reason) => {
    const { event, lifted } = aLiftedEvent()

    expect(prepareEntry(anEntry({ version }), aConsumer(event, { newerVersion: 'deadLetter' }))).toEqual({
      kind: 'rejected',
      reason,
      error: new UnsupportedVersionError('OrderPaid', version, 4),
      decoded: decodedOf({ version }),
    })
    expect(lifted).toEqual([])
  })

  test('a version from which an upcast in the middle is missing as unsupported-version', () => {
    const upcast = { 1: (old: object) => old, 3: (old: object) => old }
    const event = defineEvent('OrderPaid', { version: 4, payload: z.any(), upcast })

    expect(prepareEntry(anEntry({ version: 1 }), aConsumer(event))).toMatchObject({ reason: 'unsupported-version' })
    expect(prepareEntry(anEntry({ version: 3 }), aConsumer(event))).toMatchObject({ kind: 'prepared' })
  })

  test('a payload that the schema refuses as invalid', () => {
    expect(prepareEntry(anEntry({ payload: '{"orderId":5}' }), aConsumer())).toEqual({
      kind: 'rejected',
      reason: 'invalid',
      error: new InvalidPayloadError('OrderPaid', [{ path: 'orderId', message: 'Invalid input' }]),
      decoded: decodedOf({ payload: { orderId: 5 } }),
    })
  })

  test('and says where: keys, indexes, and path segments as objects', () => {
    const issues = [
      { message: 'everything' },
      { message: 'deep', path: ['items', 0, { key: 'sku' }] },
      { message: 'symbol', path: [Symbol('s')] },
    ]
    const event = defineEvent('OrderPaid', { payload: aSchema(() => ({ issues })) })

    expect(prepareEntry(anEntry(), aConsumer(event))).toMatchObject({
      error: {
        issues: [
          { path: '', message: 'everything' },
          { path: 'items.0.sku', message: 'deep' },
          { path: 'Symbol(s)', message: 'symbol' },
        ],
      },
    })
  })

  test('a payload whose upcast throws as invalid', () => {
    const cause = new TypeError('no lines')
    const upcast = {
      1: () => {
        throw cause
      },
    }
    const event = defineEvent('OrderPaid', { version: 2, payload: z.any(), upcast })

    expect(prepareEntry(anEntry(), aConsumer(event))).toEqual({
      kind: 'rejected',
      reason: 'invalid',
      error: new InvalidPayloadError('OrderPaid', [
        { path: '', message: 'the upcast from version 1 failed: TypeError: no lines' },
      ]),
      decoded: decodedOf(),
    })
  })

  test('a lifted payload that the schema refuses as invalid', () => {
    const upcast = { 1: () => ({ orderId: null }) }
    const event = defineEvent('OrderPaid', { version: 2, payload: z.object({ orderId: z.string() }), upcast })

    expect(prepareEntry(anEntry(), aConsumer(event))).toMatchObject({ kind: 'rejected', reason: 'invalid' })
  })
})

describe('prepareEntry() with a codec of the user’s own', () => {
  const decoding = (decode: () => unknown) => aConsumer(OrderPaid, { codec: { decode: decode as () => DecodedEvent } })
  const payload = { orderId: 'o-1' }

  test.each([
    [
      'those that are texts',
      { a: '1', none: null, not: undefined, ['__proto__']: 'x' },
      [
        ['a', '1'],
        ['__proto__', 'x'],
      ],
    ],
    ['none where there are none', {}, undefined],
    ['none of null', null, undefined],
  ])('takes its attributes: %s', (_title, attributes, entries) => {
    const { event } = prepareEntry(
      anEntry(),
      decoding(() => ({ type: 'OrderPaid', payload, attributes })),
    ) as {
      event: { attributes?: object }
    }

    expect(event.attributes && Object.entries(event.attributes)).toEqual(entries)
    expect('attributes' in event).toBe(entries !== undefined)
  })

  test.each(['a=1', 5, Promise.resolve({}), { a: 1 }, { a: {} }, new Map([['a', '1']]), ['a'], new Date(0)])(
    'rejects attributes that are none: %s',
    (attributes) => {
      expect(
        prepareEntry(
          anEntry(),
          decoding(() => ({ type: 'OrderPaid', payload, attributes })),
        ),
      ).toMatchObject({
        kind: 'rejected',
        reason: 'malformed',
      })
    },
  )

  test.each([
    ['gives nothing', () => undefined],
    ['gives no type', () => ({ payload })],
    ['gives a version that is no number', () => ({ type: 'OrderPaid', version: Number.NaN, payload })],
    ['is asynchronous', async () => ({ type: 'OrderPaid', payload })],
    ['is asynchronous and rejects', () => Promise.reject(new Error('no'))],
  ])('that %s rejects the entry as malformed', (_title, decode) => {
    expect(prepareEntry(anEntry(), decoding(decode))).toMatchObject({
      kind: 'rejected',
      reason: 'malformed',
      error: { code: 'ERR_ENTRY_MALFORMED' },
    })
  })
})

describe('prepareEntry() with a schema', () => {
  test('that answers with a promise of another realm waits for it', async () => {
    const event = defineEvent('OrderPaid', {
      payload: aSchema(() => runInNewContext(`Promise.resolve({ issues: [{ message: 'no' }] })`)),
    })

    expect(await prepareEntry(anEntry(), aConsumer(event))).toMatchObject({ kind: 'rejected', reason: 'invalid' })
  })

  test.each([[{}], [undefined], [null], [7], [{ issues: {} }], [{ issues: 'no' }], [Object.create(null)]])(
    'that answers %o says of no payload that it fits: invalid',
    (answer) => {
      const event = defineEvent('OrderPaid', { payload: aSchema(() => answer as never) })

      expect(prepareEntry(anEntry(), aConsumer(event))).toMatchObject({ kind: 'rejected', reason: 'invalid' })
    },
  )
})

describe('prepareEntry() lifts', () => {
  test.each([
    [2, { orderId: 'o-1', two: true, three: true }],
    [3, { orderId: 'o-1', three: true }],
    [4, { orderId: 'o-1' }],
  ])('a payload of version %d one version at a time', (version, payload) => {
    const { event, lifted } = aLiftedEvent()

    expect(prepareEntry(anEntry({ version }), aConsumer(event))).toMatchObject({
      decoded: { version, payload: { orderId: 'o-1' } },
      event: { version: 4, payload },
    })
    expect(lifted).toEqual([{ orderId: 'o-1' }, { orderId: 'o-1', two: true }].slice(0, 4 - version))
  })

  test('an event without a version from 1', () => {
    const event = defineEvent('OrderPaid', { version: 2, payload: z.any(), upcast: { 1: () => 'lifted' } })

    expect(prepareEntry(anEntry(), aConsumer(event))).toMatchObject({ event: { version: 2, payload: 'lifted' } })
  })
})

describe('prepareEntry() with an asynchronous schema', () => {
  const payload = z.object({ orderId: z.string().check(z.refine(async (id) => id !== 'o-0')) })
  const consumer = aConsumer(defineEvent('OrderPaid', { payload }))

  test('waits for it', async () => {
    const prepared = prepareEntry(anEntry({ eventId: 'e-1' }), consumer)

    expect(prepared).toBeInstanceOf(Promise)
    expect(await prepared).toMatchObject({
      kind: 'prepared',
      event: { type: 'OrderPaid', payload: { orderId: 'o-1' }, eventId: 'e-1' },
    })
  })

  test('rejects what it refuses', async () => {
    expect(await prepareEntry(anEntry({ payload: '{"orderId":"o-0"}' }), consumer)).toMatchObject({
      kind: 'rejected',
      reason: 'invalid',
      error: new InvalidPayloadError('OrderPaid', [{ path: 'orderId', message: 'Invalid input' }]),
    })
  })

  test('does not take its trouble for an invalid payload', async () => {
    const trouble = new Error('the price list cannot be reached')
    const event = defineEvent('OrderPaid', { payload: aSchema(() => Promise.reject(trouble)) })

    await expect(Promise.resolve(prepareEntry(anEntry(), aConsumer(event)))).rejects.toBe(trouble)
  })
})

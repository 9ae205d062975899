import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { envelopeCodec } from '../../src/core/codec.ts'
import { flatCodec } from '../../src/core/flat-codec.ts'
import type { ConsumerOptions } from '../../src/define/consumer.ts'
import { defineConsumer, on } from '../../src/define/consumer.ts'
import { overrideSettings } from '../../src/define/consumer-settings.ts'
import { defineEvent } from '../../src/define/event.ts'
import { filterPatterns } from '../../src/define/filter-patterns.ts'
import { onBatch } from '../../src/define/on-batch.ts'
import { prioritized } from '../../src/define/prioritized.ts'

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })
const OrderShipped = defineEvent('OrderShipped', { payload: z.object({ orderId: z.string() }) })
const handle = () => {}

/** Options of group `billing` on stream `orders`, as they come from programs without types. */
const someOptions = (more: object = {}) =>
  ({ stream: 'orders', group: 'billing', routes: [on(OrderPaid, handle)], ...more }) as ConsumerOptions

const settingsOf = (more: object) => defineConsumer(someOptions(more)).settings

function refusalOf(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

describe('on()', () => {
  test('binds an event to its handler, for good', () => {
    const route = on(OrderPaid, handle)

    expect(route).toEqual({ event: OrderPaid, handler: handle, use: [] })
    expect(Object.isFrozen(route)).toBe(true)
  })

  test.each<[refusal: Error, event: unknown, handler: unknown]>([
    [new TypeError('Cannot define a route: event must come from defineEvent, got undefined'), undefined, handle],
    [new TypeError('Cannot define a route: event must come from defineEvent, got string'), 'OrderPaid', handle],
    [new TypeError('Cannot define a route: event must come from defineEvent, got object'), {}, handle],
    [
      new TypeError('Cannot define a route: the handler of "OrderPaid" must be a function, got undefined'),
      OrderPaid,
      undefined,
    ],
    [new TypeError('Cannot define a route: the handler of "OrderPaid" must be a function, got object'), OrderPaid, {}],
  ])('throws %s', (refusal, event, handler) => {
    expect(refusalOf(() => on(event as typeof OrderPaid, handler as typeof handle))).toEqual(refusal)
  })
})

describe.each([
  { bind: on, action: 'define a route for "OrderPaid"' },
  { bind: onBatch, action: 'define a batch route for "OrderPaid"' },
])('$bind.name()', ({ bind, action }) => {
  const when = () => true

  test('keeps what the route does otherwise', () => {
    expect(bind(OrderPaid, handle, { when, maxAgeMs: Number.POSITIVE_INFINITY })).toMatchObject({
      when,
      maxAgeMs: Number.POSITIVE_INFINITY,
    })
  })

  const notSo = 'when must be a function, not async, that answers true or false'
  test.each<[refusal: string, options: object]>([
    [notSo, { when: async () => true }],
    [notSo, { when: true }],
    [notSo, { when: null }],
    [notSo, { when: function* () {} }],
    ['maxAgeMs must be >= 1, got 0', { maxAgeMs: 0 }],
    ['maxAgeMs must be >= 1, got NaN', { maxAgeMs: Number.NaN }],
    ['maxAgeMs must be a number, got null', { maxAgeMs: null }],
    ['concurrency must be >= 1, got 0', { concurrency: 0 }],
    ['concurrency must be <= 1000, got 1001', { concurrency: 1_001 }],
    ['handlerTimeoutMs must be >= 1, got 0', { handlerTimeoutMs: 0 }],
    ['maxDeliveries must be a whole number, got 1.5', { maxDeliveries: 1.5 }],
    ['backoff must be an object as { firstMs, factor, maxMs }, got null', { backoff: null }],
    ['backoff.factor must be >= 1, got 0', { backoff: { factor: 0 } }],
    ['unknown option "unrouted"', { unrouted: 'ignore' }],
  ])('refuses: %s', (refusal, options) => {
    expect(() => bind(OrderPaid, handle, options)).toThrow(`Cannot ${action}: ${refusal}`)
  })
})

describe('defineConsumer()', () => {
  test('resolves every setting to its default', () => {
    expect(settingsOf({})).toEqual({
      batchSize: 100,
      concurrency: 10,
      handlerTimeoutMs: 10_000,
      minIdleMs: 60_000,
      maxDeliveries: 5,
      maxPending: 10_000,
      maxParked: 100_000,
      backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 },
      maxDeadLetters: 100_000,
      allowLongHandlers: false,
      maxEntryBytes: 1_048_576,
      maxBytes: 67_108_864,
      unrouted: 'deadLetter',
      newerVersion: 'park',
      maxAgeMs: Number.POSITIVE_INFINITY,
      expired: 'deadLetter',
      mode: 'drain',
      maxRunMs: Number.POSITIVE_INFINITY,
      lingerMs: 0,
      reserveMs: 1_000,
      maxPollers: 4,
      startAt: '0',
    })
  })

  test.each([{ firstMs: 120_000 }, { maxMs: 100 }])(
    'takes a backoff of %j, which the other default bounds',
    (backoff) => {
      expect(settingsOf({ backoff }).backoff).toMatchObject(backoff)
    },
  )

  test('keeps every setting that is given', () => {
    const given = {
      batchSize: 10_000,
      concurrency: 1_000,
      handlerTimeoutMs: 55_000,
      minIdleMs: 60_000,
      maxDeliveries: 1,
      maxPending: 1,
      maxParked: 1,
      backoff: { firstMs: 0, factor: 1, maxMs: 0 },
      allowLongHandlers: true,
      maxEntryBytes: 1,
      maxBytes: 9_000,
      unrouted: 'park',
      newerVersion: 'deadLetter',
      maxAgeMs: 1,
      expired: 'ignore',
      mode: 'once',
      maxRunMs: 1,
      lingerMs: 600.5,
      reserveMs: 100,
      maxPollers: 64,
      startAt: '5-1',
    }

    expect(settingsOf({ ...given, deadLetters: { maxLength: 1 } })).toEqual({ ...given, maxDeadLetters: 1 })
    expect(settingsOf({ deadLetters: { maxLength: Infinity } })).toMatchObject({ maxDeadLetters: Infinity })
  })

  test('takes undefined for left out', () => {
    const names = [...Object.keys(settingsOf({})), 'codec', 'deadLetters'].filter((name) => name !== 'maxDeadLetters')
    const nothing = Object.fromEntries(names.map((name) => [name, undefined]))

    expect(settingsOf(nothing)).toEqual(settingsOf({}))
  })

  test('fills up a back-off that is given in part, and caps it at 24 hours', () => {
    expect(settingsOf({ backoff: { maxMs: 1e12, factor: undefined } }).backoff).toEqual({
      firstMs: 1_000,
      factor: 2,
      maxMs: 86_400_000,
    })
  })

  test('fills what a route leaves out from its consumer', () => {
    const routes = [on(OrderPaid, handle, { maxDeliveries: 9, backoff: { firstMs: 7 } }), on(OrderShipped, handle)]
    const consumer = defineConsumer(someOptions({ routes, handlerTimeoutMs: 3_000, backoff: { factor: 3 } }))

    expect(consumer.routes.get('OrderPaid')?.settings).toEqual({
      handlerTimeoutMs: 3_000,
      maxDeliveries: 9,
      backoff: { firstMs: 7, factor: 3, maxMs: 60_000 },
    })
    expect(consumer.routes.get('OrderShipped')?.settings).toMatchObject({ handlerTimeoutMs: 3_000, maxDeliveries: 5 })
  })

  test('lets a route take longer where handlers may outlast minIdleMs', () => {
    const routes = [on(OrderPaid, handle, { handlerTimeoutMs: 90_000 })]

    expect(defineConsumer(someOptions({ routes, allowLongHandlers: true })).routeBounds.longestTimeoutMs).toBe(90_000)
  })

  test('binds stream, group, routes, codec and keys, for good', () => {
    const routes = [on(OrderPaid, handle), on(OrderShipped, handle)]
    const codec = flatCodec()
    const consumer = defineConsumer(someOptions({ routes, codec }))

    expect({ ...consumer, routes: [...consumer.routes], settings: undefined }).toEqual({
      stream: 'orders',
      asksTime: false,
      group: 'billing',
      codec,
      routes: [
        ['OrderPaid', { ...routes[0], settings: consumer.settings }],
        ['OrderShipped', { ...routes[1], settings: consumer.settings }],
      ],
      routeBounds: {
        shortestTimeoutMs: 10_000,
        longestTimeoutMs: 10_000,
        longestType: undefined,
        fewestDeliveries: 5,
        mostDeliveries: 5,
      },
      policies: [],
      settings: undefined,
      keys: {
        stream: 'orders',
        deadLetters: '{orders}:billing:dlq',
        due: '{orders}:billing:due',
        waiting: '{orders}:billing:waiting',
        nextClaim: '{orders}:billing:next-claim',
        paused: '{orders}:billing:paused',
        state: '{orders}:billing:state',
        wake: '{orders}:billing:wake',
        slot: expect.any(Function),
        marker: expect.any(Function),
        breakers: '{orders}:billing:breakers',
        failures: expect.any(Function),
        rate: expect.any(Function),
        places: expect.any(Function),
      },
    })
    expect([consumer, consumer.settings, consumer.settings.backoff].map(Object.isFrozen)).toEqual([true, true, true])
  })

  test('reads what publish writes unless its codec says otherwise', () => {
    expect(defineConsumer(someOptions()).codec).toBe(envelopeCodec)
  })

  test.each(['{orders}:failed', '{orders}', 'a{orders}b'])('takes the dead-letter stream %j', (stream) => {
    expect(defineConsumer(someOptions({ deadLetters: { stream } })).keys.deadLetters).toBe(stream)
  })

  test.each(['0', '0-0', '$', '5', '5-1', '18446744073709551615-18446744073709551615'])('starts at %j', (startAt) => {
    expect(settingsOf({ startAt }).startAt).toBe(startAt)
  })

  test.each([
    { handlerTimeoutMs: 10_000, minIdleMs: 15_000 },
    { handlerTimeoutMs: 1, minIdleMs: 5_001 },
    { handlerTimeoutMs: 900_000, minIdleMs: 60_000, allowLongHandlers: true },
  ])('accepts %j', (times) => {
    expect(settingsOf(times)).toMatchObject(times)
  })

  const billing = defineConsumer(someOptions())
  const jobs = defineConsumer({
    stream: prioritized('jobs', ['high', 'low']),
    group: 'work',
    routes: [on(OrderPaid, handle)],
  })
  test.each<[name: string, options: object]>([
    ['a consumer', billing],
    ['a spread consumer', { ...billing, maxPollers: 16 }],
    ['the consumers of a set', jobs],
    ['spread consumers of a set', Object.assign({}, jobs, { maxPollers: 16 })],
  ])('refuses %s, and says where to change its options', (_name, options) => {
    expect(() => defineConsumer(options as ConsumerOptions)).toThrow(
      new TypeError(
        "Cannot define consumer: options must be a consumer's options, got a consumer; change its options where it is defined",
      ),
    )
  })

  const here = 'Cannot define consumer "billing" on stream "orders"'
  const type = (message: string) => new TypeError(`${here}${message}`)
  const range = (message: string) => new RangeError(`${here}${message}`)
  const idle = (minIdleMs: number, handlerTimeoutMs: number) =>
    range(
      `: minIdleMs must be >= handlerTimeoutMs + 5000, got minIdleMs ${minIdleMs} and handlerTimeoutMs ${handlerTimeoutMs}; ` +
        'or set allowLongHandlers: true if handlers may outlast minIdleMs',
    )
  const known =
    'known are stream, group, routes, codec, onDeadLetter, filter, use, delays, backoff, deadLetters, batchSize, concurrency, handlerTimeoutMs, minIdleMs, ' +
    'maxDeliveries, maxPending, maxParked, allowLongHandlers, maxEntryBytes, maxBytes, unrouted, newerVersion, maxAgeMs, expired, mode, maxRunMs, lingerMs, reserveMs, maxPollers, startAt'
  const noRoutes = type(': routes must be an array with at least one route, as on(Event, handler)')
  const noRoute = type(': every route must come from on or onBatch')
  test.each<[refusal: Error, options: object]>([
    [idle(14_999, 10_000), { minIdleMs: 14_999 }],
    [idle(60_000, 55_001), { handlerTimeoutMs: 55_001 }],
    [idle(5_000, 1), { minIdleMs: 5_000, handlerTimeoutMs: 1, allowLongHandlers: false }],
    [type(`: unknown option "batchsize"; ${known}`), { batchsize: 1 }],
    [type(`: unknown option "orderBy", "ordering"; ${known}`), { orderBy: () => 1, ordering: 'strict' }],
    [type(`: unknown option "maxDeadLetters"; ${known}`), { maxDeadLetters: 1 }],
    [noRoutes, { routes: undefined }],
    [noRoutes, { routes: [] }],
    [noRoutes, { routes: on(OrderPaid, handle) }],
    [noRoute, { routes: [OrderPaid] }],
    [noRoute, { routes: [undefined] }],
    [
      type(': event type "OrderPaid" must have one route, got two'),
      { routes: [on(OrderPaid, handle), on(OrderShipped, handle), on(OrderPaid, handle)] },
    ],
    [
      type(
        ': event type "OrderPaid" must have one route, got two: for older payloads give the newest definition its version and upcast, and route that alone',
      ),
      { routes: [on(OrderPaid, handle), on(defineEvent('OrderPaid', { version: 2, payload: z.any() }), handle)] },
    ],
    [type(': codec must have a decode function'), { codec: null }],
    [type(': codec must have a decode function'), { codec: {} }],
    [
      type(': codec.typeField must be a string that is not empty, got symbol'),
      { codec: { decode: handle, typeField: Symbol('x') } },
    ],
    [
      type(': codec.typeField must be a string that is not empty, got null'),
      { codec: { decode: handle, typeField: null } },
    ],
    [range(': batchSize must be >= 1, got 0'), { batchSize: 0 }],
    [range(': batchSize must be <= 10000, got 10001'), { batchSize: 10_001 }],
    [type(': batchSize must be a number, got string'), { batchSize: '100' }],
    [range(': concurrency must be >= 1, got 0'), { concurrency: 0 }],
    [range(': concurrency must be <= 1000, got 1001'), { concurrency: 1_001 }],
    [
      range(
        ': handlerTimeoutMs of "OrderPaid" must be <= minIdleMs - 5000, got handlerTimeoutMs 55001 and minIdleMs 60000; or set ' +
          'allowLongHandlers: true if handlers may outlast minIdleMs',
      ),
      { routes: [on(OrderPaid, handle, { handlerTimeoutMs: 55_001 })] },
    ],
    [
      range(': concurrency of "OrderPaid" must be <= the consumer\'s, got 3 and 2'),
      { concurrency: 2, routes: [on(OrderPaid, handle, { concurrency: 3 })] },
    ],
    [
      range(
        ': maxDeliveries must be >= 2 where batches of "OrderPaid" are bisected, got 1: there is no second delivery in parts',
      ),
      { maxDeliveries: 1, routes: [onBatch(OrderPaid, handle, { bisectOnError: true })] },
    ],
    [range(': handlerTimeoutMs must be >= 1, got 0'), { handlerTimeoutMs: 0 }],
    [range(': handlerTimeoutMs must be <= 86400000, got 86400001'), { handlerTimeoutMs: 86_400_001 }],
    [range(': handlerTimeoutMs must be a whole number, got 1.5'), { handlerTimeoutMs: 1.5 }],
    [range(': minIdleMs must be >= 1, got -1'), { minIdleMs: -1 }],
    [range(': minIdleMs must be <= 86400000, got Infinity'), { minIdleMs: Number.POSITIVE_INFINITY }],
    [range(': maxDeliveries must be >= 1, got 0'), { maxDeliveries: 0 }],
    [range(': maxPending must be >= 1, got 0'), { maxPending: 0 }],
    [range(': maxDeliveries must be a whole number, got 2.5'), { maxDeliveries: 2.5 }],
    [type(': allowLongHandlers must be true or false, got string'), { allowLongHandlers: 'yes' }],
    [range(': maxEntryBytes must be >= 1, got 0'), { maxEntryBytes: 0 }],
    [type(': unrouted must be one of "deadLetter", "ignore", "park", got "drop"'), { unrouted: 'drop' }],
    [type(': unrouted must be one of "deadLetter", "ignore", "park", got boolean'), { unrouted: false }],
    [type(': expired must be one of "deadLetter", "ignore", got null'), { expired: null }],
    [range(': maxAgeMs must be >= 1, got 0'), { maxAgeMs: 0 }],
    [range(': maxAgeMs must be >= 1, got NaN'), { maxAgeMs: Number.NaN }],
    [type(': maxAgeMs must be a number, got string'), { maxAgeMs: '1h' }],
    [type(': filter must come from filterPatterns([…])'), { filter: [{ type: ['OrderPaid'] }] }],
    [type(': filter must come from filterPatterns([…])'), { filter: null }],
    [type(': filter must come from filterPatterns([…])'), { filter: filterPatterns }],
    [type(': mode must be one of "once", "drain", "listen", got "tail"'), { mode: 'tail' }],
    [range(': maxRunMs must be >= 1, got 0'), { maxRunMs: 0 }],
    [range(': maxRunMs must be >= 1, got NaN'), { maxRunMs: Number.NaN }],
    [range(': reserveMs must be >= 100, got 99'), { reserveMs: 99 }],
    [range(': maxPollers must be >= 1, got 0'), { maxPollers: 0 }],
    [range(': maxPollers must be <= 64, got 65'), { maxPollers: 65 }],
    [type(': startAt must be a string that is not empty, got number'), { startAt: 0 }],
    [range(': startAt must be "0", "$" or an entry id, got ">"'), { startAt: '>' }],
    [type(': backoff must be an object as { firstMs, factor, maxMs }, got null'), { backoff: null }],
    [type(': backoff: unknown option "base"; known are firstMs, factor, maxMs'), { backoff: { base: 1 } }],
    [range(': backoff.firstMs must be >= 0, got -1'), { backoff: { firstMs: -1 } }],
    [range(': backoff.factor must be >= 1, got 0.5'), { backoff: { factor: 0.5 } }],
    [range(': backoff.maxMs must be >= 0, got NaN'), { backoff: { maxMs: Number.NaN } }],
    [
      range(': backoff.firstMs must be <= backoff.maxMs, got 5000 and 100'),
      { backoff: { firstMs: 5_000, maxMs: 100 } },
    ],
    [type(': backoff must be an object as { firstMs, factor, maxMs }, got an array'), { backoff: [1_000] }],
    [type(': deadLetters must be an object as { stream, maxLength }, got string'), { deadLetters: '{orders}:failed' }],
    [
      type(': deadLetters: unknown option "key"; known are stream, maxLength, allowOtherSlot'),
      { deadLetters: { key: 'a' } },
    ],
    [range(': deadLetters.maxLength must be >= 1, got 0'), { deadLetters: { maxLength: 0 } }],
    [type(': deadLetters.stream must be a string that is not empty, got ""'), { deadLetters: { stream: '' } }],
    ...[
      '{orders}:billing:due',
      '{orders}:billing:state',
      '{orders}:billing:slot:poller-0',
      '{orders}:delayed',
      '{orders}:delayed:events',
      '{orders}::published::e-1',
      '{orders}::aggregate:::',
      '{orders}::stream::groups',
    ].map((stream): [Error, Partial<ConsumerOptions>] => [
      range(
        `: deadLetters.stream must not be the stream itself or another key of the consumer, got ${JSON.stringify(stream)}`,
      ),
      { deadLetters: { stream } },
    ]),
    [
      range(': deadLetters.stream must not be the stream itself or another key of the consumer, got "orders"'),
      { deadLetters: { stream: 'orders' } },
    ],
    [
      range(
        ': deadLetters.stream must lie in the stream\'s hash slot, 105, got "failed" in slot 15654; give it the stream\'s hash tag, as in "{orders}:…", or set deadLetters.allowOtherSlot where the server is no cluster',
      ),
      { deadLetters: { stream: 'failed' } },
    ],
  ])('throws %s', (refusal, options) => {
    expect(refusalOf(() => defineConsumer(someOptions(options)))).toEqual(refusal)
  })

  test.each<[refusal: Error, options: unknown]>([
    [new TypeError('Cannot define consumer: options must be an object, got undefined'), undefined],
    [
      new TypeError(
        'Cannot define consumer "billing" on stream undefined: stream must be a string that is not empty, got undefined',
      ),
      { group: 'billing' },
    ],
    [
      new TypeError('Cannot define consumer "" on stream "orders": group must be a string that is not empty, got ""'),
      someOptions({ group: '' }),
    ],
    [
      new TypeError(
        'Cannot name keys for stream "or}ders": a name with "}" must carry a hash tag that is not empty, as in "{shop}:orders"; ' +
          'otherwise no other key can share its hash slot',
      ),
      someOptions({ stream: 'or}ders' }),
    ],
  ])('throws %s', (refusal, options) => {
    expect(refusalOf(() => defineConsumer(options as ConsumerOptions))).toEqual(refusal)
  })
})

describe('overrideSettings()', () => {
  const { settings } = defineConsumer(someOptions())

  test('changes mode and maxRunMs of a copy, and nothing else', () => {
    const overridden = overrideSettings('poll', settings, { mode: 'once', maxRunMs: 5_000 })

    expect(overridden).toEqual({ ...settings, mode: 'once', maxRunMs: 5_000 })
    expect(settings).toMatchObject({ mode: 'drain', maxRunMs: Number.POSITIVE_INFINITY })
  })

  test('keeps what is not overridden', () => {
    expect(overrideSettings('poll', settings, {})).toEqual(settings)
  })

  test.each<[refusal: Error, run: object]>([
    [new TypeError('Cannot poll: mode must be one of "once", "drain", "listen", got "tail"'), { mode: 'tail' }],
    [new RangeError('Cannot poll: maxRunMs must be >= 1, got 0'), { maxRunMs: 0 }],
  ])('throws %s', (refusal, run) => {
    expect(refusalOf(() => overrideSettings('poll', settings, run))).toEqual(refusal)
  })
})

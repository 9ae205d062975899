import type { Codec, Connection } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  defineEvent,
  EventsTrimmedError,
  flatCodec,
  InvalidPayloadError,
  MalformedEntryError,
  NoRouteError,
  on,
  poll,
  readEvents,
  UnreadableEventError,
  UnsupportedVersionError,
  VersionConflictError,
} from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { DELAY_PLACES, delayInMemory, delayOverTcp } from '../support/delays.ts'
import { names, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const Opened = defineEvent('Opened', { payload: z.object({ owner: z.string() }) })
const Added = defineEvent('Added', { payload: z.object({ amount: z.number() }) })
const events = [Opened, Added] as const

const aPublisher = (redis: Connection, options: object = {}) =>
  createPublisher({ stream: 'orders', redis, maxLength: Number.POSITIVE_INFINITY, ...options })

const at = (expectedVersion: number, more: object = {}) => ({
  aggregateType: 'account',
  aggregateId: 'a',
  expectedVersion,
  ...more,
})

async function readAll(redis: Connection, options: object = {}, stream = 'orders') {
  const found = []
  const of = { aggregateType: 'account', aggregateId: 'a' }
  for await (const event of readEvents(stream, { redis, events, ...of, ...options })) found.push(event)
  return found
}

const amountsOf = (found: Awaited<ReturnType<typeof readAll>>) =>
  found.map((event) => (event.type === 'Added' ? event.payload.amount : event.payload.owner))

/** An event of each amount, at the versions from `from` on. */
const added = (amounts: readonly number[], from = 0, more: object = {}) =>
  amounts.map((amount, n) => [Added, { amount }, at(from + n, more)] as const)

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

describe.each(DELAY_PLACES)('expectedVersion over %s', (_name, start) => {
  it('adds an event to an aggregate that has so many, and reads them back in order', async () => {
    const { redis } = await start()
    const publisher = aPublisher(redis)
    const first = await publisher.publish(Opened, { owner: 'ü 🦊' }, at(0, { tenantId: 't' }))
    const second = await publisher.publish(Added, { amount: 5 }, at(1))

    const found = await readAll(redis)

    expect(found).toEqual([
      {
        type: 'Opened',
        version: 1,
        payload: { owner: 'ü 🦊' },
        eventId: first.eventId,
        aggregateType: 'account',
        aggregateId: 'a',
        aggregateVersion: 1,
        tenantId: 't',
        occurredAt: expect.any(String),
        entryId: first.entryId,
      },
      expect.objectContaining({ type: 'Added', aggregateVersion: 2, entryId: second.entryId }),
    ])
  })

  it.each([0, 2, 7])('refuses version %d of an aggregate at 1, and adds nothing', async (expectedVersion) => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    await publisher.publish(Added, { amount: 1 }, at(0))

    const failure = await failureOf(publisher.publish(Added, { amount: 2 }, at(expectedVersion)))

    expect(failure).toBeInstanceOf(VersionConflictError)
    expect(failure).toMatchObject({
      code: 'ERR_VERSION_CONFLICT',
      stream: 'orders',
      aggregateType: 'account',
      aggregateId: 'a',
      expectedVersion,
      actualVersion: 1,
    })
    expect(await entries()).toHaveLength(1)
  })

  it('of 50 publishers that expect the same version one succeeds, the others conflict', async () => {
    const { redis, entries } = await start()
    await aPublisher(redis).publish(Opened, { owner: 'o' }, at(0))

    const answers = await Promise.all(
      names('o', 50).map((_, amount) => failureOf(aPublisher(redis).publish(Added, { amount }, at(1)))),
    )

    expect(answers.filter((answer) => answer === undefined)).toHaveLength(1)
    expect(
      answers.filter((answer) => answer instanceof VersionConflictError && answer.actualVersion === 2),
    ).toHaveLength(49)
    expect(await entries()).toHaveLength(2)
    expect(await readAll(redis)).toHaveLength(2)
  })

  it('an event that is published again at its version is the one there', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    const first = await publisher.publish(Added, { amount: 1 }, at(0, { eventId: 'e' }))
    await publisher.publishMany(added([2, 3, 4], 1))

    expect(await publisher.publish(Added, { amount: 1 }, at(0, { eventId: 'e' }))).toEqual(first)
    await expect(publisher.publish(Added, { amount: 1 }, at(1, { eventId: 'e' }))).rejects.toThrow(VersionConflictError)
    await expect(publisher.publish(Added, { amount: 1 }, at(0, { eventId: 'f' }))).rejects.toThrow(VersionConflictError)
    expect(await entries()).toHaveLength(4)
  })

  it('publishMany() adds all or none, of several aggregates, in order', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    const both = [
      [Added, { amount: -5 }, at(0, { eventId: 'x' })],
      [Added, { amount: 5 }, at(0, { aggregateId: 'b', eventId: 'y' })],
      [Added, { amount: 7 }, at(1, { eventId: 'z' })],
    ] as const
    const published = await publisher.publishMany(both)

    expect(published.map(({ eventId }) => eventId)).toEqual(['x', 'y', 'z'])
    expect(await publisher.publishMany(both)).toEqual(published)
    const failure = await failureOf(publisher.publishMany([...added([1], 2), ...added([2], 0, { aggregateId: 'b' })]))
    expect(failure).toMatchObject({ aggregateId: 'b', expectedVersion: 0, actualVersion: 1 })
    // what was there in part is another attempt
    await expect(publisher.publishMany([...both, ...added([9], 2)])).rejects.toThrow(VersionConflictError)
    expect(amountsOf(await readAll(redis))).toEqual([-5, 7])
    expect(amountsOf(await readAll(redis, { aggregateId: 'b' }))).toEqual([5])
    expect(await entries()).toHaveLength(3)
  })

  it.each([
    ['at once', z.number()],
    ['later', z.number().check(z.refine(async () => true))],
  ] as const)('goes by the options as they were given, where a schema answers %s', async (_when, payload) => {
    const { redis } = await start()
    const Counted = defineEvent('Counted', { payload })
    const options = { ...at(0), attributes: { by: 'x' } }

    const publishing = aPublisher(redis).publish(Counted, 1, options)
    Object.assign(options, { aggregateId: 'b', expectedVersion: 7, eventId: 'changed' })
    options.attributes.by = 'y'
    const { eventId } = await publishing

    expect(eventId).not.toBe('changed')
    expect(await readAll(redis, { events: [Counted] })).toMatchObject([
      { aggregateId: 'a', eventId, attributes: { by: 'x' } },
    ])
    expect(await readAll(redis, { events: [Counted], aggregateId: 'b' })).toEqual([])
  })

  it('without an aggregateId the stream is the aggregate', async () => {
    const { redis } = await start()
    const publisher = aPublisher(redis)
    await publisher.publish(Added, { amount: 1 }, { expectedVersion: 0 })
    await publisher.publish(Added, { amount: 2 }, { expectedVersion: 1 })
    await expect(publisher.publish(Added, { amount: 3 }, { expectedVersion: 1 })).rejects.toThrow(
      'Cannot publish to stream "orders": expectedVersion must be its version, 2, got 1',
    )

    const whole = { aggregateType: undefined, aggregateId: undefined }
    expect(amountsOf(await readAll(redis, whole))).toEqual([1, 2])
    expect(await readAll(redis)).toEqual([])
  })

  it('what is published without it is no part of an aggregate', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    await publisher.publish(Added, { amount: 1 }, at(0))
    await publisher.publish(Added, { amount: 100 }, { aggregateType: 'account', aggregateId: 'a' })
    await publisher.publish(Added, { amount: 2 }, at(1))

    expect(amountsOf(await readAll(redis))).toEqual([1, 2])
    expect(await entries()).toHaveLength(3)
  })

  it('reads from a version to another, across pages, and no further than it is asked', async () => {
    const { redis } = await start()
    const publisher = aPublisher(redis)
    const amounts = Array.from({ length: 250 }, (_, n) => n + 1)
    for (let n = 0; n < 250; n += 50) await publisher.publishMany(added(amounts.slice(n, n + 50), n))

    expect(amountsOf(await readAll(redis))).toEqual(amounts)
    expect(amountsOf(await readAll(redis, { from: 100, to: 201 }))).toEqual(amounts.slice(99, 201))
    expect(amountsOf(await readAll(redis, { from: 250 }))).toEqual([250])
    expect(await readAll(redis, { from: 251 })).toEqual([])
    expect(await readAll(redis, { aggregateId: 'nobody' })).toEqual([])
  })

  it('what was trimmed is an error, and the versions go on', async () => {
    const { redis } = await start()
    await aPublisher(redis).publishMany(added([1, 2, 3]))
    await aPublisher(redis, { maxLength: 2, exactTrimming: true }).publish(Added, { amount: 4 }, at(3))

    const failure = await failureOf(readAll(redis))

    expect(failure).toBeInstanceOf(EventsTrimmedError)
    expect(failure).toMatchObject({ code: 'ERR_EVENTS_TRIMMED', aggregateId: 'a', aggregateVersion: 1 })
    await expect(readAll(redis, { from: 2, to: 2 })).rejects.toMatchObject({ aggregateVersion: 2 })
    expect(amountsOf(await readAll(redis, { from: 3 }))).toEqual([3, 4])
    await expect(aPublisher(redis).publish(Added, { amount: 5 }, at(0))).rejects.toMatchObject({ actualVersion: 4 })
    // of all of them
    await aPublisher(redis, { maxLength: 1, exactTrimming: true }).publish(
      Added,
      { amount: 6 },
      at(0, { aggregateId: 'b' }),
    )
    await expect(readAll(redis, { from: 4 })).rejects.toMatchObject({ aggregateVersion: 4 })
    await aPublisher(redis).publish(Added, { amount: 5 }, at(4))
    expect(amountsOf(await readAll(redis, { from: 5 }))).toEqual([5])
  })

  it('streams know nothing of each other’s aggregates, nor do types', async () => {
    const { redis } = await start()
    const streams = ['orders', '{orders}', '{orders}:', '{orders}::', '{orders}:more', 'a{orders}', '{orders}a']
    const ids = [
      { aggregateId: 'x' },
      { aggregateId: ':x' },
      { aggregateType: 'x', aggregateId: 'x' },
      { aggregateType: 'x:', aggregateId: 'x' },
      { aggregateType: 'x', aggregateId: ':x' },
      {},
    ]
    const all = streams.flatMap((stream) => ids.map((id) => ({ stream, id })))
    const publish = ({ stream, id }: (typeof all)[number]) =>
      createPublisher({ stream, redis }).publish(Added, { amount: 1 }, { ...id, expectedVersion: 0 })

    await Promise.all(all.map(publish))
    const again = await Promise.all(all.map((each) => failureOf(publish(each))))

    expect(again.every((failure) => failure instanceof VersionConflictError && failure.actualVersion === 1)).toBe(true)
  })

  it('a handler gets the version', async () => {
    const { redis } = await start()
    await aPublisher(redis).publishMany(added([1, 2]))
    const versions: unknown[] = []
    const handler = on(Added, ({ aggregateVersion }) => void versions.push(aggregateVersion))

    await poll(defineConsumer({ stream: 'orders', group: 'billing', routes: [handler] }), { redis })

    expect(versions).toEqual([1, 2])
  })
})

describe('readEvents()', () => {
  const Old = defineEvent('Added', { payload: z.object({ amount: z.string() }) })
  const New = defineEvent('Added', {
    version: 2,
    payload: z.object({ cents: z.number() }),
    upcast: { 1: ({ amount }) => ({ cents: Number(amount) * 100 }) },
  })
  it('lifts and checks what it reads', async () => {
    const { redis } = await delayInMemory()
    await aPublisher(redis).publish(Old, { amount: '3' }, at(0))
    const found = []
    const of = { aggregateType: 'account', aggregateId: 'a' }
    for await (const event of readEvents('orders', { redis, events: [New], ...of })) found.push(event)

    expect(found).toMatchObject([{ version: 2, payload: { cents: 300 } }])
  })

  it.each([
    ['has no definition', [Opened], NoRouteError],
    [
      'has no upcast',
      [defineEvent('Added', { version: 3, payload: z.any(), upcast: { 2: (old) => old } })],
      UnsupportedVersionError,
    ],
    [
      'is refused by its schema',
      [defineEvent('Added', { payload: z.object({ amount: z.number() }) })],
      InvalidPayloadError,
    ],
  ])('names an event that %s', async (_why, definitions, cause) => {
    const { redis } = await delayInMemory()
    const { entryId } = await aPublisher(redis).publish(Old, { amount: 'much' }, at(0))

    const failure = await failureOf(readAll(redis, { events: definitions }))

    expect(failure).toBeInstanceOf(UnreadableEventError)
    expect(failure).toMatchObject({ code: 'ERR_EVENT_UNREADABLE', stream: 'orders', aggregateVersion: 1, entryId })
    expect((failure as Error).cause).toBeInstanceOf(cause)
    expect((failure as Error).message).not.toContain('much')
  })

  it.each(['at once', 'later'])('says nothing of what a schema throws %s, which is the cause', async (when) => {
    const { redis } = await delayInMemory()
    const thrown = new Error('The amount "much" is none')
    const refuse = () => {
      throw thrown
    }
    const validate = when === 'later' ? async () => refuse() : refuse
    const Throwing = defineEvent('Added', { payload: { '~standard': { version: 1, vendor: 'test', validate } } })
    await aPublisher(redis).publish(Old, { amount: 'much' }, at(0))

    const failure = await failureOf(readAll(redis, { events: [Throwing] }))

    expect(failure).toMatchObject({ code: 'ERR_EVENT_UNREADABLE', cause: thrown })
    expect((failure as Error).message).toMatch(/is unreadable: its schema threw$/)
  })

  it('reads by a codec of its own, and takes what that throws as a cause', async () => {
    const { redis } = await delayInMemory()
    const codec = flatCodec({
      idField: 'id',
      aggregateIdField: 'account',
      aggregateTypeField: 'kind',
      occurredAtField: 'at',
    })
    const Named = defineEvent('Named', { payload: z.object({ name: z.string() }) })
    await aPublisher(redis, { codec }).publish(Named, { name: 'n' }, at(0, { eventId: 'e' }))
    const broken = {
      decode: () => {
        throw 'nothing'
      },
    }

    expect(await readAll(redis, { events: [Named], codec })).toMatchObject([
      { payload: { name: 'n' }, eventId: 'e', aggregateVersion: 1 },
    ])
    const failure = await failureOf(readAll(redis, { events: [Named], codec: broken }))
    expect(failure).toMatchObject({ cause: new MalformedEntryError('The codec threw a string') })
  })

  it.each([
    ['TCP', delayOverTcp],
    ['memory', delayInMemory],
  ] as const)('over %s an id that stands in other fields too is known by its own', async (_name, start) => {
    const { redis, entries } = await start()
    const codec = flatCodec({ versionField: 'v', idField: 'id', occurredAtField: 'at' })
    const Named = defineEvent('Named', { version: 2, payload: z.object({ name: z.string() }) })
    const publisher = aPublisher(redis, { codec })
    const first = await publisher.publish(Named, { name: '2' }, { expectedVersion: 0, eventId: '1' })
    const publish = (eventId: string) => publisher.publish(Named, { name: '2' }, { expectedVersion: 0, eventId })

    await expect(publish('2')).rejects.toThrow(VersionConflictError)
    await expect(publish('Named')).rejects.toThrow(VersionConflictError)
    expect(await publish('1')).toEqual(first)
    expect(await entries()).toHaveLength(1)
  })

  it.each([
    ['a UUID', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, '0192d3a4-0000-7000-8000-00000000000a'],
    ['digits', /^\d+$/, '10'],
    ['capitals of a length', /^[A-Z]{3}$/, 'XYA'],
    ['text of a length', /^.{3}$/, 'x-~'],
  ])('an id that its codec takes only if it is %s has its field', async (_name, rule, eventId) => {
    const { redis } = await delayInMemory()
    const codec: Codec = {
      encode: (event) => [
        ['kind', event.type],
        ['id', `${event.eventId}`],
      ],
      decode: ([, idField]) => {
        const id = `${idField?.[1]}`
        if (!rule.test(id)) throw new MalformedEntryError('No such id')
        return { type: 'Named', payload: null, eventId: id }
      },
    }
    const Named = defineEvent('Named', { payload: z.null() })
    const publish = (id: string) =>
      aPublisher(redis, { codec }).publish(Named, null, { expectedVersion: 0, eventId: id })

    const first = await publish(eventId)

    expect(await publish(eventId)).toEqual(first)
  })

  it('is one round trip a page, and none more where nobody reads on', async () => {
    const { redis, scenario } = await delayOverTcp()
    await aPublisher(redis).publishMany(added(Array.from({ length: 100 }, (_, n) => n)))
    await aPublisher(redis).publish(Added, { amount: 100 }, at(100))
    await readAll(redis)
    const watch = await watchCommands(scenario.server.url)

    for await (const _event of readEvents('orders', { redis, events, aggregateType: 'account', aggregateId: 'a' }))
      break
    const one = (await watch.seen()).filter(([name]) => name === 'evalsha').length
    await readAll(redis)

    expect([one, (await watch.seen()).filter(([name]) => name === 'evalsha').length]).toEqual([1, 3])
  })

  it('bounds a page in bytes, and reads an event that is larger', async () => {
    const { redis, scenario } = await delayOverTcp()
    const publisher = aPublisher(redis, { maxEntryBytes: 4_000_000 })
    const owner = 'x'.repeat(600_000)
    for (let n = 0; n < 3; n++) await publisher.publish(Opened, { owner }, at(n))
    await publisher.publish(Opened, { owner: owner.repeat(4) }, at(3))
    await readAll(redis)
    const watch = await watchCommands(scenario.server.url)

    expect((await readAll(redis)).map((event) => JSON.stringify(event.payload).length > 600_000)).toEqual(
      Array(4).fill(true),
    )
    expect((await watch.seen()).filter(([name]) => name === 'evalsha')).toHaveLength(4)
  })

  it.each<[message: string, options: object]>([
    ['events must be an array of definitions, one at least', { events: [] }],
    ['events must not define a type twice', { events: [Added, Added] }],
    ['from must be >= 1, got 0', { from: 0 }],
    ['from must be a whole number, got 1.5', { from: 1.5 }],
    ['to must be >= 3, got 2', { from: 3, to: 2 }],
    ['aggregateType needs an aggregateId', { aggregateId: undefined }],
    ['aggregateId must be a string that is not empty, got ""', { aggregateId: '' }],
    ['aggregateId must be text of whole characters', { aggregateId: '\ud800' }],
    ['codec must have a decode function', { codec: {} }],
    ['redis must be a connection, as from connectIoredis(url) or connectUpstash(options)', { redis: {} }],
    ['unknown option "form"', { form: 1 }],
  ])('refuses at once: %s', async (message, options) => {
    const { redis } = await delayInMemory()
    const of = { aggregateType: 'account', aggregateId: 'a' }

    expect(() => readEvents('orders', { redis, events, ...of, ...options } as never)).toThrow(
      `Cannot read events of stream "orders": ${message}`,
    )
  })
})

it('readEvents() refuses at once a stream beside which no key can lie', async () => {
  const { redis } = await delayInMemory()

  expect(() => readEvents('a}b', { redis, events })).toThrow('Cannot name keys for stream "a}b"')
})

describe('publish() with expectedVersion refuses, before anything is sent,', () => {
  it.each<[message: string, options: object]>([
    ['expectedVersion must be >= 0, got -1', at(-1)],
    ['expectedVersion must be a whole number, got 0.5', at(0.5)],
    ['expectedVersion must be a number, got string', at('any' as never)],
    ['expectedVersion must be <= 9007199254740990, got 9007199254740991', at(Number.MAX_SAFE_INTEGER)],
    [
      'an event with expectedVersion must not be delayed: what its aggregate will be like then, nobody knows',
      at(0, { delayMs: 5 }),
    ],
    [
      'an event with expectedVersion must have no deduplicateMs, nor its publisher: at its version its id is added once in any case',
      at(0, { deduplicateMs: 5 }),
    ],
    [
      'an event with expectedVersion must have an aggregateId where it has an aggregateType',
      at(0, { aggregateId: undefined }),
    ],
    ['eventId, aggregateType and aggregateId must be text of whole characters', at(0, { aggregateId: '\ud800' })],
    [
      'an event with expectedVersion must have at most 1000 fields, got 1007',
      at(0, { attributes: Object.fromEntries(names('n', 1_000).map((name) => [name, 'x'])) }),
    ],
  ])('%s', async (message, options) => {
    const { redis, entries } = await delayInMemory()

    await expect(aPublisher(redis).publish(Added, { amount: 1 }, options)).rejects.toThrow(message)
    expect(await entries()).toEqual([])
  })

  it.each<[message: string, publications: readonly unknown[]]>([
    [
      'all events must have expectedVersion, or none: they are published in one step',
      [...added([1]), [Added, { amount: 2 }]],
    ],
    ['expectedVersion of aggregate "a" must go up by one, from 0 to 1, got 0', [...added([1]), ...added([2])]],
    ['expectedVersion of aggregate "a" must go up by one, from 0 to 1, got 2', [...added([1]), ...added([2], 2)]],
    ['at most 100 events with expectedVersion are published in one step, got 101', added(Array(101).fill(1))],
  ])('publishMany(): %s', async (message, publications) => {
    const { redis, entries } = await delayInMemory()

    await expect(aPublisher(redis).publishMany(publications as never)).rejects.toThrow(message)
    expect(await entries()).toEqual([])
  })

  it('more than a megabyte in one step, and an entry without a field for its id', async () => {
    const { redis, entries } = await delayInMemory()
    const large = { owner: 'x'.repeat(600_000) }

    await expect(
      aPublisher(redis).publishMany([
        [Opened, large, at(0)],
        [Opened, large, at(1)],
      ]),
    ).rejects.toThrow('events with expectedVersion must have at most 1048576 bytes together, got')
    await expect(
      aPublisher(redis, { codec: flatCodec() }).publish(Opened, { owner: 'o' }, { expectedVersion: 0 }),
    ).rejects.toThrow('an event with expectedVersion needs a field for its eventId, by its codec')
    expect(await entries()).toEqual([])
  })
})

it('the versions of an aggregate forget what was trimmed', async () => {
  const { redis, raw } = await startScenario()
  const trimming = aPublisher(redis, { maxLength: 10, exactTrimming: true })
  for (let n = 0; n < 300; n += 100) await trimming.publishMany(added(Array(100).fill(1), n))
  for (let n = 300; n < 310; n++) await trimming.publish(Added, { amount: 1 }, at(n))

  await expect(readAll(redis)).rejects.toMatchObject({ code: 'ERR_EVENTS_TRIMMED', aggregateVersion: 1 })
  // the last one was trimmed by the call itself
  expect(await raw.zcard('{orders}::aggregate::account:a')).toBe(11)
})

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import type { Codec, Consumer, ConsumerOptions, Event, FlatCodecOptions } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  defineEvent,
  effects,
  envelopeCodec,
  filterPatterns,
  flatCodec,
  NonRetryableError,
  on,
  onBatch,
  poll,
  promoteDelays,
} from 'millrace'
import { connect } from 'millrace/connect'
import { redriveDeadLetters } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { findPython } from '../../tools/find-python.ts'
import { claimOnce } from '../support/claim-once.ts'
import { someName, someValue } from '../support/codecs.ts'
import { delaysOn } from '../support/delays.ts'
import { startRestServer } from '../support/rest-server.ts'
import { counts, startScenario } from '../support/scenario.ts'

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** Prints the fields of an entry as redis-py writes them, which takes strings, and numbers as Python prints them. */
const PYTHON = `
import json, uuid
from datetime import datetime, timezone
event = {
    'event_type': 'user_acted',
    'user_id': '00123',
    'action': 'purchase ü',
    'session_id': str(98765432109876543210),
    'published_at': 1700000000.123,
    'producer_id': 'web-1',
    'metadata': json.dumps({'cart': [{'sku': 's-1', 'price': 99.99}], 'coupon': None, 'name': 'ü'}),
    'tags': json.dumps(['new', 'mobile']),
    'amount': 99.99,
    'count': 3,
    'is_first': str(True),
    'referrer': str(None),
    'seen_at': datetime(2024, 1, 1, 10, 0, 0, 123456, timezone.utc).isoformat(),
    'comment': "[sic] it's {broken",
    'repr': str({'a': 1}),
}
print(json.dumps([text for name, value in event.items() for text in (name, value if isinstance(value, str) else repr(value))]))
`

const FLAT: FlatCodecOptions = {
  jsonFields: 'all',
  idField: 'event_id',
  occurredAtField: 'published_at',
  producerField: 'producer_id',
  aggregateIdField: 'user_id',
  tenantIdField: 'tenant_id',
  traceIdField: 'trace_id',
}

const Acted = defineEvent('user_acted', { payload: z.looseObject({ action: z.string() }) })
const Ping = defineEvent('Ping', { payload: z.any() })

/** A connection to a private server by TCP and by REST, and what is in it. */
async function startPlace(transport: string) {
  const scenario = await startScenario()
  if (transport === 'TCP') return scenario
  const rest = await startRestServer({ redisUrl: scenario.server.url, token: 'secret' })
  const redis = connect(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return { ...scenario, redis }
}

/** Group `billing` on stream `orders`, and the events that its handler was called for. */
function noting(codec: Codec, more: Partial<ConsumerOptions> = {}, then = () => {}) {
  const events: Event[] = []
  const note = (event: Event) => {
    events.push(event)
    then()
  }
  const routes = [on(Acted, note), on(Ping, note)]
  const consumer: Consumer = defineConsumer({ stream: 'orders', group: 'billing', codec, routes, ...more })
  return { events, consumer }
}

describe.each(['TCP', 'REST'])('flat entries over %s', (transport) => {
  it("what Python's redis-py writes is read, its texts as they are", async () => {
    const { redis, raw } = await startPlace(transport)
    const { stdout } = await promisify(execFile)(await findPython(), ['-c', PYTHON])
    await raw.xadd('orders', '*', ...(JSON.parse(stdout) as string[]), 'trace_id', TRACEPARENT)
    const [id] = (await raw.xrange('orders', '-', '+')).map(([one]) => one)
    const { events, consumer } = noting(flatCodec(FLAT))

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 1, acked: 1 })
    expect(events).toEqual([
      {
        type: 'user_acted',
        version: 1,
        eventId: `orders:${id}`,
        aggregateId: '00123',
        producer: 'web-1',
        occurredAt: '2023-11-14T22:13:20.123Z',
        traceparent: TRACEPARENT,
        payload: {
          action: 'purchase ü',
          session_id: '98765432109876543210',
          metadata: { cart: [{ sku: 's-1', price: 99.99 }], coupon: null, name: 'ü' },
          tags: ['new', 'mobile'],
          amount: '99.99',
          count: '3',
          is_first: 'True',
          referrer: 'None',
          seen_at: '2024-01-01T10:00:00.123456+00:00',
          comment: "[sic] it's {broken",
          repr: "{'a': 1}",
        },
      },
    ])
  })

  it('what is published flat is read back: at once, many, delayed, by an effect', async () => {
    const { redis, raw } = await startPlace(transport)
    const codec = flatCodec(FLAT)
    const publisher = createPublisher({ stream: 'orders', redis, codec, producer: 'shop' })
    const payload = { action: 'bü 🦊', metadata: { list: [1, null] }, comment: '[draft' }
    const texts = { aggregateId: 'u-1', tenantId: 'acme', occurredAt: '2026-01-02T03:04:05Z', traceparent: TRACEPARENT }
    await publisher.publish(Acted, payload, { ...texts, eventId: 'e-1' })
    await publisher.publishMany([[Acted, payload, { ...texts, eventId: 'e-2' }]])
    await publisher.publish(Acted, payload, { ...texts, eventId: 'e-3', delayMs: 60_000 })
    const asking = noting(codec)
    const first = defineConsumer({
      stream: 'orders',
      group: 'first',
      codec,
      delays: promoteDelays(),
      routes: [
        on(Acted, (event, context) => {
          if (event.eventId === 'e-1') effects(context).publish(publisher, Acted, payload, { ...texts, eventId: 'e-4' })
        }),
      ],
    })
    await delaysOn(raw).pass(60_000)
    await poll(first, { redis })
    await poll(asking.consumer, { redis })

    const event = { type: 'user_acted', version: 1, payload, producer: 'shop', ...texts }
    const byId = asking.events.toSorted((a, b) => a.eventId.localeCompare(b.eventId))
    expect(byId).toEqual(['e-1', 'e-2', 'e-3', 'e-4'].map((eventId) => ({ ...event, eventId })))
    const [[, flat] = expect.fail('no entry')] = await raw.xrange('orders', '-', '+', 'COUNT', 1)
    expect(Array.from({ length: flat.length / 2 }, (_, n) => flat.slice(2 * n, 2 * n + 2))).toEqual([
      ['event_type', 'user_acted'],
      ['event_id', 'e-1'],
      ['user_id', 'u-1'],
      ['tenant_id', 'acme'],
      ['producer_id', 'shop'],
      ['published_at', '2026-01-02T03:04:05Z'],
      ['trace_id', TRACEPARENT],
      ['action', 'bü 🦊'],
      ['metadata', '{"list":[1,null]}'],
      ['comment', '[draft'],
    ])
  })

  it('whatever a publisher accepts is read back the same', async () => {
    const { redis } = await startPlace(transport)
    const codec = flatCodec({ jsonFields: 'all' })
    const publisher = createPublisher({ stream: 'orders', redis, codec })
    const { events, consumer } = noting(codec, { concurrency: 1 })
    const payloads = fc.sample(fc.dictionary(someName, someValue, { maxKeys: 4 }), { numRuns: 500, seed: 1 })
    const outcomes = await Promise.allSettled(payloads.map((payload) => publisher.publish(Ping, payload)))
    const accepted = payloads.filter((_, n) => outcomes[n]?.status === 'fulfilled')
    const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
    await poll(consumer, { redis })

    const sorted = (values: readonly unknown[]) => values.map((value) => JSON.stringify(value)).sort()
    expect(sorted(events.map(({ payload }) => payload))).toEqual(sorted(accepted))
    expect([accepted.length > 100, refusals.length > 100]).toEqual([true, true])
    for (const refusal of refusals) expect(refusal).toBeInstanceOf(TypeError)
  })

  it('entries without a type field have a constant one', async () => {
    const { redis, raw } = await startPlace(transport)
    const codec = flatCodec({ type: 'Ping' })
    await raw.xadd('orders', '*', 'sku', 's-1', 'event_type', 'x')
    await createPublisher({ stream: 'orders', redis, codec }).publish(Ping, { sku: 's-2' })
    const { events, consumer } = noting(codec)
    await poll(consumer, { redis })

    expect(events.map(({ type, payload }) => [type, payload])).toEqual([
      ['Ping', { sku: 's-1', event_type: 'x' }],
      ['Ping', { sku: 's-2' }],
    ])
    expect(await raw.xrevrange('orders', '+', '-', 'COUNT', 1)).toMatchObject([[expect.anything(), ['sku', 's-2']]])
  })

  it('an effect without an id field is published all the same', async () => {
    const { redis, raw } = await startPlace(transport)
    const codec = flatCodec({ type: 'Ping' })
    const publisher = createPublisher({ stream: 'orders', redis, codec })
    await publisher.publish(Ping, { n: '1' })
    const { events, consumer } = noting(codec, {
      routes: [on(Ping, (_event, context) => void effects(context).publish(publisher, Ping, { n: '2' }))],
      mode: 'once',
    })
    await poll(consumer, { redis })

    expect(events).toEqual([])
    expect((await raw.xrange('orders', '-', '+')).map(([, flat]) => flat)).toEqual([
      ['n', '1'],
      ['n', '2'],
    ])
  })
})

describe.each(['TCP', 'REST'])('attributes over %s', (transport) => {
  it('reach the handler, go with the dead letter, and come back with a redrive', async () => {
    const { redis, deadLetters } = await startPlace(transport)
    const attributes = { source: 'wéb 🦊', empty: '', ['__proto__']: 'x', type: 'y' }
    const publisher = createPublisher({ stream: 'orders', redis })
    const failing = { isBroken: true }
    const { events, consumer } = noting(envelopeCodec, { delays: promoteDelays() }, () => {
      if (failing.isBroken) throw new NonRetryableError('broken')
    })
    const { entryId } = await publisher.publish(Ping, { n: 1 }, { eventId: 'e-1', attributes })
    await poll(consumer, { redis })
    const [letter = expect.fail('no letter')] = await deadLetters()
    failing.isBroken = false
    await publisher.publish(Ping, 2, { eventId: 'e-2', delayMs: 0, attributes: { source: 'later' } })
    await redriveDeadLetters(consumer, { redis, all: true })
    await claimOnce(consumer, { redis })
    await poll(consumer, { redis })

    expect(Object.entries(events[0]?.attributes ?? {})).toEqual(Object.entries(attributes))
    expect(letter.fields.slice(2, -1).map(([name]) => name)).toEqual(['occurredAt', ...Object.keys(attributes)])
    expect(events.map(({ eventId, attributes: one }) => [eventId, one?.source])).toEqual([
      ['e-1', 'wéb 🦊'],
      ['e-1', 'wéb 🦊'],
      ['e-2', 'later'],
    ])
    expect(entryId).toBe(letter.head.originalId)
  })
})

describe('attributes', () => {
  it('reach batch handlers and filters, in memory as on a server', async () => {
    const redis = connectMemory()
    const publisher = createPublisher({ stream: 'orders', redis })
    const given: unknown[] = []
    const batch = onBatch(Ping, (events) => {
      given.push(...events.map(({ attributes }) => attributes))
    })
    const filter = filterPatterns([{ attributes: { source: [{ prefix: 'we' }] } }])
    const consumer = defineConsumer({ stream: 'orders', group: 'billing', filter, routes: [batch] })
    for (const attributes of [{ source: 'web' }, { source: 'till' }, {}, undefined])
      await publisher.publish(Ping, 1, attributes && { attributes })

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 4, acked: 1, ignored: 3 })
    expect(given).toEqual([{ source: 'web' }])
  })

  it('whose bytes are no UTF-8 leave the entry as it was', async () => {
    const { redis, raw } = await startScenario()
    const bytes = Buffer.from([0xff, 0xfe])
    await raw.xadd('orders', '*', 'picture', bytes, bytes, 'x', 'source', 'web', 'eventType', 'Ping', 'payload', '1')
    const { events, consumer } = noting(envelopeCodec)

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 1, acked: 1 })
    expect(events).toMatchObject([{ payload: 1, attributes: { source: 'web' } }])
    expect(Object.keys(events[0]?.attributes ?? {})).toEqual(['source'])
  })
})

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { BatchContext, BatchEvent, EventOf } from 'millrace'
import { createPublisher, defineConsumer, onBatch, poll } from 'millrace'
import type { StreamInspection } from 'millrace/operate'
import { connectMemory, createHandlerContext, effectsOf } from 'millrace/testing'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { SinkRules } from '../../demo/fan-out/sinks.ts'
import { startSinks } from '../../demo/fan-out/sinks.ts'
import { ORDER_EVENTS, OrderCancelled, OrderPaid, OrderPlaced, STREAM } from '../../functions/events/shop-orders.ts'
import { dropPages, startAgain } from '../../functions/fan-out/cache.ts'
import { OBJECTIVES, progressOf } from '../../functions/fan-out/objectives.ts'
import { indexOrder, stateOf } from '../../functions/fan-out/search.ts'
import { askAws } from '../../functions/shared/ask-aws.ts'

vi.hoisted(() => {
  process.env.REDIS_URL = 'redis://127.0.0.1:1'
})
/** Without sinks: nobody is asked. */
const { groups } = await import('../../functions/fan-out/consumers.ts')

const root = join(import.meta.dirname, '../..')
const WHO = { orderId: 'o-1', customerId: 'c-1' }

/** Modules that read the environment, with sinks that hold what they are given. */
async function withSinks(rules: SinkRules = {}) {
  const sinks = await startSinks(rules)
  onTestFinished(() => sinks.close())
  vi.resetModules()
  for (const [name, value] of Object.entries(sinks.environment)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  const { loadRows } = await import('../../functions/fan-out/warehouse.ts')
  const { forwardEvents } = await import('../../functions/fan-out/bridge.ts')
  const { keepRecord } = await import('../../functions/fan-out/audit.ts')
  return { sinks, loadRows, forwardEvents, keepRecord }
}

function batchOf(count: number): BatchEvent[] {
  return Array.from({ length: count }, (_, n) => ({
    type: 'OrderPaid',
    version: 1,
    eventId: `e-${n}`,
    occurredAt: '2026-11-29T16:51:42.000Z',
    payload: { ...WHO, cents: n + 1 },
    entryId: `1795971102000-${n}`,
    deliveryCount: 1,
    idempotencyKey: `audit:e-${n}`,
    fields: [
      ['eventId', `e-${n}`],
      ['payload', `{"cents":${n + 1}}`],
    ],
  }))
}

const context = () => ({ signal: new AbortController().signal }) as BatchContext

describe('loadRows()', () => {
  test('ingests rows in several requests, and then flushes once', async () => {
    const asked: string[] = []
    const { loadRows, sinks } = await withSinks({ doneWith: (what) => asked.push(what) })

    expect(await loadRows(batchOf(450), context())).toEqual({ batchItemFailures: [] })
    expect(asked).toEqual(['rows', 'rows', 'rows', 'flush'])
    expect(sinks.rows.size).toBe(450)
  })

  test('fails the row that is refused, for good, and no other', async () => {
    const { loadRows, sinks } = await withSinks({ pieceOf: (_, id) => (id === 'e-2' ? 'refused' : 'taken') })

    expect(await loadRows(batchOf(4), context())).toEqual({
      batchItemFailures: [
        { itemIdentifier: '1795971102000-2', error: expect.objectContaining({ name: 'NonRetryableError' }) },
      ],
    })
    expect([...sinks.rows.keys()]).toEqual(['e-0', 'e-1', 'e-3'])
  })

  test('flushes its own rows, and none that another load left there', async () => {
    const { loadRows, sinks } = await withSinks({
      fateOf: (asked, n) => (asked === 'flush' && n === 1 ? 'fail' : 'yes'),
    })
    await expect(loadRows(batchOf(3), context())).rejects.toThrow()
    await loadRows(batchOf(1), context())

    expect([...sinks.rows.keys()]).toEqual(['e-0'])
  })

  test('fails as a whole if the flush does, and hands back what nobody took', async () => {
    const failed = await withSinks({ fateOf: (asked) => (asked === 'flush' ? 'fail' : 'yes') })
    await expect(failed.loadRows(batchOf(2), context())).rejects.toThrow('The warehouse answered flush with 500')
    const busy = await withSinks({ fateOf: () => 'busy' })
    await expect(busy.loadRows(batchOf(2), context())).rejects.toThrow('The warehouse takes nothing for now')
    const lost = await withSinks({ fateOf: () => 'drop' })
    await expect(lost.loadRows(batchOf(2), context())).rejects.toThrow('The warehouse cannot be reached')
  })
})

describe('a warehouse', () => {
  /** What a load says where the warehouse answers like that. */
  async function loadFrom(listener: RequestListener) {
    const server = createServer(listener)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    vi.resetModules()
    vi.stubEnv('WAREHOUSE_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => void vi.unstubAllEnvs())
    const { loadRows } = await import('../../functions/fan-out/warehouse.ts')
    return loadRows(batchOf(1), context()).then(
      () => undefined,
      (thrown: Error) => thrown,
    )
  }

  test.each([408, 429, 502, 503, 504])('that answers %s took nothing, at no delivery', async (status) => {
    expect(await loadFrom((_request, response) => response.writeHead(status).end())).toMatchObject({
      code: 'ERR_UNAVAILABLE',
      isLasting: false,
    })
  })

  test('that leads elsewhere is not followed: a page there is no flush', async () => {
    const paths: string[] = []
    const error = await loadFrom(({ url = '' }, response) => {
      paths.push(url.split('?')[0] as string)
      if (url.startsWith('/rows')) return void response.end('{"refused":[]}')
      response.writeHead(url.startsWith('/flush') ? 302 : 200, { location: '/login' }).end()
    })

    expect(error?.message).toBe('The warehouse answered flush with 302')
    expect(paths).toEqual(['/rows', '/flush'])
  })

  test.each(['<html>secret', '{"refused":"secret"}', ''])(
    'that answers %j has no list, which is not quoted',
    async (body) => {
      const error = await loadFrom((_request, response) => response.end(body))

      expect(error?.message).toBe('The warehouse answered rows with no list of what it refused')
      expect(error?.cause).toBeUndefined()
    },
  )
})

describe('a sink', () => {
  const calls = [
    ['loadRows', 'rows'],
    ['forwardEvents', 'events'],
    ['keepRecord', 'object'],
  ] as const

  test.each(calls)('that does not answer is left when the time of %s is over', async (name) => {
    const asked = Promise.withResolvers<void>()
    const hang = () => {
      asked.resolve()
      return new Promise<never>(() => {})
    }
    const handlers = await withSinks({ fateOf: hang })
    const stop = new AbortController()
    const call = handlers[name](batchOf(1), { signal: stop.signal } as BatchContext)
    await asked.promise
    stop.abort()

    await expect(call).rejects.toThrow()
  })

  test.each(calls)('that is down is asked once by %s: the engine repeats, at no delivery', async (name, what) => {
    let times = 0
    const busy = (asked: string) => {
      times += Number(asked === what)
      return 'busy' as const
    }
    const handlers = await withSinks({ fateOf: busy })

    await expect(handlers[name](batchOf(1), context())).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
    expect(times).toBe(1)
  })
})

describe('forwardEvents()', () => {
  test('hands on what was published, with the id by which a repeat is known', async () => {
    const { forwardEvents, sinks } = await withSinks()

    expect(await forwardEvents(batchOf(1), context())).toEqual({ batchItemFailures: [] })
    expect(sinks.forwarded).toEqual([
      {
        DetailType: 'OrderPaid',
        detail: { eventId: 'e-0', version: 1, occurredAt: '2026-11-29T16:51:42.000Z', ...WHO, cents: 1 },
      },
    ])
  })

  test('hands back what the bus did not take, and gives up what it never will', async () => {
    const pieces = { 'e-1': 'later', 'e-2': 'refused', 'e-3': 'denied' } as const
    const pieceOf = (_: unknown, id: string) => pieces[id as keyof typeof pieces] ?? 'taken'
    const { forwardEvents } = await withSinks({ pieceOf })
    const { batchItemFailures } = await forwardEvents(batchOf(4), context())

    expect(batchItemFailures).toMatchObject([
      { itemIdentifier: '1795971102000-1', error: { code: 'ERR_UNAVAILABLE', isLasting: false } },
      { itemIdentifier: '1795971102000-2', error: { code: 'ERR_NON_RETRYABLE' } },
      { itemIdentifier: '1795971102000-3', error: { code: 'ERR_UNAVAILABLE', isLasting: true } },
    ])
  })

  test('costs no delivery where the bus takes requests, and no event of them', async () => {
    const { forwardEvents } = await withSinks({ pieceOf: () => 'later' })
    const redis = connectMemory()
    const shop = createPublisher({ stream: STREAM, redis })
    for (const eventId of ['e-0', 'e-1']) await shop.publish(OrderPaid, { ...WHO, cents: 1 }, { eventId })
    const bus = defineConsumer({ stream: STREAM, group: 'bridge', routes: [onBatch(OrderPaid, forwardEvents)] })

    expect(await poll(bus, { redis })).toMatchObject({ released: 2, retried: 0, acked: 0 })
    expect(redis.pending(STREAM, 'bridge').map(({ deliveryCount }) => deliveryCount)).toEqual([0, 0])
  })

  test('hands all back if the bus cannot be reached', async () => {
    const { forwardEvents } = await withSinks({ fateOf: () => 'busy' })

    await expect(forwardEvents(batchOf(1), context())).rejects.toMatchObject({
      name: 'UnavailableError',
      isLasting: false,
    })
  })
})

describe('keepRecord()', () => {
  test('writes a batch as one object, each entry as it is in the stream', async () => {
    const { keepRecord, sinks } = await withSinks()
    await keepRecord(batchOf(2), context())

    const [[key, lines] = []] = [...sinks.objects]
    expect(key).toMatch(/^\/records\/audit\/2026-11-29\/1795971102000-0_1795971102000-1_[0-9a-f]{16}\.ndjson\.gz$/)
    expect(lines).toEqual([
      {
        entryId: '1795971102000-0',
        fields: [
          ['eventId', 'e-0'],
          ['payload', '{"cents":1}'],
        ],
      },
      {
        entryId: '1795971102000-1',
        fields: [
          ['eventId', 'e-1'],
          ['payload', '{"cents":2}'],
        ],
      },
    ])
  })

  test('writes bytes that are no UTF-8 as base64, so that none is lost', async () => {
    const { keepRecord, sinks } = await withSinks()
    const [event] = batchOf(1) as [BatchEvent]
    const fields = [[Buffer.from('photo'), Buffer.from([255, 216, 0])]] as const
    await keepRecord([{ ...event, fields }], context())

    expect([...sinks.objects.values()]).toEqual([[{ entryId: event.entryId, fields: [['photo', { base64: '/9gA' }]] }]])
  })

  test('writes an object once: the same batch again changes nothing, another one has another name', async () => {
    const { keepRecord, sinks } = await withSinks()
    await keepRecord(batchOf(3), context())
    const written = [...sinks.objects.values()]
    await keepRecord(batchOf(3), context())

    // the very one that was written first
    expect([...sinks.objects.values()].map((lines, n) => lines === written[n])).toEqual([true])
    const [first, , last] = batchOf(3) as [BatchEvent, BatchEvent, BatchEvent]
    await keepRecord([first, last], context())
    expect(sinks.objects.size).toBe(2)
  })
})

describe('askAws()', () => {
  const failing = (name: string, httpStatusCode?: number) =>
    Object.assign(new Error(name), { name, ...(httpStatusCode && { $metadata: { httpStatusCode } }) })

  test.each([
    [failing('ThrottlingException', 400), { code: 'ERR_UNAVAILABLE', isLasting: false }],
    [failing('InternalFailure', 500), { code: 'ERR_UNAVAILABLE', isLasting: false }],
    [failing('ECONNREFUSED'), { code: 'ERR_UNAVAILABLE', isLasting: false }],
    [failing('AccessDenied', 403), { code: 'ERR_UNAVAILABLE', isLasting: true }],
    [failing('NoSuchBucket', 404), { code: 'ERR_UNAVAILABLE', isLasting: true }],
    [failing('EntityTooLarge', 400), { name: 'EntityTooLarge' }],
  ])('takes %s for what it is', async (error, expected) => {
    await expect(askAws('S3', Promise.reject(error))).rejects.toMatchObject(expected)
  })
})

describe('indexOrder() and dropPages()', () => {
  const entry = { stream: STREAM, entryId: '1795971102000-0' }
  const paid = { type: 'OrderPaid', payload: { ...WHO, cents: 700 } } as EventOf<typeof OrderPaid>

  test('set the facts of their own type, and keep the newest orders of a customer', () => {
    const handed = createHandlerContext(entry)
    indexOrder(paid, handed)

    expect(effectsOf(handed)).toEqual([
      ['HSET', '{shop-orders}:document:o-1', 'customerId', 'c-1', 'OrderPaid', '{"cents":700}'],
      ['PEXPIRE', '{shop-orders}:document:o-1', 7_776_000_000],
      ['ZADD', '{shop-orders}:orders-of:c-1', 'GT', '1795971102000', 'o-1'],
      ['ZREMRANGEBYRANK', '{shop-orders}:orders-of:c-1', 0, -1_001],
      ['PEXPIRE', '{shop-orders}:orders-of:c-1', 7_776_000_000],
    ])
  })

  test("drop the order's page, and its customer's list", () => {
    const handed = createHandlerContext(entry)
    dropPages(paid, handed)

    expect(effectsOf(handed)).toEqual([
      ['DEL', '{shop-orders}:page:o-1'],
      ['DEL', '{shop-orders}:list:c-1'],
    ])
  })
})

describe('the groups', () => {
  test('take their own types; what is not for them is acknowledged, but waits to be recorded', async () => {
    const redis = connectMemory()
    const shop = createPublisher({ stream: STREAM, redis })
    const [placed, paid] = [
      { ...WHO, cents: 700, items: ['chair'] },
      { ...WHO, cents: 700 },
    ]
    await shop.publish(OrderPlaced, placed)
    await shop.publish(OrderPaid, paid, { eventId: 'paid' })
    await shop.publish(OrderPaid, paid, { eventId: 'paid' })
    const handler = {
      type: 'GiftWrapped',
      version: 1,
      payload: OrderCancelled.payload,
    } as unknown as typeof OrderCancelled
    await shop.publish(handler, { ...WHO, reason: 'a present' })

    const reports = []
    for (const group of groups) reports.push(await poll(group, { redis, mode: 'drain' }))
    expect(reports.map(({ ignored, duplicates, parked, acked }) => ({ ignored, duplicates, parked, acked }))).toEqual([
      { ignored: 2, duplicates: 1, parked: 0, acked: 2 },
      { ignored: 1, duplicates: 0, parked: 0, acked: 3 },
      { ignored: 1, duplicates: 0, parked: 0, acked: 3 },
      { ignored: 1, duplicates: 0, parked: 0, acked: 3 },
      { ignored: 2, duplicates: 1, parked: 0, acked: 2 },
      { ignored: 0, duplicates: 0, parked: 1, acked: 3 },
    ])
    expect(Object.fromEntries(redis.value('{shop-orders}:ledger') as unknown as Map<string, string>)).toEqual({
      paid: '700',
      'paid:events': '1',
    })
  })

  test('ask the bus for no more than it takes in one request', async () => {
    const requests: number[] = []
    const { sinks } = await withSinks({ doneWith: () => requests.push(sinks.forwarded.length) })
    const { bridge } = await import('../../functions/fan-out/consumers.ts')
    const redis = connectMemory()
    const shop = createPublisher({ stream: STREAM, redis })
    await shop.publishMany(Array.from({ length: 25 }, () => [OrderPaid, { ...WHO, cents: 1 }] as const))

    expect(await poll(bridge, { redis, mode: 'drain' })).toMatchObject({ acked: 25 })
    expect(requests.map((count, n) => count - (requests[n - 1] ?? 0)).every((size) => size <= 10)).toBe(true)
    for (const { batching } of bridge.routes.values())
      expect(batching?.limits).toMatchObject({ maxEvents: 10, maxBytes: 200_000 })
  })

  test('retry alike', () => {
    const settings = { handlerTimeoutMs: 10_000, minIdleMs: 60_000, maxDeliveries: 8 }

    expect(groups.map((group) => group.settings)).toMatchObject(groups.map(() => settings))
  })

  test('each have an objective', () => {
    expect(groups.map(({ group }) => group)).toEqual(Object.keys(OBJECTIVES))
  })
})

describe('progressOf()', () => {
  const stream = (group: object) => ({ length: 7, firstAgeMs: 5_000, groups: [group] }) as unknown as StreamInspection
  const billing = (group: object) => progressOf(stream({ group: 'billing', ...group }))[0]

  test.each([
    ['nothing to do', { lag: 0 }, { ageMs: 0, lag: 0, isMet: true }],
    ['what is pending', { lag: 0, oldestPending: { ageMs: 300_001 } }, { ageMs: 300_001, lag: 0, isMet: false }],
    ['what is not read yet', { lag: 1, undeliveredAgeMs: 300_000 }, { ageMs: 300_000, lag: 1, isMet: true }],
    ['how many wait', { lag: 5_001, undeliveredAgeMs: 1 }, { ageMs: 1, lag: 5_001, isMet: false }],
    ['how many wait, at least', { lagAtLeast: 5_001 }, { ageMs: 0, lag: 5_001, isMet: false }],
  ])('goes by %s', (_, group, expected) => {
    expect(billing(group)).toEqual({ group: 'billing', ...OBJECTIVES.billing, ...expected })
  })

  test('has all of the stream ahead of a group that was never made', () => {
    expect(progressOf(stream({ group: 'other' }))[0]).toMatchObject({ ageMs: 5_000, lag: 7 })
    expect(progressOf(undefined)[0]).toMatchObject({ ageMs: 0, lag: 0, isMet: true })
  })
})

test.each(['serverless.yml', 'infra/cdk.ts'])('%s has the objectives as alarms', (file) => {
  const text = readFileSync(join(root, file), 'utf8').replaceAll('_', '')
  const alarms = [...text.matchAll(/oldestPendingMs: (\d+), maxLag: (\d+)/g)].map(([, age, lag]) => [
    +`${age}`,
    +`${lag}`,
  ])

  expect(alarms).toEqual(Object.values(OBJECTIVES).map(({ maxAgeMs, maxLag }) => [maxAgeMs, maxLag]))
})

describe('startAgain()', () => {
  /** What changes a group that has had its last entry. */
  async function asking(id: string, last = '1795971103000-0') {
    const asked: (readonly unknown[])[] = []
    await startAgain(async (commands) => {
      asked.push(...commands)
      const of = (name: string, at: string) => ['name', name, 'last-delivered-id', at]
      return commands.map(([name]) => (name === 'XINFO' ? [of('billing', '1-0'), of('cache', last)] : 'OK'))
    }, id)
    return asked.filter(([name]) => name !== 'XINFO')
  }

  test.each([
    ['1795971102000-7', '1795971102000-6'],
    ['1795971102000', '1795971101999-18446744073709551615'],
    ['1795971102000-0', '1795971101999-18446744073709551615'],
    ['0-0', '0-0'],
    ['1795971102000-18446744073709551615', '1795971102000-18446744073709551614'],
    ['1795971103000-1', '1795971103000-0'],
  ])('has %s come first', async (id, position) => {
    expect(await asking(id)).toEqual([['XGROUP', 'SETID', STREAM, 'cache', position]])
  })

  test.each(['1795971103000-2', '1795971103001', '1795971102000000-0'])(
    'refuses %s, which lies ahead of what the group has had',
    async (id) => {
      await expect(asking(id)).rejects.toThrow(
        `Nothing that the group has had is at ${id} or after it: its last entry was 1795971103000-0`,
      )
    },
  )

  test('compares ids by number', async () => {
    await expect(asking('10-1', '9-3')).rejects.toThrow('its last entry was 9-3')
    expect(await asking('9-9', '10-1')).toHaveLength(1)
  })

  test.each(['', '$', '-5m', '1-2-3', '1-18446744073709551616'])('refuses %j', async (id) => {
    await expect(startAgain(async () => [], id)).rejects.toThrow(`An entry id is like 1795971102000-0, got "${id}"`)
  })
})

test('stateOf() goes by facts: once cancelled is cancelled', () => {
  expect(
    [{}, { OrderPaid: '{}' }, { OrderShipped: '{}' }, { OrderShipped: '{}', OrderCancelled: '{}' }].map(stateOf),
  ).toEqual(['placed', 'paid', 'shipped', 'cancelled'])
  expect(new Set(ORDER_EVENTS.map(({ type }) => type)).size).toBe(5)
})

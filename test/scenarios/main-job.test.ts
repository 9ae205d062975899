import type { Report } from 'millrace'
import {
  createClaimer,
  createPoller,
  createPublisher,
  defineConsumer,
  defineEvent,
  NonRetryableError,
  on,
  poll,
  RetryAfterError,
} from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { dueInMs, passOnDue } from '../support/due.ts'
import {
  billing,
  counts,
  DLQ,
  difference,
  lambdaContext,
  names,
  noting,
  OrderPaid,
  startScenario,
} from '../support/scenario.ts'

const DUE_AT_ONCE = { firstMs: 0 }

describe('promises 1, 2 and 6: the main job', () => {
  it('a handled entry is acknowledged', async () => {
    const { redis, raw, publish, pending } = await startScenario()
    const { calls, handler } = noting()
    await publish('a', 'b')

    const report = await createPoller(billing(handler), { redis })({}, lambdaContext())

    expect(calls).toEqual(['a', 'b'])
    expect(counts(report)).toEqual({ read: 2, acked: 2, batches: 1, drained: true })
    expect(await pending()).toEqual([])
    expect(await raw.xlen('orders')).toBe(2)
  })

  it('a handler receives its event and a context that extends Lambda’s', async () => {
    const { redis, raw } = await startScenario()
    const Paid = defineEvent('Paid', {
      version: 2,
      payload: z.object({ amount: z.string(), currency: z.string() }),
      upcast: { 1: (old) => ({ ...old, currency: 'EUR' }) },
    })
    await raw.xadd('orders', '7-1', 'eventType', 'Paid', 'eventId', 'e-1', 'tenantId', 't', 'payload', '{"amount":"1"}')
    const seen: unknown[] = []
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        on(Paid, (event, context) => {
          const { getRemainingTimeInMillis, signal, ...rest } = context
          seen.push(event, rest, getRemainingTimeInMillis() <= 10_000, signal.aborted, context.fields.map(String))
        }),
      ],
    })

    await createPoller(consumer, { redis })({}, { ...lambdaContext(), clientContext: { custom: 1 } } as never)

    expect(seen).toEqual([
      { type: 'Paid', version: 2, payload: { amount: '1', currency: 'EUR' }, eventId: 'e-1', tenantId: 't' },
      expect.objectContaining({
        awsRequestId: 'request-1',
        clientContext: { custom: 1 },
        consumerName: 'poller-0',
        deliveryCount: 1,
        entryId: '7-1',
        group: 'billing',
        idempotencyKey: 'billing:e-1',
        maxDeliveries: 5,
        stream: 'orders',
      }),
      true,
      false,
      ['eventType,Paid', 'eventId,e-1', 'tenantId,t', 'payload,{"amount":"1"}'],
    ])
  })

  it('a failed entry comes back through the claimer with its attempt counted', async () => {
    const { redis, publish, pending } = await startScenario()
    const attempts: number[] = []
    const consumer = billing(
      (_event, { deliveryCount }) => {
        attempts.push(deliveryCount)
        if (deliveryCount < 3) throw new Error('not yet')
      },
      { backoff: DUE_AT_ONCE },
    )
    await publish('a')

    const reports = [await createPoller(consumer, { redis })({}, lambdaContext())]
    expect(await pending()).toEqual([['a', 'parked', 1]])
    for (let run = 0; run < 2; run++)
      reports.push(await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext()))

    expect(attempts).toEqual([1, 2, 3])
    expect(reports.map(counts)).toEqual([
      { read: 1, retried: 1, batches: 1, drained: true },
      { claimed: 1, retried: 1, batches: 1, drained: true },
      { claimed: 1, acked: 1, batches: 1, drained: true },
    ])
    expect(await pending()).toEqual([])
  })

  it('the back-off keeps a failed entry from being claimed before its time', async () => {
    const { redis, raw, publish, age } = await startScenario()
    const { calls, handler } = noting(() => Promise.reject(new Error('no')))
    const consumer = billing(handler, { backoff: { firstMs: 30_000 }, minIdleMs: 60_000 })
    const [id] = await publish('a')
    await createPoller(consumer, { redis })({}, lambdaContext())
    const dueMs = await dueInMs(raw, id as string)

    expect(counts(await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext()))).toEqual({
      drained: true,
    })
    expect(dueMs).toBeGreaterThan(23_000)
    expect(dueMs).toBeLessThan(37_000)

    await age(60_000)
    expect(counts(await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext()))).toMatchObject({
      claimed: 1,
      retried: 1,
    })
    expect(calls).toEqual(['a', 'a'])
    expect((await raw.xpending('orders', 'billing', id as string, id as string, 1))[0]).toMatchObject([
      id,
      'parked',
      expect.any(Number),
      2,
    ])
  })

  it('a wait beyond minIdleMs is kept by the due time, whoever inspects the entry', async () => {
    const { redis, raw, publish, age } = await startScenario()
    const { calls, handler } = noting(() => {
      throw new RetryAfterError(3_600_000)
    })
    const consumer = billing(handler)
    const [id = ''] = await publish('a')
    await createPoller(consumer, { redis })({}, lambdaContext())
    await age(70_000)

    expect(counts(await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext()))).toEqual({
      drained: true,
    })
    const [[, owner, idleMs, deliveries]] = (await raw.xpending('orders', 'billing', id, id, 1)) as [
      [string, string, number, number],
    ]
    expect([owner, idleMs >= 70_000, deliveries]).toEqual(['parked', true, 1])
    expect(await dueInMs(raw, id)).toBeGreaterThan(3_500_000)

    await passOnDue(raw, 3_600_000)
    expect(counts(await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext()))).toMatchObject({
      claimed: 1,
      retried: 1,
    })
    expect(calls).toEqual(['a', 'a'])
  })

  it('an entry that fails at every delivery is handled maxDeliveries times and becomes one dead letter', async () => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const { calls, handler } = noting((event) => {
      ;(event as { payload: { orderId: string } }).payload.orderId = 'changed'
      throw new Error('never')
    })
    const consumer = billing(handler, { backoff: DUE_AT_ONCE, maxDeliveries: 3 })
    const [id = ''] = await publish('a')
    const before = await raw.xrange('orders', id, id)

    await createPoller(consumer, { redis })({}, lambdaContext())
    for (let run = 0; run < 4; run++) await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext())

    expect(calls).toEqual(['a', 'a', 'a'])
    expect(await pending()).toEqual([])
    const [letter, ...more] = await deadLetters()
    expect(more).toEqual([])
    expect(Object.keys(letter?.head ?? {})).toEqual([
      'originalStream',
      'originalId',
      'group',
      'consumer',
      'eventId',
      'eventType',
      'schemaVersion',
      'reason',
      'errorName',
      'errorMessage',
      'errorStack',
      'deliveryCount',
      'lastDeliveredAt',
      'failedAt',
      'traceparent',
      'fieldCount',
    ])
    expect(letter?.head).toMatchObject({
      originalStream: 'orders',
      originalId: id,
      group: 'billing',
      consumer: 'claimer-0',
      eventType: 'OrderPaid',
      schemaVersion: '1',
      reason: 'max-deliveries',
      errorName: 'Error',
      errorMessage: 'never',
      deliveryCount: '3',
      fieldCount: '4',
    })
    expect(letter?.fields.flat()).toEqual(before[0]?.[1])
  })

  it('NonRetryableError makes a dead letter at once', async () => {
    const { redis, publish, pending, deadLetters } = await startScenario()
    const consumer = billing(() => Promise.reject(new NonRetryableError('gone')))
    await publish('a')

    const report = await createPoller(consumer, { redis })({}, lambdaContext())

    expect(counts(report)).toEqual({ read: 1, deadLettered: 1, batches: 1, drained: true })
    expect((await deadLetters()).map(({ head }) => [head.reason, head.deliveryCount])).toEqual([['non-retryable', '1']])
    expect(await pending()).toEqual([])
  })

  it('whatever a handler throws, its neighbours are settled', async () => {
    const { redis, publish, pending, deadLetters } = await startScenario()
    const { proxy: unreadable, revoke } = Proxy.revocable({}, {})
    revoke()
    const odd: unknown[] = [
      undefined,
      null,
      'text',
      Object.assign(new Error('x'), { message: { a: 1 }, stack: [] }),
      unreadable,
    ]
    const { calls, handler } = noting((event) => {
      const n = Number((event as { payload: { orderId: string } }).payload.orderId.slice(1))
      return n < odd.length ? Promise.reject(odd[n]) : undefined
    })
    await publish(...names('o', odd.length + 2))

    const report = await poll(billing(handler, { maxDeliveries: 1 }), { redis })

    expect(calls).toHaveLength(odd.length + 2)
    expect(counts(report)).toEqual({ read: 7, acked: 2, deadLettered: 5, batches: 1, drained: true })
    expect(await pending()).toEqual([])
    expect((await deadLetters()).map(({ head }) => head.errorMessage)).toEqual([
      '',
      'null',
      'text',
      '{}',
      'a value that cannot be read',
    ])
  })

  it('what no retry can help becomes a dead letter at once, its neighbours untouched', async () => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const { calls, handler } = noting()
    await publish('good-1')
    await raw.xadd('orders', '*', 'hello', 'world')
    await raw.xadd('orders', '*', 'eventType', 'OrderPaid', 'payload', '{not json')
    await raw.xadd('orders', '*', 'eventType', 'OrderPaid', 'payload', '{"orderId":42}')
    await raw.xadd('orders', '*', 'eventType', 'OrderTeleported', 'eventId', 'e-9', 'payload', '{}')
    await raw.xadd('orders', '*', 'eventType', 'OrderPaid', 'schemaVersion', '2', 'payload', '{"orderId":"a"}')
    await raw.xadd('orders', '*', 'eventType', 'OrderPaid', 'payload', `{"orderId":"${'x'.repeat(2_000)}"}`)
    await publish('good-2')

    const report = await poll(billing(handler, { maxEntryBytes: 1_000, newerVersion: 'deadLetter' }), { redis })

    expect(calls).toEqual(['good-1', 'good-2'])
    expect(counts(report)).toEqual({ read: 8, acked: 2, deadLettered: 6, batches: 1, drained: true })
    expect((await deadLetters()).map(({ head }) => [head.reason, head.eventType, head.eventId])).toEqual([
      ['malformed', '', ''],
      ['malformed', '', ''],
      ['invalid', 'OrderPaid', ''],
      ['unrouted', 'OrderTeleported', 'e-9'],
      ['newer-version', 'OrderPaid', ''],
      ['oversize', '', ''],
    ])
    expect(await pending()).toEqual([])
  })

  it('two pollers at once share the stream and handle every entry once', async () => {
    const { redis, connect, publish, pending } = await startScenario()
    const { calls, handler } = noting((_event, { consumerName }) => {
      owners.add(consumerName)
      return new Promise((resolve) => setImmediate(resolve))
    })
    const owners = new Set<string>()
    const orders = names('o', 300)
    await publish(...orders)
    const consumer = billing(handler, { batchSize: 10 })

    const reports = await Promise.all([poll(consumer, { redis }), poll(consumer, { redis: connect() })])

    expect(calls.toSorted()).toEqual(orders.toSorted())
    expect(owners).toEqual(new Set(['poller-0', 'poller-1']))
    expect(reports.map(difference)).toEqual([0, 0])
    expect(await pending()).toEqual([])
  })

  it('several consumers are polled in one invocation, and one’s trouble does not stop the others', async () => {
    const { redis, raw, publish } = await startScenario()
    const { calls, handler } = noting()
    await raw.set('payments', 'no stream')
    await publish('a')
    const broken = defineConsumer({ stream: 'payments', group: 'billing', routes: [on(OrderPaid, () => {})] })

    const failing = createPoller([broken, billing(handler)], { redis })({}, lambdaContext())

    await expect(failing).rejects.toMatchObject({
      code: 'ERR_INVOCATION_FAILED',
      failures: [{ stream: 'payments', group: 'billing', error: { code: 'ERR_REDIS_REPLY' } }],
      report: {
        read: 1,
        acked: 1,
        consumers: [
          { stream: 'payments', read: 0 },
          { stream: 'orders', read: 1 },
        ],
      },
    })
    expect(calls).toEqual(['a'])
  })

  it('dead letters go to the stream that deadLetters names, and what maxLength removes is reported', async () => {
    const { redis, publish, deadLetters } = await startScenario()
    const consumer = billing(() => Promise.reject(new NonRetryableError('gone')), {
      deadLetters: { stream: '{orders}:graveyard', maxLength: 2 },
    })
    const ids = await publish('a', 'b', 'c', 'd', 'e')

    const report = await poll(consumer, { redis })

    expect(counts(report)).toEqual({ read: 5, deadLettered: 5, deadLettersTrimmed: 3, batches: 1, drained: true })
    expect((await deadLetters('{orders}:graveyard')).map(({ head }) => head.originalId)).toEqual(ids.slice(3))
    expect(await deadLetters(DLQ)).toEqual([])
  })

  it('poller and claimer are Middy handlers of two parameters', async () => {
    const { redis, publish } = await startScenario()
    const seen: unknown[] = []
    const middleware = {
      before: (request: { event: unknown }) => void seen.push(['before', request.event]),
      after: (request: { response: unknown }) => void seen.push(['after', (request.response as Report).acked]),
    }
    const poller = createPoller(
      billing(() => {}),
      { redis },
    )
    const claimer = createClaimer(
      billing(() => {}),
      { redis },
    )
    await publish('a')

    const report = await poller.use(middleware)({ source: 'aws.scheduler' }, lambdaContext())

    expect(report.acked).toBe(1)
    expect(seen).toEqual([
      ['before', { source: 'aws.scheduler' }],
      ['after', 1],
    ])
    expect([poller.use(middleware), poller.length <= 2, claimer.length <= 2]).toEqual([poller, true, true])
  })

  it('nothing that a middleware puts into the context takes the place of ours', async () => {
    const { redis, publish } = await startScenario()
    const own = ['stream', 'group', 'consumerName', 'entryId', 'deliveryCount', 'maxDeliveries', 'idempotencyKey']
    const seen: unknown[] = []
    const consumer = billing((_event, context) => {
      seen.push(Object.values(context).includes('theirs'), context.signal.aborted, context.fields.length)
      seen.push((context as unknown as { logger: string }).logger)
    })
    await publish('a')

    const report = await createPoller(consumer, { redis }).use({
      before: ({ context }) => {
        for (const name of [...own, 'signal', 'fields']) Object.assign(context, { [name]: 'theirs' })
        Object.assign(context, { logger: 'logger' })
      },
    })({}, lambdaContext())

    expect(report).toMatchObject({ read: 1, acked: 1 })
    expect(seen).toEqual([false, false, 4, 'logger'])
  })

  it('a handler that returns a thenable is waited for', async () => {
    const { redis, publish } = await startScenario()
    let isDone = false
    const then = (resolve: () => void) =>
      void setTimeout(() => {
        isDone = true
        resolve()
      }, 5)
    // oxlint-disable-next-line unicorn/no-thenable -- a promise of another library, which gives nothing back
    const member = 'then'
    const later = () => ({ [member]: then })
    await publish('a')

    expect(counts(await poll(billing(later), { redis }))).toEqual({ read: 1, acked: 1, batches: 1, drained: true })
    expect(isDone).toBe(true)
  })

  it('publishMany writes in order, in one request, as publish does', async () => {
    const { redis, raw } = await startScenario()
    const orders = createPublisher({ stream: 'orders', redis, producer: 'shop' })
    const one = await orders.publish(
      OrderPaid,
      { orderId: 'a' },
      { eventId: 'e-1', occurredAt: '2026-01-02T03:04:05.678Z' },
    )
    const many = await orders.publishMany([
      [OrderPaid, { orderId: 'b' }, { eventId: 'e-2', aggregateId: 'b' }],
      [OrderPaid, { orderId: 'c' }, { eventId: 'e-3' }],
    ])

    const entries = await raw.xrange('orders', '-', '+')
    expect(entries.map(([entryId, fields]) => ({ entryId, eventId: fields[1] }))).toEqual([one, ...many])
    expect(entries[0]?.[1].join(' ')).toBe(
      'eventId e-1 eventType OrderPaid producer shop occurredAt 2026-01-02T03:04:05.678Z payload {"orderId":"a"}',
    )
  })

  it('maxLength and retentionMs bound the stream', async () => {
    const { redis, raw } = await startScenario()
    const byLength = createPublisher({ stream: 'a', redis, maxLength: 3, exactTrimming: true })
    await byLength.publishMany(names('o', 10).map((orderId) => [OrderPaid, { orderId }] as const))
    await raw.xadd('b', '1-0', 'old', 'entry')
    await createPublisher({ stream: 'b', redis, retentionMs: 60_000, exactTrimming: true }).publish(OrderPaid, {
      orderId: 'a',
    })

    expect([await raw.xlen('a'), await raw.xlen('b')]).toEqual([3, 1])
  })
})

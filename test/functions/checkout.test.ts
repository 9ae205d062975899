import type { HandlerContext } from 'millrace'
import { NonRetryableError } from 'millrace'
import { createHandlerContext, effectsOf } from 'millrace/testing'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import * as events from '../../functions/events/checkout.ts'

const { row, stock, published, partners, letters, open } = vi.hoisted(() => {
  process.env.REDIS_URL = 'redis://127.0.0.1:1'
  return {
    row: new Map<string, string>(),
    stock: new Map<string, string>(),
    published: [] as unknown[],
    partners: { charge: vi.fn(), refund: vi.fn(), ship: vi.fn() },
    letters: new Map<string, number>(),
    open: new Map<string, string>(),
  }
})

vi.mock('../../functions/shared/redis.ts', () => ({ redis: undefined }))
vi.mock('../../functions/shared/ask.ts', async (importActual) => {
  const COMMANDS: Record<string, (key: string, ...args: string[]) => unknown> = {
    HGET: (key, field = '') => (key === '{checkout}:stock' ? stock : row).get(field) ?? null,
    HMGET: (_key, ...fields) => fields.map((field) => row.get(field) ?? null),
    HSET: (_key, field = '', value = '') => row.set(field, value).size,
    HGETALL: (key) => (key === '{checkout}:row:o-1' ? [...row].flat() : []),
    EXISTS: (key) => Number(key === '{checkout}:row:o-1' && row.size > 0),
    XLEN: (key) => letters.get(key) ?? 0,
    ZCARD: () => open.size,
    ZSCORE: (_key, id = '') => open.get(id) ?? null,
    ZRANGE: () => [...open].flat(),
  }
  const ask = async (commands: [name: string, key: string, ...args: string[]][]) =>
    commands.map(([name, ...args]) => COMMANDS[name]?.(...args))
  return { ...(await importActual<object>()), createAsk: () => ask }
})
vi.mock('../../functions/checkout/partners.ts', () => ({ partners }))
vi.mock('../../functions/checkout/publisher.ts', async () => {
  const { createPublisher } = await import('millrace')
  const { connectMemory } = await import('millrace/testing')
  const publisher = createPublisher({ stream: 'checkout', redis: connectMemory() })
  const publish = async (...publication: unknown[]) => published.push(publication)
  return { checkout: Object.assign(publisher, { publish }) }
})

const { services } = await import('../../functions/checkout/consumers.ts')
const { followOrder, NEXT } = await import('../../functions/checkout/order.ts')
const { cancelPayment, refundPayment, takePayment } = await import('../../functions/checkout/payment.ts')
const { releaseStock, reserveStock } = await import('../../functions/checkout/stock.ts')
const { sendParcel } = await import('../../functions/checkout/shipping.ts')
const { countEnded } = await import('../../functions/checkout/count.ts')
const { markStuck } = await import('../../functions/checkout/table.ts')
const { handler: read } = await import('../../functions/checkout/read.ts')

const order: events.Order = { orderId: 'o-1', cents: 700, sku: 'chair', quantity: 2 }

type Handler = (event: { type: string; payload: events.Order }, context: HandlerContext) => Promise<void>

/** Calls a handler in a state. @returns What it wrote as the next state and announced, and all of its effects. */
async function step(handler: Handler, service: string, state: string, type = 'OrderPlaced') {
  row.clear()
  if (state !== 'unknown' && service !== 'order') row.set('order', 'open')
  if (state !== 'none' && state !== 'unknown') row.set(service, state)
  const context = createHandlerContext({ stream: 'checkout', group: service, entryId: '1700000000000-0' })
  await handler({ type, payload: order }, context)
  const commands = effectsOf(context)
  const next = commands.find(
    ([name, key, field]) => name === 'HSET' && String(key).includes(':row:') && field === service,
  )
  const [announced] = commands
    .filter(([name]) => name === 'XADD')
    .map((command) => command[command.indexOf('eventId') + 1])
  return { next: String(next?.[3] ?? ''), announced, commands }
}

/** The lines of a table, its words apart by spaces: `.` where nothing follows. */
const rowsOf = (table: string) =>
  table
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))

beforeEach(() => {
  vi.resetAllMocks()
  for (const all of [row, stock, letters, open]) all.clear()
  published.length = 0
  for (const ask of Object.values(partners)) ask.mockResolvedValue(true)
})

describe('followOrder()', () => {
  const [header = [], ...lines] = rowsOf(`
    state           OrderPlaced PaymentTaken PaymentDeclined StockReserved StockMissing OrderTimedOut ParcelSent ParcelRefused PaymentClosed  StockClosed
    none            open        .            .               .             .            cancelling    .          .             .              .
    open            .           paid         cancelling      reserved      cancelling   cancelling    .          .             .              .
    paid            .           .            cancelling      confirmed     cancelling   cancelling    .          .             .              .
    reserved        .           confirmed    cancelling      .             cancelling   cancelling    .          .             .              .
    confirmed       .           .            .               .             .            .             shipped    cancelling    .              .
    cancelling      .           .            .               .             .            .             .          .             payment-closed stock-closed
    payment-closed  .           .            .               .             .            .             .          .             .              cancelled
    stock-closed    .           .            .               .             .            .             .          .             cancelled      .
    shipped         .           .            .               .             .            .             .          .             .              .
    cancelled       .           .            .               .             .            .             .          .             .              .
  `)
  const announces: Readonly<Record<string, string>> = {
    open: 'OrderOpened:o-1',
    confirmed: 'OrderConfirmed:o-1',
    cancelling: 'OrderCancelled:o-1',
    shipped: 'OrderFulfilled:o-1',
    cancelled: 'OrderCompensated:o-1',
  }
  const cases = lines.flatMap(([state = '', ...nexts]) =>
    nexts.map((next, n) => [state, header[n + 1] ?? '', next === '.' ? '' : next] as const),
  )

  test.each(cases)('in state %s, %s leads to "%s"', async (state, type, next) => {
    const { commands, ...moved } = await step(followOrder, 'order', state, type)

    expect(moved).toEqual({ next, announced: announces[next] })
    if (next === '') return expect(commands).toEqual([])
    const expected = state === 'none' ? ['none'] : ['is', state]
    expect(commands[0]).toEqual(['HGET', '{checkout}:row:o-1', 'order', ...expected])
  })

  test('has a route for each event of the table, and for no other', () => {
    expect([...(services[0]?.routes.keys() ?? [])]).toEqual(header.slice(1))
  })

  test('has more deliveries than its field has writes, each of which may cost an event one', () => {
    const writesFrom = (state: string): number =>
      Math.max(0, ...Object.values(NEXT[state] ?? {}).map((next) => 1 + writesFrom(next)))

    expect(writesFrom('none')).toBe(6)
    expect(services.filter(({ settings }) => settings.maxDeliveries <= writesFrom('none'))).toEqual([])
  })

  test('starts the clock before the order opens, which is open from then on', async () => {
    const { commands } = await step(followOrder, 'order', 'none', 'OrderPlaced')

    expect(published).toMatchObject([[events.OrderTimedOut, order, { eventId: 'OrderTimedOut:o-1', delayMs: 900_000 }]])
    expect(commands).toContainEqual(['ZADD', '{checkout}:open', '1700000000000', 'o-1'])
    expect(commands).toContainEqual(['HSET', '{checkout}:row:o-1', 'placed', JSON.stringify(order)])
  })

  test('goes on with the order that was opened, whatever else is placed under its id', async () => {
    const opened = { ...order, quantity: 1 }
    row.set('order', 'reserved').set('placed', JSON.stringify(opened))
    const context = createHandlerContext({ stream: 'checkout', group: 'order' })

    await followOrder({ type: 'OrderTimedOut', payload: order }, context)

    const announced = effectsOf(context).find(([name]) => name === 'XADD')
    expect(announced?.[announced.indexOf('payload') + 1]).toBe(JSON.stringify(opened))
  })

  test('says why an order is cancelled', async () => {
    const { commands } = await step(followOrder, 'order', 'paid', 'StockMissing')

    expect(commands).toContainEqual(['HSET', '{checkout}:row:o-1', 'because', 'StockMissing'])
    expect(published).toEqual([])
  })

  test.each([
    ['confirmed', 'ParcelSent'],
    ['payment-closed', 'StockClosed'],
  ])('takes an order that ends off the open ones, from %s by %s', async (state, type) => {
    const { commands } = await step(followOrder, 'order', state, type)

    expect(commands).toContainEqual(['ZREM', '{checkout}:open', 'o-1'])
    expect(commands.map(([name]) => name)).not.toContain('PEXPIRE')
  })
})

describe.each([
  [
    'takePayment()',
    takePayment,
    `
    none       charge  yes  paid      PaymentTaken:o-1
    none       charge  no   declined  PaymentDeclined:o-1
    paid       .       yes  .         .
    declined   .       yes  .         .
    refunding  .       yes  .         .
    refunded   .       yes  .         .
    void       .       yes  .         .
    unknown    .       yes  .         .`,
  ],
  [
    'cancelPayment()',
    cancelPayment,
    `
    none       .       yes  refunding RefundDue:o-1
    paid       .       yes  refunding RefundDue:o-1
    declined   .       yes  refunding RefundDue:o-1
    refunding  .       yes  .         .
    refunded   .       yes  .         .
    void       .       yes  .         .
    unknown    .       yes  .         .`,
  ],
  [
    'refundPayment()',
    refundPayment,
    `
    none       .       yes  .         .
    paid       .       yes  .         .
    declined   .       yes  .         .
    refunding  refund  yes  refunded  PaymentClosed:o-1
    refunding  refund  no   void      PaymentClosed:o-1
    refunded   .       yes  .         .
    void       .       yes  .         .`,
  ],
] as const)('%s', (_name, handler, table) => {
  test.each(rowsOf(table))(
    'in state %s asks for %s, answered %s leads to %s and announces %s',
    async (state, ask, answer, next, announced) => {
      for (const partner of Object.values(partners)) partner.mockResolvedValue(answer === 'yes')

      const moved = await step(handler, 'payment', state ?? '')

      expect([moved.next || '.', moved.announced ?? '.']).toEqual([next, announced])
      const asked = Object.entries(partners).flatMap(([name, { mock }]) => mock.calls.map(() => name))
      expect(asked).toEqual(ask === '.' ? [] : [ask])
    },
  )
})

test('refundPayment() writes nothing where the provider refuses', async () => {
  partners.refund.mockRejectedValue(new NonRetryableError('no'))

  await expect(step(refundPayment, 'payment', 'refunding')).rejects.toThrow(NonRetryableError)
})

describe('stock', () => {
  test.each(
    rowsOf(`
    none      2  reserved  StockReserved:o-1
    none      1  missing   StockMissing:o-1
    none      .  missing   StockMissing:o-1
    reserved  9  .         .
    missing   9  .         .
    released  9  .         .
    unknown   9  .         .`),
  )(
    'reserveStock() in state %s with %s left leads to %s and announces %s',
    async (state, left = '', next, announced) => {
      if (left !== '.') stock.set('chair', left)

      const moved = await step(reserveStock, 'stock', state ?? '')

      expect([moved.next || '.', moved.announced ?? '.']).toEqual([next, announced])
      const taken = moved.commands.filter(([, key]) => key === '{checkout}:stock')
      expect(taken).toEqual(
        next === 'reserved'
          ? [
              ['HGET', '{checkout}:stock', 'chair', 'min', '2'],
              ['HINCRBY', '{checkout}:stock', 'chair', '-2'],
            ]
          : [],
      )
    },
  )

  test.each(
    rowsOf(`
    none      released  StockClosed:o-1  .
    missing   released  StockClosed:o-1  .
    reserved  released  StockClosed:o-1  2
    released  .         .                .
    unknown   .         .                .`),
  )('releaseStock() in state %s leads to %s, announces %s and puts back %s', async (state, next, announced, back) => {
    const moved = await step(releaseStock, 'stock', state ?? '', 'OrderCancelled')

    expect([moved.next || '.', moved.announced ?? '.']).toEqual([next, announced])
    expect(moved.commands.find(([name]) => name === 'HINCRBY')?.[3] ?? '.').toBe(back)
  })
})

test.each(
  rowsOf(`
  none     yes  sent     ParcelSent:o-1
  none     no   refused  ParcelRefused:o-1
  sent     yes  .        .
  refused  yes  .        .
  unknown  yes  .        .`),
)('sendParcel() in state %s, answered %s leads to %s and announces %s', async (state, answer, next, announced) => {
  partners.ship.mockResolvedValue(answer === 'yes')

  const moved = await step(sendParcel, 'shipping', state ?? '')

  expect([moved.next || '.', moved.announced ?? '.']).toEqual([next, announced])
  expect(partners.ship).toHaveBeenCalledTimes(state === 'none' ? 1 : 0)
})

test('countEnded() counts orders and cents by how they ended, and lets the row go', async () => {
  const { commands } = await step(countEnded, 'stats', 'none', 'OrderFulfilled')

  expect(commands).toEqual([
    ['HGET', '{checkout}:row:o-1', 'stats', 'none'],
    ['HSET', '{checkout}:row:o-1', 'stats', 'counted'],
    ['HDEL', '{checkout}:row:o-1', 'stuck:stats'],
    ['HINCRBY', '{checkout}:stats', 'OrderFulfilled:orders', '1'],
    ['HINCRBY', '{checkout}:stats', 'OrderFulfilled:cents', '700'],
    ['PEXPIRE', '{checkout}:row:o-1', 2_592_000_000],
  ])
})

test.each(['counted', 'unknown'])('countEnded() counts nothing in state %s', async (state) => {
  expect((await step(countEnded, 'stats', state, 'OrderFulfilled')).commands).toEqual([])
})

test('what opens an order is not older than a row is kept', () => {
  const limits = [...(services[0]?.routes ?? [])].map(([type, { maxAgeMs }]) => [type, maxAgeMs])

  expect(limits.filter(([, maxAgeMs]) => maxAgeMs !== undefined)).toEqual([
    ['OrderPlaced', 2_592_000_000],
    ['OrderTimedOut', 2_592_000_000],
  ])
})

describe('markStuck()', () => {
  const notice = {
    stream: 'checkout',
    group: 'payment',
    deadLetters: '',
    entryId: '1-0',
    deliveryCount: 1,
    eventType: 'RefundDue',
  } as const

  test('says which step is a dead letter, until the next one of its service', async () => {
    row.set('payment', 'refunding')

    await markStuck({ ...notice, reason: 'non-retryable', eventId: 'RefundDue:o-1' })

    expect(row.get('stuck:payment')).toBe('RefundDue, non-retryable')
    const { commands } = await step(refundPayment, 'payment', 'refunding')
    expect(commands).toContainEqual(['HDEL', '{checkout}:row:o-1', 'stuck:payment'])
  })

  test.each(['RefundDue:o-2', undefined, 'x', 'of-another-o-1'])(
    'writes nothing where the id names no order of the table: %s',
    async (eventId) => {
      row.set('payment', 'paid')
      await markStuck({ ...notice, reason: 'malformed', eventId })

      expect([...row]).toEqual([['payment', 'paid']])
    },
  )
})

describe('read', () => {
  test('answers the states of an order, and since when it is open', async () => {
    row.set('order', 'stock-closed').set('payment', 'refunding').set('stuck:payment', 'RefundDue, non-retryable')
    open.set('o-1', '1700000000000')

    const { statusCode, body } = await read({ queryStringParameters: { orderId: 'o-1' } })

    expect([statusCode, JSON.parse(body)]).toEqual([
      200,
      {
        orderId: 'o-1',
        openSince: '2023-11-14T22:13:20.000Z',
        order: 'stock-closed',
        payment: 'refunding',
        'stuck:payment': 'RefundDue, non-retryable',
      },
    ])
  })

  test('answers what is open, how orders ended, and dead letters', async () => {
    open.set('o-1', '1700000000000')
    letters.set('{checkout}:payment:dlq', 3)

    // as an HTTP API's payload 1.0 has it
    const { statusCode, body } = await read({ queryStringParameters: null })

    expect([statusCode, JSON.parse(body)]).toEqual([
      200,
      {
        open: { count: 1, oldest: [{ orderId: 'o-1', openSince: '2023-11-14T22:13:20.000Z' }] },
        ended: {},
        deadLetters: { order: 0, payment: 3, stock: 0, shipping: 0, stats: 0 },
      },
    ])
  })

  test('answers 404 for an order that there is not', async () => {
    expect(await read({ queryStringParameters: { orderId: 'o-2' } })).toMatchObject({ statusCode: 404 })
  })

  test.each([{ orderId: '' }, { orderId: 'a:b' }, { orderId: 'x'.repeat(65) }, { order: 'o-1' }])(
    'answers 400 for %j',
    async (query) => {
      expect(await read({ queryStringParameters: query as never })).toMatchObject({ statusCode: 400 })
    },
  )
})

test.each([
  { cents: 0 },
  { cents: 1.5 },
  { cents: 1_000_000_001 },
  { quantity: 0 },
  { quantity: 1_001 },
  { orderId: 'a:b' },
  { sku: '' },
])('OrderPlaced refuses %j', async (wrong) => {
  expect(await events.OrderPlaced.payload['~standard'].validate({ ...order, ...wrong })).toHaveProperty('issues')
})

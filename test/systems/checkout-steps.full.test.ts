import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Publication } from 'millrace'
import { createClaimer, createPoller, createPublisher } from 'millrace'
import { redriveDeadLetters } from 'millrace/operate'
import { afterAll, beforeEach, expect, test, vi } from 'vitest'
import type { Fate, What } from '../../demo/checkout/partners.ts'
import { startPartners } from '../../demo/checkout/partners.ts'
import { createRandom, type Random } from '../../demo/random.ts'
import { lambdaContext } from '../../demo/schedule.ts'
import type { Order } from '../../functions/events/checkout.ts'
import { startRedisServer } from '../../tools/redis-server.ts'

// The services in this process: what they announce is held until the test hands it on, when and as often as it likes.

const DAY_MS = 86_400_000

let fateOf: (what: What, order: Order) => Fate | Promise<Fate> = () => 'yes'
const server = await startRedisServer()
const partners = await startPartners((what, order) => fateOf(what, order))
vi.stubEnv('REDIS_URL', server.url)
vi.stubEnv('PARTNERS_URL', partners.url)
vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'true')
vi.mock('../../functions/checkout/publisher.ts', () => import('./checkout/held-publisher.ts'))
const events = await import('../../functions/events/checkout.ts')
const { services } = await import('../../functions/checkout/consumers.ts')
const { redis } = await import('../../functions/shared/redis.ts')
const raw = new Redis(server.url)
const wakePoller = createPoller(services, { redis, mode: 'drain' })
const wakeClaimer = createClaimer(services, { redis })
const inStream = createPublisher({ stream: 'checkout', redis, producer: 'shop' })
const inHand = createPublisher({ stream: '{checkout}:held', redis, producer: 'shop' })

afterAll(async () => {
  raw.disconnect()
  await redis.close()
  await partners.close()
  await server.stop()
})

/** Partners remember orders. */
let attempt = 0

beforeEach(async () => {
  attempt++
  await raw.flushdb()
  fateOf = () => 'yes'
  for (const done of Object.values(partners.ledger)) (done as Order[]).length = 0
})

test('of orders that want the last piece at once, one gets it', async () => {
  const orders = ordersOf(10, { quantity: 3 })
  await raw.hset('{checkout}:stock', 'chair', 4)
  await open(orders)
  await inStream.publishMany(orders.map((order) => publicationOf('OrderOpened', order)))

  await drain()

  const states = (await rowsOf(orders)).map(({ stock }) => stock)
  expect(Map.groupBy(states, String).get('reserved')).toHaveLength(1)
  expect(Map.groupBy(states, String).get('missing')).toHaveLength(9)
  expect(await raw.hget('{checkout}:stock', 'chair')).toBe('1')
})

test('a partner is asked for one thing by one handler at a time', async () => {
  const orders = ordersOf(3)
  fateOf = () => sleep(50, 'yes')
  await open(orders)
  for (const { orderId } of orders) await raw.hset(`{checkout}:row:${orderId}`, { stock: 'reserved' })
  const types = ['OrderOpened', 'OrderConfirmed'] as const
  const once = types.flatMap((type) => orders.map((order) => publicationOf(type, order)))
  await inStream.publishMany([...once, ...once, ...once])

  await drain()

  expect([partners.ledger.charges.length, partners.ledger.parcels.length, partners.overlaps]).toEqual([3, 3, 0])
})

test('an order ends the same in whatever sequence its messages come, once or again days later', {
  timeout: 300_000,
}, async () => {
  const random = createRandom(Number(process.env.MILLRACE_SEED ?? 1))
  const orders = ordersOf(120)
  await raw.hset('{checkout}:stock', 'chair', orders.length)
  const fates = new Map(orders.map(({ orderId }) => [orderId, random.integer(0, 9)]))
  fateOf = (what, { orderId }) => {
    const fate = fates.get(orderId) as number
    return (what === 'charges' && fate < 2) || (what === 'parcels' && fate === 2) ? 'no' : 'yes'
  }
  // a second one of other contents under each id; and some orders have their timeout at any moment
  const placed = orders.flatMap((order) => [
    publicationOf('OrderPlaced', order),
    publicationOf('OrderPlaced', { ...order, cents: order.cents + 7_000, quantity: order.quantity + 1 }),
    ...((fates.get(order.orderId) as number) % 2 ? [publicationOf('OrderTimedOut', order)] : []),
  ])
  await inHand.publishMany(placed)

  await handOnAll(random)
  const ended = await endOf(orders)
  expect(ended).toEqual(await expectedEnd(orders))
  expect(ended.states).toEqual(
    [
      'cancelled refunded released',
      'cancelled refunded released refused',
      'cancelled void released',
      'shipped paid reserved sent',
    ].toSorted(),
  )

  // all of it twice more, when no marker of `idempotent` is left; then all groups are lost, and have the whole stream again
  for (let again = 0; again < 2; again++) {
    await forgetMarkers()
    for (const fields of await announced()) await raw.xadd('checkout', '*', ...fields)
    await drain()
  }
  await forgetMarkers()
  for (const { group } of services) {
    await raw.xgroup('DESTROY', 'checkout', group)
    await raw.del(`{checkout}:${group}:state`)
  }
  await drain()
  expect(await endOf(orders)).toEqual(ended)
})

test('nothing follows from events of an order that the table does not have', async () => {
  const [order] = ordersOf(1) as [Order]
  await raw.hset('{checkout}:stock', 'chair', 1)
  const types = Object.keys(events).filter((name) => /^[A-Z]/.test(name)) as Name[]
  const all = types.map((type) => publicationOf(type, order))
  await inHand.publishMany(all)
  // older than a row is kept: the id says so
  for (const [n, fields] of (await announced()).entries())
    await raw.xadd('checkout', `${Date.now() - 31 * DAY_MS}-${n + 1}`, ...fields)
  const opens = ['OrderPlaced', 'OrderTimedOut']
  await inStream.publishMany(all.filter(([{ type }]) => !opens.includes(type)))
  await raw.del('{checkout}:held')

  await drain()

  expect([...(await raw.keys('{checkout}:row:*')), ...(await announced())]).toEqual([])
  expect(Object.values(partners.ledger).flat()).toEqual([])
  expect([await raw.hgetall('{checkout}:stock'), await raw.hgetall('{checkout}:stats')]).toEqual([{ chair: '1' }, {}])
  const letters = await raw.xrange('{checkout}:order:dlq', '-', '+')
  expect(letters.map(([, fields]) => fields[fields.indexOf('reason') + 1])).toEqual(['expired', 'expired'])
})

test('a refund that is refused three times is a letter each time, and one refund', async () => {
  const [order] = ordersOf(1) as [Order]
  await raw.hset('{checkout}:stock', 'chair', 1)
  fateOf = (what) => (what === 'refunds' ? 'refuse' : what === 'parcels' ? 'no' : 'yes')
  await inHand.publishMany([publicationOf('OrderPlaced', order)])
  await handOnAll(createRandom(1))

  const payment = { stream: 'checkout', group: 'payment' }
  const redrive = async () => {
    await redriveDeadLetters(payment, { redis, all: true } as never)
    await drain()
    return [(await rowsOf([order]))[0]?.payment, await raw.xlen('{checkout}:payment:dlq')]
  }
  const letters = await raw.xlen('{checkout}:payment:dlq')
  for (let time = 0; time < 3; time++) expect(await redrive()).toEqual(['refunding', letters])
  expect(letters).toBeGreaterThan(0)
  expect((await rowsOf([order]))[0]).toMatchObject({
    order: 'stock-closed',
    'stuck:payment': 'RefundDue, non-retryable',
  })
  const [letter] = await raw.xrange('{checkout}:payment:dlq', '-', '+')
  fateOf = () => 'yes'
  expect(await redrive()).toEqual(['refunded', 0])
  // the same letter once more, days later
  await forgetMarkers()
  await raw.xadd('{checkout}:payment:dlq', '*', ...(letter as [string, string[]])[1])
  await redrive()
  await handOnAll(createRandom(1))

  expect(partners.ledger.refunds).toEqual([order])
  expect(await endOf([order])).toEqual(await expectedEnd([order]))
})

test.each([
  'OrderConfirmed',
  'ParcelSent',
  'OrderFulfilled',
  'ParcelRefused',
  'OrderCancelled',
  'RefundDue',
  'PaymentClosed',
  'StockClosed',
  'OrderCompensated',
])('an order whose %s was trimmed unread goes on once it is published again', async (lost) => {
  const [order] = ordersOf(1) as [Order]
  const isSent = ['OrderConfirmed', 'ParcelSent', 'OrderFulfilled'].includes(lost)
  fateOf = (what) => (what === 'parcels' && !isSent ? 'no' : 'yes')
  await raw.hset('{checkout}:stock', 'chair', 1)
  await inHand.publishMany([publicationOf('OrderPlaced', order)])

  await handOnAll(createRandom(1), lost)
  expect((await rowsOf([order]))[0]).not.toHaveProperty('stats')
  expect(await raw.pttl(`{checkout}:row:${order.orderId}`)).toBe(-1)
  await handOnAll(createRandom(1))

  expect((await rowsOf([order]))[0]).toMatchObject({ order: isSent ? 'shipped' : 'cancelled', stats: 'counted' })
  expect(await endOf([order])).toEqual(await expectedEnd([order]))
})

type Name = Exclude<keyof typeof events, 'orderId'>

function publicationOf(name: Name, order: Order): Publication {
  return [events[name], order, { eventId: `${name}:${order.orderId}`, aggregateId: order.orderId }]
}

function ordersOf(count: number, order: Partial<Order> = {}): Order[] {
  return Array.from({ length: count }, (_, n) => ({
    orderId: `o-${attempt}-${n}`,
    cents: 100 + n,
    sku: 'chair',
    quantity: 1,
    ...order,
  }))
}

async function open(orders: readonly Order[]): Promise<void> {
  for (const { orderId } of orders) await raw.hset(`{checkout}:row:${orderId}`, { order: 'open' })
}

const rowsOf = (orders: readonly Order[]) =>
  Promise.all(orders.map(({ orderId }) => raw.hgetall(`{checkout}:row:${orderId}`)))

/** What the services, and the shop, have announced, as fields. */
async function announced(): Promise<string[][]> {
  return (await raw.xrange('{checkout}:held', '-', '+')).map(([, fields]) => fields)
}

/** Has the services do all that is in the stream, with retries. */
async function drain(): Promise<void> {
  do await wakePoller({}, lambdaContext('poller'))
  while ((await isPending()) && (await wakeClaimer({}, lambdaContext('claimer', 12_000))))
}

async function isPending(): Promise<boolean> {
  const pending = await Promise.all(services.map(({ group }) => raw.xpending('checkout', group)))
  return pending.some(([count]) => Number(count) > 0)
}

/** Hands on what is announced, but for events of type `lost`, until nothing new is: of each order a few at a time, by chance, and some of what was handed on before. */
async function handOnAll(random: Random, lost = ''): Promise<void> {
  const handed = new Set<number>()
  for (;;) {
    const all = await announced()
    const left = [...all.keys()].filter((n) => !handed.has(n) && !all[n]?.includes(lost))
    if (left.length === 0) {
      await drain()
      if ((await announced()).length === all.length) return
    }
    const ofOrder = Map.groupBy(left, (n) => all[n]?.[all[n].indexOf('aggregateId') + 1])
    const pick = (ns: readonly number[]) => {
      const first = random.pick(ns)
      // a timeout comes at any moment: not among the first only, as it is announced
      return all[first]?.includes('OrderTimedOut') && random.integer(0, 5) > 0 ? random.pick(ns) : first
    }
    const now = [...ofOrder.values()].flatMap((ns) => [pick(ns), pick(ns)])
    const again = now.slice(0, 10).map(() => random.pick([...handed, ...now]))
    const pipeline = raw.pipeline()
    for (const n of [...now, ...again]) pipeline.xadd('checkout', '*', ...(all[n] as string[]))
    await pipeline.exec()
    for (const n of [...now, ...again]) handed.add(n)
    await wakePoller({}, lambdaContext('poller'))
  }
}

/** As after a day: what `idempotent` has written is gone. */
async function forgetMarkers(): Promise<void> {
  const markers = await raw.keys('{checkout}:*:event:*')
  if (markers.length > 0) await raw.del(...markers)
}

/** Where all orders are, and what was really done for them. */
async function endOf(orders: readonly Order[]) {
  const rows = await rowsOf(orders)
  const { charges, refunds, parcels } = partners.ledger
  return {
    states: [
      ...new Set(
        rows.map(({ order, payment, stock, shipping = '' }) => [order, payment, stock, shipping].join(' ').trim()),
      ),
    ].sort(),
    open: await raw.zcard('{checkout}:open'),
    stuck: rows.flatMap((row) => Object.keys(row).filter((field) => field.startsWith('stuck'))),
    charges: byId(charges),
    refunds: byId(refunds),
    parcels: byId(parcels),
    left: Number(await raw.hget('{checkout}:stock', 'chair')),
    stats: await raw.hgetall('{checkout}:stats'),
  }
}

/** What must have been done for orders that are where they are: all of it for one that is sent, nothing that stays for any other. */
async function expectedEnd(orders: readonly Order[]): ReturnType<typeof endOf> {
  const rows = await rowsOf(orders)
  const where = (isSo: (row: Record<string, string>) => boolean) =>
    byId(rows.filter(isSo).map(({ placed = '' }) => JSON.parse(placed) as Order))
  const shipped = where(({ order }) => order === 'shipped')
  const cancelled = where(({ order }) => order === 'cancelled')
  expect(shipped.length + cancelled.length).toBe(orders.length)
  const counts = (type: string, some: readonly Order[]) =>
    some.length === 0 ? {} : { [`${type}:orders`]: `${some.length}`, [`${type}:cents`]: `${sum(some, 'cents')}` }
  return {
    states: (await endOf(orders)).states,
    open: 0,
    stuck: [],
    charges: where(({ payment = '' }) => ['paid', 'refunded'].includes(payment)),
    refunds: where(({ payment }) => payment === 'refunded'),
    parcels: shipped,
    left: orders.length - sum(shipped, 'quantity'),
    stats: { ...counts('OrderFulfilled', shipped), ...counts('OrderCompensated', cancelled) },
  }
}

const byId = (orders: readonly Order[]) => orders.toSorted((a, b) => (a.orderId < b.orderId ? -1 : 1))

const sum = (orders: readonly Order[], field: 'cents' | 'quantity') =>
  orders.reduce((all, order) => all + order[field], 0)

import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createPublisher } from 'millrace'
import type { Order } from '../functions/events/checkout.ts'
import { OrderPlaced } from '../functions/events/checkout.ts'
import type { Fate, Partners, What } from './checkout/partners.ts'
import { startPartners } from './checkout/partners.ts'
import type { Equation } from './equation.ts'
import { paint, seconds } from './paint.ts'
import { createRandom } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'

const TICK_MS = 250
const TIMEOUT_MS = 6_000
const DRAIN_LIMIT_MS = 30_000
const SKUS = ['chair', 'table', 'lamp']
const SERVICES = ['order', 'payment', 'stock', 'shipping']

type Row = Readonly<Record<string, string>>

/** Orders of a shop whose provider and carrier decline, fail, and drop their answers; the shop publishes each order twice. */
export const demo: SystemDemo = {
  async run(stage) {
    const random = createRandom(stage.seed)
    const partners = await startPartners((what, order, attempt) => fateOf(what, order.cents % 20, attempt))
    process.env.PARTNERS_URL = partners.url
    process.env.CHECKOUT_TIMEOUT_MS = String(TIMEOUT_MS)
    const raw = new Redis(stage.url)
    const [poller, claimer, { redis }] = await Promise.all([
      import('../functions/checkout/poller.ts'),
      import('../functions/checkout/claimer.ts'),
      import('../functions/shared/redis.ts'),
    ])
    const stocked = stage.seconds * 8
    for (const sku of SKUS) await raw.hset('{checkout}:stock', sku, stocked)
    const failures: Error[] = []
    const onEnd = (end: unknown) => void (end instanceof Error && failures.push(end))
    const schedule = startSchedule([
      { functionName: 'checkoutPoller', everyMs: 6_000, timeoutMs: 15_000, handler: poller.handler, onEnd },
      { functionName: 'checkoutClaimer', everyMs: 6_000, timeoutMs: 15_000, handler: claimer.handler, onEnd },
    ])
    try {
      const shop = createPublisher({ stream: 'checkout', redis, producer: 'shop' })
      const orders = await play(stage, raw, async (orders) => {
        const some = Array.from(
          { length: random.integer(1, 5) },
          (_, n): Order => ({
            orderId: `o-${orders.length + n}`,
            cents: random.integer(100, 50_000),
            sku: random.pick(SKUS),
            quantity: random.integer(1, 4),
          }),
        )
        const placed = some.map((order) => [OrderPlaced, order, { eventId: `OrderPlaced:${order.orderId}` }] as const)
        await shop.publishMany([...placed, ...placed])
        return some
      })
      await schedule.stop()
      return await equationsOf(orders, raw, { partners, stocked, failed: failures.length })
    } finally {
      await schedule.stop()
      raw.disconnect()
      await redis.close()
      await partners.close()
    }
  },
}

/** Places orders tick by tick, and shows them, until each has ended. */
async function play(
  stage: DemoStage,
  raw: Redis,
  place: (orders: readonly Order[]) => Promise<Order[]>,
): Promise<Order[]> {
  const startedAt = performance.now()
  const orders: Order[] = []
  for (
    let elapsedMs = 0;
    elapsedMs < stage.seconds * 1_000 + DRAIN_LIMIT_MS;
    elapsedMs = performance.now() - startedAt
  ) {
    const isPlacing = elapsedMs < stage.seconds * 1_000
    if (isPlacing) orders.push(...(await place(orders)))
    const rows = await rowsOf(orders, raw)
    stage.show([
      `${seconds(elapsedMs).padStart(7)}  ${isPlacing ? 'placing' : 'ending'}  ${orders.length} orders, ${await raw.zcard('{checkout}:open')} open`,
      ...SERVICES.map((service) => `${service.padStart(9)}  ${countsOf(rows, service)}`),
    ])
    if (!isPlacing && (await countEnded(raw)) >= orders.length) break
    await sleep(TICK_MS, undefined, { signal: stage.signal })
  }
  return orders
}

async function countEnded(raw: Redis): Promise<number> {
  const counted = await raw.hmget('{checkout}:stats', 'OrderFulfilled:orders', 'OrderCompensated:orders')
  return counted.reduce((sum, count) => sum + Number(count), 0)
}

const rowsOf = (orders: readonly Order[], raw: Redis): Promise<Row[]> =>
  Promise.all(orders.map(({ orderId }) => raw.hgetall(`{checkout}:row:${orderId}`)))

function countsOf(rows: readonly Row[], service: string): string {
  const states = Map.groupBy(rows, (row) => row[service] ?? '-')
  return [...states].map(([state, { length }]) => `${state} ${paint('bold', String(length))}`).join('  ')
}

async function equationsOf(
  orders: readonly Order[],
  raw: Redis,
  { partners, stocked, failed }: { partners: Partners; stocked: number; failed: number },
): Promise<Equation[]> {
  const { charges, refunds, parcels } = partners.ledger
  const rows = await rowsOf(orders, raw)
  const shipped = orders.filter((_, n) => rows[n]?.order === 'shipped')
  const cancelled = orders.filter((_, n) => rows[n]?.order === 'cancelled')
  const stats = await raw.hgetall('{checkout}:stats')
  const left = await raw.hvals('{checkout}:stock')
  return [
    {
      left: [['orders', orders.length]],
      right: [
        ['shipped', shipped.length],
        ['compensated', cancelled.length],
      ],
    },
    { left: [['open', await raw.zcard('{checkout}:open')]], right: [['', 0]] },
    {
      left: [['counted as shipped', Number(stats['OrderFulfilled:orders'] ?? 0)]],
      right: [['parcels', parcels.length]],
    },
    {
      left: [['counted as compensated', Number(stats['OrderCompensated:orders'] ?? 0)]],
      right: [['compensated', cancelled.length]],
    },
    {
      left: [['cents charged', sum(charges)]],
      right: [
        ['shipped', sum(shipped)],
        ['refunded', sum(refunds)],
      ],
    },
    {
      left: [['refunds', refunds.length]],
      right: [['orders refunded', new Set(refunds.map(({ orderId }) => orderId)).size]],
    },
    {
      left: [['stock', stocked * SKUS.length]],
      right: [
        ['left', left.reduce((all, each) => all + Number(each), 0)],
        ['sent', shipped.reduce((all, { quantity }) => all + quantity, 0)],
      ],
    },
    { left: [['failed invocations', failed]], right: [['', 0]] },
  ]
}

const sum = (orders: readonly Order[]) => orders.reduce((cents, order) => cents + order.cents, 0)

/** By a number of 0 to 19 that each order has. */
function fateOf(what: What, fate: number, attempt: number): Fate {
  if (fate === 0 && what === 'charges') return 'no'
  if (fate === 1 && what === 'parcels') return 'no'
  // not for as long as the order has
  if (fate === 2 && what === 'charges') return attempt < 7 ? 'fail' : 'yes'
  if (fate < 6 && attempt === 1) return 'drop'
  if (fate < 9 && attempt < 3) return 'fail'
  return 'yes'
}

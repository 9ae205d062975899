import { setTimeout as sleep } from 'node:timers/promises'
import type { Publication } from 'millrace'
import { createPublisher } from 'millrace'
import { redriveDeadLetters } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import type { Fate, What } from '../../demo/checkout/partners.ts'
import { startPartners } from '../../demo/checkout/partners.ts'
import { createRandom } from '../../demo/random.ts'
import { acknowledgeWithEffectsScript } from '../../dist/group/redis/scripts/effects.js'
import type { Order } from '../../functions/events/checkout.ts'
import { OrderPlaced } from '../../functions/events/checkout.ts'
import { delayEventScript } from '../../src/group/redis/scripts/delay-event.ts'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startRelay } from './checkout/relay.ts'
import { startSystem } from './kit/start-system.ts'

/** In a whole run a thousand; a part of it elsewhere. */
const ORDERS = process.env.MILLRACE_SYSTEMS === 'whole' ? 1_000 : 200
const TIMEOUT_MS = 4_300
const GROUPS = ['order', 'payment', 'stock', 'shipping', 'stats'].map((group) => ({ stream: 'checkout', group }))
/** Of lamps there are few, and the first orders all want them, at once. */
const STOCK: Readonly<Record<string, number>> = { chair: ORDERS, table: ORDERS, lamp: 6 }
const SKUS = Object.keys(STOCK)
const FIRST = 20
const FUNCTIONS = ['poller', 'claimer'].map((name) => `functions/checkout/${name}.ts`)

/** Where a process is killed: at a partner that was asked and has not done it, or has and not answered; ahead of a script, or of its answer. */
const STEPS = [
  ...(['charges', 'refunds', 'parcels'] as const).flatMap((what) => [`${what} asked`, `${what} done`] as const),
  ...(['clock', 'effects'] as const).flatMap((what) => [`${what} asked`, `${what} done`] as const),
]
const SCRIPTS = { clock: delayEventScript, effects: acknowledgeWithEffectsScript }

test('checkout: every order is paid, sent and counted, or compensated whole', { timeout: 900_000 }, async () => {
  const random = createRandom(Number(process.env.MILLRACE_SEED ?? 1))
  const orders = Array.from(
    { length: ORDERS },
    (_, n): Order => ({
      orderId: `o-${n}`,
      cents: random.integer(100, 100_000),
      sku: n < FIRST ? 'lamp' : random.pick(SKUS),
      quantity: random.integer(1, 4),
    }),
  )
  const fates = new Map(orders.map(({ orderId }) => [orderId, random.integer(0, 100)]))
  let areRefundsRefused = true
  let trap: { readonly step: string; readonly sprung: () => void; readonly killed: Promise<never> } | undefined
  /** Where the process is to die: rejects once it has. */
  function spring(step: string): Promise<never> | undefined {
    if (trap?.step !== step) return undefined
    const { sprung, killed } = trap
    trap = undefined
    sprung()
    return killed
  }
  const partners = await startPartners(
    async (what, { orderId }, attempt) => {
      await spring(`${what} asked`)
      return fateOf(what, fates.get(orderId) ?? 0, attempt, areRefundsRefused)
    },
    (what) => spring(`${what} done`),
  )
  const environment: NodeJS.ProcessEnv = {
    PARTNERS_URL: partners.url,
    CHECKOUT_TIMEOUT_MS: String(TIMEOUT_MS),
    NODE_OPTIONS: `--import ${new URL('./checkout/hold-events.ts', import.meta.url).href}`,
  }
  const system = await startSystem(FUNCTIONS, GROUPS, { environment })
  const { raw, server, redis } = system
  const proxy = await startFaultProxy(server)
  environment.REDIS_URL = proxy.url
  const relay = startRelay(raw, random)
  onTestFinished(async () => {
    await relay.stop()
    await proxy.close()
    await partners.close()
  })
  for (const { lua } of Object.values(SCRIPTS)) await raw.script('LOAD', lua)
  await raw.hset('{checkout}:stock', STOCK)

  async function killAt(step: string): Promise<void> {
    const [what = '', when] = step.split(' ')
    const script = SCRIPTS[what as keyof typeof SCRIPTS]
    const [sprung, killed] = [Promise.withResolvers<void>(), Promise.withResolvers<never>()]
    killed.promise.catch(() => {})
    trap = { step, sprung: sprung.resolve, killed: killed.promise }
    if (script) await proxy[when === 'asked' ? 'cutBefore' : 'cutAfter'](String(evalsha(script, '', [], [])[1]))
    else await sprung.promise
    await system.kill()
    killed.reject(new Error(`killed where it had ${step}`))
    await system.start()
  }
  /** Waits until nothing is undone, and no message on its way. */
  async function settled(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      await system.drained()
      if (!(await relay.isEmpty()) || (await raw.exists('{checkout}:delayed')) > 0) quiet = -1
      await sleep(50)
    }
  }

  const shop = createPublisher({ stream: '{checkout}:held', redis, producer: 'shop' })
  const share = Math.ceil(ORDERS / STEPS.length)
  for (const [n, step] of STEPS.entries()) {
    const some = orders.slice(n * share, (n + 1) * share)
    const publications = some.map(
      (order): Publication => [
        OrderPlaced,
        order,
        { eventId: `OrderPlaced:${order.orderId}`, aggregateId: order.orderId },
      ],
    )
    const killed = killAt(step)
    // the shop publishes each twice
    await shop.publishMany([...publications, ...publications])
    if (n === 0) await system.start()
    await killed
  }
  await settled()

  // what is left is what the provider refuses to give back: a dead letter each, and a state that says so
  const stuck = await raw.zrange('{checkout}:open', 0, '-1')
  const letters = await Promise.all(GROUPS.map((group) => system.deadLetters(group)))
  const refused = new Set(letters.flat().map(({ eventId = '' }) => eventId.replace('RefundDue:', '')))
  expect(stuck.length).toBeGreaterThan(0)
  expect([...refused].sort()).toEqual([...stuck].sort())
  const stopped = await Promise.all(stuck.map((orderId) => raw.hgetall(`{checkout}:row:${orderId}`)))
  for (const row of stopped)
    expect(row).toMatchObject({ order: 'stock-closed', payment: 'refunding', stock: 'released' })
  // a notice may get lost
  expect(stopped.map((row) => row['stuck:payment'])).toContain('RefundDue, non-retryable')
  areRefundsRefused = false
  await redriveDeadLetters({ stream: 'checkout', group: 'payment' }, { redis, all: true } as never)
  await settled()

  const rows = await Promise.all(orders.map(({ orderId }) => raw.hgetall(`{checkout}:row:${orderId}`)))
  const ended = (state: string) => orders.filter((_, n) => rows[n]?.order === state)
  const [shipped, cancelled] = [ended('shipped'), ended('cancelled')]
  const { charges, refunds, parcels } = partners.ledger
  const kinds = new Set(rows.map(({ order, payment, stock, shipping }) => [order, payment, stock, shipping].join(' ')))

  expect(shipped.length + cancelled.length).toBe(ORDERS)
  expect([...kinds].sort()).toEqual([
    'cancelled refunded released ',
    'cancelled refunded released refused',
    'cancelled void released ',
    'shipped paid reserved sent',
  ])
  expect(rows.filter((row) => row['stuck:payment'])).toEqual([])
  expect(await raw.zcard('{checkout}:open')).toBe(0)
  expect(idsOf(parcels)).toEqual(idsOf(shipped))
  expect(new Set(idsOf(charges)).size).toBe(charges.length)
  expect(idsOf([...refunds, ...shipped])).toEqual(idsOf(charges))
  expect(sum(charges) - sum(refunds)).toBe(sum(shipped))
  expect(await raw.hgetall('{checkout}:stats')).toEqual({
    'OrderFulfilled:orders': String(shipped.length),
    'OrderFulfilled:cents': String(sum(shipped)),
    'OrderCompensated:orders': String(cancelled.length),
    'OrderCompensated:cents': String(sum(cancelled)),
  })
  expect((await raw.hvals('{checkout}:stock')).filter((left) => left.startsWith('-'))).toEqual([])
  for (const [sku, stocked] of Object.entries(STOCK)) {
    const sent = shipped.reduce((left, order) => left + (order.sku === sku ? order.quantity : 0), 0)
    expect(await raw.hget('{checkout}:stock', sku)).toBe(String(stocked - sent))
  }
  const because = Map.groupBy(rows, ({ because = '' }) => because)
  console.log(
    `${ORDERS} orders: ${[...because].map(([why, of]) => `${why || 'shipped'} ${of.length}`).join(', ')}; entries ${await raw.xlen('checkout')}`,
  )
  expect([...because.keys()].sort()).toEqual(['', 'OrderTimedOut', 'ParcelRefused', 'PaymentDeclined', 'StockMissing'])
})

/** By a number of 0 to 99 that each order has. */
async function fateOf(what: What, fate: number, attempt: number, areRefundsRefused: boolean): Promise<Fate> {
  if (what === 'charges') {
    if (fate < 8) return 'no'
    // longer than the order has: the money comes when it is cancelled already
    if (fate < 11 && attempt === 1) await sleep(TIMEOUT_MS + 400)
    // not for as long as the order has
    if (fate < 14) return attempt < 7 ? 'fail' : 'yes'
    if (fate < 24 && attempt === 1) return 'drop'
    if (fate < 30 && attempt < 3) return 'fail'
  }
  if (what === 'parcels') {
    if (fate >= 85 && fate < 95) return 'no'
    if (fate >= 75 && attempt === 1) return 'drop'
  }
  if (what === 'refunds') {
    if (fate >= 85 && fate < 90 && areRefundsRefused) return 'refuse'
    if (fate % 4 === 0 && attempt === 1) return 'drop'
    if (fate % 4 === 1 && attempt < 3) return 'fail'
  }
  return 'yes'
}

const idsOf = (orders: readonly Order[]) => orders.map(({ orderId }) => orderId).sort()
const sum = (orders: readonly Order[]) => orders.reduce((cents, order) => cents + order.cents, 0)

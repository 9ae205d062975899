import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createPublisher } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Drawn } from '../../demo/fan-out/draw.ts'
import { centsOf, drawOrder, takenBy } from '../../demo/fan-out/draw.ts'
import type { Asked, Fate, Piece } from '../../demo/fan-out/sinks.ts'
import { startSinks } from '../../demo/fan-out/sinks.ts'
import { createRandom } from '../../demo/random.ts'
import { acknowledgeWithEffectsScript } from '../../dist/group/redis/scripts/effects.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { RunningSystem } from './kit/start-system.ts'
import { startSystem } from './kit/start-system.ts'

const STREAM = 'shop-orders'
const NAMES = ['billing', 'search', 'cache', 'warehouse', 'bridge', 'audit']
const GROUPS = NAMES.map((group) => ({ stream: STREAM, group }))
const FUNCTIONS = ['poller', 'claimer'].map((name) => `functions/fan-out/${name}.ts`)
const ORDERS = process.env.MILLRACE_SYSTEMS === 'whole' ? 1_000 : 200

/** Longer than a retry waits, but for the last ones. */
const PATIENCE_MS = 4_000
const CHECK_EVERY_MS = 100

/** Where the process is killed: a sink was asked and has done nothing, or has and not answered; ahead of the script of effects, or of its answer. */
const STEPS = (['rows', 'flush', 'object', 'events', 'effects'] as const).flatMap(
  (what) => [`${what} asked`, `${what} done`] as const,
)

test('fan-out: each group has done what it takes, once where it can be, whatever is killed', {
  timeout: 600_000,
}, async () => {
  const random = createRandom(Number(process.env.MILLRACE_SEED ?? 1))
  const orders = Array.from({ length: ORDERS }, (_, n) => drawOrder(n, random))
  const drawn = orders.flat()
  let trap: { readonly step: string; readonly sprung: () => void; readonly killed: Promise<never> } | undefined
  /** Where the process is to die: rejects once it has. */
  function spring(step: string): Promise<never> | undefined {
    if (trap?.step !== step) return undefined
    const { sprung, killed } = trap
    trap = undefined
    sprung()
    return killed
  }
  const late = new Set<string>()
  const sinks = await startSinks({
    async fateOf(asked, attempt) {
      await spring(`${asked} asked`)
      return fateOf(asked, attempt)
    },
    pieceOf: (asked, eventId) => pieceOf(asked, eventId, late),
    doneWith: (asked) => spring(`${asked} done`),
  })
  const environment: NodeJS.ProcessEnv = { ...sinks.environment }
  const system = await startSystem(FUNCTIONS, GROUPS, { environment })
  const { raw, server, redis } = system
  const proxy = await startFaultProxy(server)
  environment.REDIS_URL = proxy.url
  onTestFinished(async () => {
    await proxy.close()
    await sinks.close()
  })
  await raw.script('LOAD', acknowledgeWithEffectsScript.lua)
  const sha = String(evalsha(acknowledgeWithEffectsScript, '', [], [])[1])
  const fillPages = async () => {
    for (const one of orders) await raw.set(pageOf(one), 'page')
  }
  await fillPages()

  const shop = createPublisher({ stream: STREAM, redis, producer: 'shop' })
  const share = Math.ceil(ORDERS / STEPS.length)
  for (const [n, step] of STEPS.entries()) {
    const some = orders
      .slice(n * share, (n + 1) * share)
      .flatMap((order) => order.map(({ publication }) => publication))
    // the shop publishes each twice
    await shop.publishMany([...some, ...some])
    const [sprung, killed] = [Promise.withResolvers<void>(), Promise.withResolvers<never>()]
    killed.promise.catch(() => {})
    if (step === 'effects asked') await Promise.all([system.start(), proxy.cutBefore(sha)])
    else if (step === 'effects done') await Promise.all([system.start(), proxy.cutAfter(sha)])
    else {
      trap = { step, sprung: sprung.resolve, killed: killed.promise }
      await system.start()
      await sprung.promise
    }
    await system.kill()
    killed.reject(new Error(`killed where it had ${step}`))
    await settle(system)
  }

  // billing: every cent once
  const ledger = await raw.hgetall('{shop-orders}:ledger')
  const of = (type: string) => drawn.filter((one) => one.type === type)
  expect(ledger).toEqual({
    paid: String(centsOf(drawn, 'OrderPaid')),
    'paid:events': String(of('OrderPaid').length),
    refunded: String(centsOf(drawn, 'OrderRefunded')),
    'refunded:events': String(of('OrderRefunded').length),
  })
  const accounts = await Promise.all(
    (await raw.keys('{shop-orders}:account:*')).map((key) => raw.hget(key, 'paid').then(Number)),
  )
  expect(accounts.reduce((sum, cents) => sum + cents, 0)).toBe(centsOf(drawn, 'OrderPaid'))

  // search: a document an order, with the facts of each of its events
  const documents = await Promise.all(orders.map((order) => raw.hgetall(`{shop-orders}:document:${idOf(order)}`)))
  expect(documents.map((document) => Object.keys(document).sort())).toEqual(
    orders.map((order) => ['customerId', ...takenBy('search', order).map(({ type }) => type)].sort()),
  )

  // cache: no page is left
  expect(await raw.keys('{shop-orders}:page:*')).toEqual([])

  // warehouse and bridge: all but what they refuse, which is a dead letter
  const isRefused = (asked: Asked) => (one: Drawn) => pieceOf(asked, one.eventId, late) === 'refused'
  for (const [group, asked] of [
    ['warehouse', 'rows'],
    ['bridge', 'events'],
  ] as const) {
    const taken = takenBy(group, drawn)
    const letters = await system.deadLetters({ stream: STREAM, group })
    expect(setOf(letters)).toEqual(setOf(taken.filter(isRefused(asked))))
    expect(new Set(letters.map(({ reason }) => reason))).toEqual(new Set(['non-retryable']))
    const held = group === 'warehouse' ? [...sinks.rows.keys()] : sinks.forwarded.map(({ detail }) => detail.eventId)
    expect(new Set(held)).toEqual(setOf(taken.filter((one) => !isRefused(asked)(one))))
  }
  // what was published twice is forwarded once, but for what was under way at a kill or whose answer was lost
  const repeats = sinks.forwarded.length - new Set(sinks.forwarded.map(({ detail }) => detail.eventId)).size
  expect(repeats).toBeGreaterThan(0)
  expect(repeats).toBeLessThan(takenBy('bridge', drawn).length / 2)

  // audit: every entry as it is in the stream
  const entries = await raw.xrange(STREAM, '-', '+')
  const lines = [...sinks.objects.values()].flat().map(({ entryId, fields }) => [entryId, fields.flat()] as const)
  expect(new Map(lines)).toEqual(new Map(entries))
  for (const group of ['billing', 'search', 'cache', 'audit'])
    expect(await system.deadLetters({ stream: STREAM, group })).toEqual([])

  // cache alone starts again from an entry in the middle
  await fillPages()
  const middle = entries[Math.floor(entries.length / 2)]?.[0] as string
  const touched = new Set(
    entries
      .filter(([id]) => compareIds(id, middle) >= 0)
      .map(([, fields]) => fields[fields.indexOf('aggregateId') + 1]),
  )
  const before = sinks.forwarded.length
  await system.start()
  await promisify(execFile)(process.execPath, ['functions/fan-out/restart.ts', middle], {
    env: { ...process.env, REDIS_URL: server.url },
  })
  const kept = orders.filter((order) => !touched.has(idOf(order)))
  while ((await raw.keys('{shop-orders}:page:*')).length > kept.length) await sleep(25)
  await system.drained()
  expect(kept.length).toBeGreaterThan(0)
  expect((await raw.keys('{shop-orders}:page:*')).sort()).toEqual(kept.map(pageOf).sort())
  expect(sinks.forwarded.length).toBe(before)
  expect(await raw.hgetall('{shop-orders}:ledger')).toEqual(ledger)
  console.log(
    `${ORDERS} orders, ${entries.length} entries, ${sinks.objects.size} objects, ${sinks.rows.size} rows, ${sinks.forwarded.length} forwarded, ${repeats} again`,
  )
})

test('fan-out: a group that misses its objective is named, and one that was never made', {
  timeout: 120_000,
}, async () => {
  const sinks = await startSinks()
  onTestFinished(() => sinks.close())
  const system = await startSystem(FUNCTIONS, GROUPS, { environment: sinks.environment })
  vi.stubEnv('REDIS_URL', system.server.url)
  onTestFinished(() => void vi.unstubAllEnvs())
  const { handler: read } = await import('../../functions/fan-out/read.ts')
  const { redis } = await import('../../functions/shared/redis.ts')
  onTestFinished(() => redis.close())
  const ask = async (queryStringParameters: Record<string, string> = {}) =>
    JSON.parse((await read({ queryStringParameters })).body)
  const shop = createPublisher({ stream: STREAM, redis: system.redis })
  const [placed] = drawOrder(1, createRandom(1)) as [Drawn]
  await shop.publishMany([placed.publication])
  const [[, fields] = ['', []]] = await system.raw.xrange(STREAM, '-', '+')
  await system.raw.del(STREAM)
  expect((await ask()).behind).toEqual([])
  // older than what people wait for may be, by the server's clock
  await system.raw.xadd(STREAM, `${Date.now() - 90_000}-0`, ...fields)

  expect((await ask()).behind).toEqual(['search', 'cache'])
  await system.start()
  await system.drained()
  expect((await ask()).groups).toMatchObject(NAMES.map((group) => ({ group, ageMs: 0, lag: 0, isMet: true })))
  expect(await ask({ customerId: placed.payload.customerId })).toEqual({
    orders: [{ orderId: 'o-1', state: 'placed' }],
  })
  // its document is gone before the list that newer orders renew
  await system.raw.del('{shop-orders}:document:o-1')
  expect(await ask({ customerId: placed.payload.customerId })).toEqual({ orders: [] })
})

test('fan-out: a bus that is down keeps its own group behind, and loses nothing', { timeout: 120_000 }, async () => {
  let isDown = true
  let refusals = 0
  const sinks = await startSinks({
    fateOf(asked) {
      if (!isDown || asked !== 'events') return 'yes'
      refusals++
      return 'busy'
    },
  })
  onTestFinished(() => sinks.close())
  const system = await startSystem(FUNCTIONS, GROUPS, { environment: sinks.environment })
  const orders = Array.from({ length: 30 }, (_, n) => drawOrder(n, createRandom(n)))
  const forBridge = takenBy('bridge', orders.flat())[0] as Drawn
  const shop = createPublisher({ stream: STREAM, redis: system.redis })
  // one event that is for the bridge, and many that are not
  const published = orders.flat().filter((one) => one === forBridge || takenBy('bridge', [one]).length === 0)
  await shop.publishMany(published.map(({ publication }) => publication))
  const others = NAMES.filter((group) => group !== 'bridge')
  const newest = (await system.raw.xrevrange(STREAM, '+', '-', 'COUNT', 1))[0]?.[0]
  const othersUndone = async () => {
    const found = (await system.raw.xinfo('GROUPS', STREAM)) as unknown[][]
    return others.filter((name) => {
      const flat = found.find((one) => one[1] === name) ?? []
      return flat[flat.indexOf('last-delivered-id') + 1] !== newest || flat[flat.indexOf('pending') + 1] !== 0
    }).length
  }
  const handedBack = async () => {
    const [[, owner, , deliveries] = []] = (await system.raw.xpending(STREAM, 'bridge', '-', '+', 10)) as unknown[][]
    // set aside with a delivery: it has failed
    return deliveries === 0 || owner === 'parked' ? { deliveries } : undefined
  }
  for (let time = 0; time < 3; time++) {
    const before = refusals
    await system.start()
    while (refusals === before || (await othersUndone()) > 0) await sleep(25)
    await expect.poll(handedBack, { timeout: 10_000 }).toEqual({ deliveries: 0 })
    await system.kill()
  }
  expect(sinks.forwarded).toEqual([])
  isDown = false
  await settle(system)

  expect(await system.deadLetters({ stream: STREAM, group: 'bridge' })).toEqual([])
  expect(setOf(sinks.forwarded.map(({ detail }) => detail))).toEqual(setOf([forBridge]))
})

/** Works everything off. What a sink took no work of waits for a minute, or until the next process. */
async function settle(system: RunningSystem): Promise<void> {
  let isDone = false
  while (!isDone) {
    await system.start()
    const drained = system.drained().then(() => {
      isDone = true
    })
    await Promise.race([drained, standstill(system)])
    await system.kill()
  }
}

/** Resolves once nothing has changed in any group for a while. */
async function standstill({ raw }: RunningSystem): Promise<void> {
  let [before, since] = ['', performance.now()]
  while (performance.now() - since < PATIENCE_MS) {
    const now = JSON.stringify(await raw.xinfo('GROUPS', STREAM))
    if (now !== before) since = performance.now()
    before = now
    await sleep(CHECK_EVERY_MS)
  }
}

/** Once each, since a wait follows: some answers are errors, some get lost. */
function fateOf(asked: Asked, attempt: number): Fate {
  if (asked === 'flush') return attempt % 20 === 7 ? 'fail' : 'yes'
  return ({ 5: 'busy', 15: 'drop', 30: 'fail' } as Readonly<Record<number, Fate>>)[attempt] ?? 'yes'
}

/** Some rows and events are refused for good, and some events taken the second time. */
function pieceOf(asked: Asked, eventId: string, late: Set<string>): Piece {
  const [type, n] = eventId.split(':o-')
  if (asked === 'rows') return type === 'OrderPlaced' && Number(n) % 17 === 3 ? 'refused' : 'taken'
  if (type === 'OrderShipped' && Number(n) % 19 === 4) return 'refused'
  if (Number(n) % 5 > 0 || late.has(eventId)) return 'taken'
  late.add(eventId)
  return 'later'
}

const idOf = ([placed]: readonly Drawn[]) => (placed as Drawn).payload.orderId
const pageOf = (order: readonly Drawn[]) => `{shop-orders}:page:${idOf(order)}`
const setOf = (events: readonly { readonly eventId?: string }[]) => new Set(events.map(({ eventId }) => eventId))

function compareIds(a: string, b: string): number {
  const [[ms = 0, n = 0], [otherMs = 0, otherN = 0]] = [a.split('-').map(Number), b.split('-').map(Number)]
  return ms - otherMs || n - otherN
}

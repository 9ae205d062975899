import { setTimeout as delay } from 'node:timers/promises'
import type { Consumer, ConsumerOptions, EventHandler, RouteOptions } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  createPublisher,
  defineEvent,
  definePolicy,
  effects,
  filterPatterns,
  on,
  orderedBy,
  promoteDelays,
  rateLimit,
} from 'millrace'
import { pause, resume } from 'millrace/operate'
import { expect, it } from 'vitest'
import * as z from 'zod/mini'
import type { World } from './world.ts'
import { billing, describeEverywhere, Paid, Shipped } from './world.ts'

/** The key of `a1`, and of `sa1`, which is of type Shipped, is `a`. */
const order = orderedBy(({ eventId }) => eventId?.replace(/^s/, '').replace(/\d+$/, ''))

const EVENTS = ['a1', 'b1', 'sa2', 'a3', 'sb2', 'c1', 'a4', 'sa5', 'b3', 'sc2', 'a6', 'c3']

/** Each event of these fails once. */
const FAILING = ['sa2', 'b1', 'c3']

type Handled = { payload: { id: string } }

/** A handler that notes what starts while one before it of its key is undone, and what is done. */
class Account {
  readonly violations: string[] = []
  readonly undone: Set<string>
  readonly #all: readonly string[]
  readonly #tried = new Set<string>()
  readonly #takes: (id: string) => boolean

  constructor(takes: (id: string) => boolean = () => true, all = EVENTS) {
    this.#all = all.filter(takes)
    this.#takes = takes
    this.undone = new Set(this.#all)
  }

  readonly handle = async ({ payload: { id } }: Handled, context: object): Promise<void> => {
    if (!this.#takes(id)) this.violations.push(`${id} is not for this group`)
    if (!this.undone.has(id)) this.violations.push(`${id} starts again`)
    const before = this.#all.slice(0, this.#all.indexOf(id)).filter((other) => keyOf(other) === keyOf(id))
    const early = before.find((other) => this.undone.has(other))
    if (early) this.violations.push(`${id} starts before ${early}`)
    await delay(id.length)
    if (FAILING.includes(id) && !this.#tried.has(id)) {
      this.#tried.add(id)
      throw new Error('once')
    }
    this.ends(id, context)
  }

  ends = (id: string, _context: object): void => {
    this.undone.delete(id)
  }
}

function keyOf(id: string): string {
  return id.replace(/^s/, '').replace(/\d+$/, '')
}

interface Beside {
  readonly options?: Partial<ConsumerOptions>
  /** Of both routes. */
  readonly route?: RouteOptions<never>
  readonly takes?: (id: string) => boolean
  readonly ends?: (account: Account) => Account['ends']
}

const breaker = { failures: 1, perMs: 1_000, probeAfterMs: 20 }
const isOfA = (id: string) => !id.includes('b')

/** By what stands beside `orderedBy`. */
const BESIDE: Readonly<Record<string, (parkedOnce?: Set<string>) => Beside>> = {
  nothing: () => ({}),
  'a circuit breaker': () => ({ options: { use: [order, circuitBreaker(breaker)] } }),
  'circuit breakers of routes': () => ({ route: { use: [circuitBreaker(breaker)] } }),
  'a concurrency limit': () => ({ options: { use: [order, concurrencyLimit({ max: 2 })] } }),
  'a concurrency limit a key': () => ({
    options: { use: [order, concurrencyLimit({ max: 1, by: ({ type }) => type })] },
  }),
  'concurrency limits of routes': () => ({ route: { use: [concurrencyLimit({ max: 1 })] } }),
  'a rate limit': () => ({ options: { use: [order, rateLimit({ max: 100, perMs: 1_000 })] } }),
  'a rate limit that sets aside': () => ({ options: { use: [order, rateLimit({ max: 8, perMs: 3_000 })] } }),
  'rate limits of routes': () => ({ route: { use: [rateLimit({ max: 50, perMs: 1_000 })] } }),
  'all of these': () => ({
    options: {
      use: [order, circuitBreaker(breaker), concurrencyLimit({ max: 3 }), rateLimit({ max: 100, perMs: 1_000 })],
    },
  }),
  "a route's own concurrency": () => ({ route: { concurrency: 1 } }),
  "a route's own back-off, time and deliveries": () => ({
    route: { backoff: { firstMs: 5, factor: 1, maxMs: 5 }, handlerTimeoutMs: 5_000, maxDeliveries: 3 },
  }),
  when: () => ({ route: { when: ({ payload }: Handled) => isOfA(payload.id) } as RouteOptions<never>, takes: isOfA }),
  filterPatterns: () => ({
    options: { filter: filterPatterns([{ payload: { id: [{ 'anything-but': { prefix: 'b' } }] } }]) },
    takes: (id) => !id.startsWith('b'),
  }),
  'a max age': () => ({ options: { maxAgeMs: 3_600_000 } }),
  'delayed events': () => ({ options: { delays: promoteDelays() } }),
  'a wrap': () => ({ options: { use: [order, (next) => async (event, context) => next(event, context)] } }),
  'a policy that holds back': () => ({
    options: {
      use: [
        order,
        definePolicy({
          name: 'holding',
          begin: (run) => {
            const asked = new Map<string, number>()
            return {
              holds: ({ entryId }) => {
                const times = (asked.get(entryId) ?? 0) + 1
                asked.set(entryId, times)
                if (times < 3) queueMicrotask(() => run.resume())
                return times < 3
              },
            }
          },
        }),
      ],
    },
  }),
  'a policy that parks': (parkedOnce = new Set(['a3', 'sb2'])) => ({
    options: {
      use: [
        order,
        definePolicy({
          name: 'parking',
          begin: () => ({
            admit: (jobs) =>
              jobs.map(({ event }) =>
                event && parkedOnce.delete(event.eventId) ? { action: 'park' as const, delayMs: 5 } : undefined,
              ),
          }),
        }),
      ],
    },
  }),
  effects: () => ({
    ends: (account) => (id, context) => {
      effects(context as never).set('{orders}:done', id)
      account.undone.delete(id)
    },
  }),
}

function consumerOf(account: Account, { options, route }: Beside): Consumer {
  const handle = account.handle as EventHandler<never>
  return billing(() => {}, {
    routes: [on(Paid, handle as EventHandler, route as never), on(Shipped, handle as EventHandler, route as never)],
    use: [order],
    concurrency: 4,
    batchSize: 5,
    ...options,
  })
}

async function runUntilDone(world: World, consumer: Consumer, account: Account): Promise<void> {
  for (let round = 0; round < 40 && account.undone.size > 0; round++) {
    await world.poll(consumer)
    await world.claim(consumer)
    await world.pass(1_000)
  }
  await world.poll(consumer)
}

describeEverywhere('the order of keys beside', (start) => {
  it.each(Object.entries(BESIDE))('%s: no event starts before its turn', { timeout: 60_000 }, async (_name, make) => {
    const world = await start()
    const beside = make()
    const account = new Account(beside.takes)
    if (beside.ends) account.ends = beside.ends(account)
    const consumer = consumerOf(account, beside)
    await world.publish(...EVENTS)

    await runUntilDone(world, consumer, account)

    expect(account.violations).toEqual([])
    expect([[...account.undone], await world.pending()]).toEqual([[], []])
  })

  it('a paused type: its keys wait, also their other types', async () => {
    const world = await start()
    const account = new Account()
    const consumer = consumerOf(account, {})
    await world.poll(consumer)
    await pause(consumer, { redis: world.redis, type: 'Shipped' })
    await world.publish(...EVENTS)

    for (let round = 0; round < 3; round++) {
      await world.poll(consumer)
      await world.claim(consumer)
    }
    expect([...account.undone].filter((id) => ['a1', 'b1', 'c1'].includes(id))).toEqual([])
    expect(account.undone.has('a3')).toBe(true)
    await resume(consumer, { redis: world.redis, type: 'Shipped' })
    await runUntilDone(world, consumer, account)

    expect(account.violations).toEqual([])
    expect([[...account.undone], await world.pending()]).toEqual([[], []])
  })

  const payload = z.object({ id: z.string(), key: z.optional(z.string()) })
  const NewShipped = defineEvent('Shipped', { version: 2, payload, upcast: { 1: (old) => old } })

  it.each([
    ['a newer version', NewShipped],
    ['an unrouted type', Shipped],
  ])('%s that is parked: its keys wait for it', async (_what, Published) => {
    const world = await start()
    const account = new Account()
    const handle = account.handle as EventHandler
    const old = Published === Shipped ? [] : [on(Shipped, handle)]
    const now = consumerOf(account, { options: { unrouted: 'park', routes: [on(Paid, handle), ...old] } })
    const later = consumerOf(account, { options: { routes: [on(Paid, handle), on(Published, handle as never)] } })
    const publisher = createPublisher({ stream: 'orders', redis: world.redis })
    for (const id of EVENTS) await publisher.publish(id.startsWith('s') ? Published : Paid, { id }, { eventId: id })

    for (let round = 0; round < 3; round++) {
      await world.poll(now)
      await world.claim(now)
    }
    expect(account.undone.has('a3')).toBe(true)
    await runUntilDone(world, later, account)

    expect(account.violations).toEqual([])
    expect([[...account.undone], await world.pending()]).toEqual([[], []])
  })
})

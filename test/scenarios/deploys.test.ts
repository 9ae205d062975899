import type { Connection, Consumer, ConsumerOptions, EventDefinition } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, definePolicy, on, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { counts, startScenario } from '../support/scenario.ts'

const payload = z.looseObject({ id: z.string() })
const Paid = defineEvent('Paid', { payload })
const Paid2 = defineEvent('Paid', { version: 2, payload, upcast: { 1: (old: object) => old } })
const Shipped = defineEvent('Shipped', { payload })

/** A deployment: what it was called for goes into `calls`. */
function deployment(
  calls: string[],
  events: readonly EventDefinition<string, typeof payload>[],
  options: Partial<ConsumerOptions> = {},
): Consumer {
  const routes = events.map((event) =>
    on(event, ({ version, payload: { id } }, { deliveryCount }) => {
      calls.push(`${event.type} ${version} ${id} ${deliveryCount}`)
    }),
  )
  return defineConsumer({ stream: 'orders', group: 'billing', routes, maxDeliveries: 1, ...options })
}

const WORLDS: Readonly<Record<string, () => Promise<Connection>>> = {
  'on a server': async () => (await startScenario()).redis,
  'in memory': async () => connectMemory(),
}

describe.each(Object.entries(WORLDS))('promise 22: deploys in any order, %s', (_name, start) => {
  it('an event of a newer version waits at no delivery for the deployment that knows it', async () => {
    const redis = await start()
    const old: string[] = []
    const newer: string[] = []
    const orders = createPublisher({ stream: 'orders', redis })
    await orders.publish(Paid2, { id: 'a' })
    await orders.publish(Paid, { id: 'b' })

    const polled = await poll(deployment(old, [Paid]), { redis })
    const still = await claimOnce(deployment(old, [Paid]), { redis })
    const claimed = await claimOnce(deployment(newer, [Paid2]), { redis })

    expect(counts(polled)).toMatchObject({ read: 2, acked: 1, parked: 1 })
    expect([still.claimed, still.drained]).toEqual([0, true])
    expect(counts(claimed)).toMatchObject({ claimed: 1, acked: 1 })
    expect([old, newer]).toEqual([['Paid 1 b 1'], ['Paid 2 a 1']])
  })

  it('old and new side by side take each what they know, and none spins', async () => {
    const redis = await start()
    const calls: string[] = []
    const orders = createPublisher({ stream: 'orders', redis })
    for (const id of ['a', 'b', 'c']) await orders.publish(Paid2, { id })
    await poll(deployment(calls, [Paid]), { redis })
    await claimOnce(deployment(calls, [Paid]), { redis }) // the server knows the scripts now

    const trips = [0, 0, 0]
    for (const n of trips.keys()) trips[n] = (await claimOnce(deployment(calls, [Paid]), { redis })).roundTrips
    await claimOnce(deployment(calls, [Paid2]), { redis })

    expect(new Set(trips).size).toBe(1)
    expect(calls.toSorted()).toEqual(['Paid 2 a 1', 'Paid 2 b 1', 'Paid 2 c 1'])
  })

  it('with newerVersion deadLetter it becomes a dead letter', async () => {
    const redis = await start()
    await createPublisher({ stream: 'orders', redis }).publish(Paid2, { id: 'a' })

    const report = await poll(deployment([], [Paid], { newerVersion: 'deadLetter' }), { redis })

    expect(counts(report)).toMatchObject({ read: 1, deadLettered: 1 })
  })

  it('with unrouted park a type waits at no delivery for a deployment with its route', async () => {
    const redis = await start()
    const calls: string[] = []
    const orders = createPublisher({ stream: 'orders', redis })
    await orders.publish(Shipped, { id: 'a' })
    await orders.publish(Paid, { id: 'b' })

    const polled = await poll(deployment(calls, [Paid], { unrouted: 'park' }), { redis })
    const still = await claimOnce(deployment(calls, [Paid], { unrouted: 'park' }), { redis })
    const claimed = await claimOnce(deployment(calls, [Paid, Shipped]), { redis })

    expect(counts(polled)).toMatchObject({ read: 2, acked: 1, parked: 1 })
    expect(still.claimed).toBe(0)
    expect(counts(claimed)).toMatchObject({ claimed: 1, acked: 1 })
    expect(calls).toEqual(['Paid 1 b 1', 'Shipped 1 a 1'])
  })

  it('what waits is ignored once the consumer says so', async () => {
    const redis = await start()
    const orders = createPublisher({ stream: 'orders', redis })
    await orders.publish(Shipped, { id: 'a' })
    await poll(deployment([], [Paid], { unrouted: 'park' }), { redis })

    const report = await claimOnce(deployment([], [Paid], { unrouted: 'ignore' }), { redis })

    expect(counts(report)).toMatchObject({ claimed: 1, ignored: 1 })
  })

  it('types with odd names wait, each for its own', async () => {
    const redis = await start()
    const calls: string[] = []
    const orders = createPublisher({ stream: 'orders', redis })
    const odd = ['a b', 'a\nb', 'a%b', 'a', 'ä'.repeat(200), `${'x'.repeat(200)}1`, `${'x'.repeat(200)}2`]
    const events = odd.map((type) => defineEvent(type, { payload }))
    for (const [n, event] of events.entries()) await orders.publish(event, { id: String(n) })
    await poll(deployment(calls, [Paid], { unrouted: 'park' }), { redis })

    for (const event of events) await claimOnce(deployment(calls, [event], { unrouted: 'park' }), { redis })

    expect(calls).toEqual(events.map(({ type }, n) => `${type} 1 ${n} 1`))
  })
})

const parksAll = definePolicy({
  name: 'parks all',
  begin: () => ({ admit: (jobs) => jobs.map(() => ({ action: 'park', delayMs: 0 })) }),
})

it.each([
  ['an older deployment sets aside', Paid, {}],
  ['a policy sets aside', Paid2, { use: [parksAll] }],
] as const)('promise 4: a suspect that %s stays one', async (_who, known, options) => {
  const { redis, raw, age, pending } = await startScenario()
  const orders = createPublisher({ stream: 'orders', redis })
  const [twice, once] = [await orders.publish(Paid2, { id: 'twice' }), await orders.publish(Paid2, { id: 'once' })]
  await raw.xgroup('CREATE', 'orders', 'billing', '0')
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'STREAMS', 'orders', '>')
  await raw.xclaim('orders', 'billing', 'poller-0', 0, twice.entryId, 'RETRYCOUNT', 2, 'JUSTID')
  await age(600_000)

  await claimOnce(deployment([], [known], { maxDeliveries: 5, ...options }), { redis })

  const owners = (await raw.xpending('orders', 'billing', '-', '+', 10)) as [string, string, number, number][]
  expect(owners.map(([id, owner, , count]) => [id, owner, count])).toEqual([
    [twice.entryId, 'claimer-0', 2],
    [once.entryId, 'parked', 1],
  ])
  await age(600_000)
  const calls: string[] = []
  await claimOnce(deployment(calls, [Paid2], { maxDeliveries: 5 }), { redis })
  expect([calls.toSorted(), await pending()]).toEqual([['Paid 2 once 2', 'Paid 2 twice 3'], []])
})

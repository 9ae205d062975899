import { poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, counts, difference, names, noting, startScenario } from '../support/scenario.ts'
import type { Death, Victim, VictimOrder } from '../support/start-victim.ts'
import { startVictim } from '../support/start-victim.ts'

/** So short that an invocation has the time for a whole page, also one by one. */
const QUICK = { handlerTimeoutMs: 500 }

const SLOTS = ['poller-0', 'poller-1', 'claimer-0', 'claimer-1'].map((name) => `{orders}:billing:slot:${name}`)

/** Time goes by: leases end, and what is pending has been idle for long enough. */
async function wait({ raw, age }: Scenario): Promise<void> {
  await raw.del(...SLOTS)
  await age(60_000)
}

/** Waits until a victim has ended; one that only Lambda's deadline ends is killed while its handler runs. */
async function end(victim: Victim, death: Death): Promise<{ readonly isDead: boolean }> {
  const wasPoisoned = await Promise.race([victim.poisoned.then(() => true), victim.exit.then(() => false)])
  if (wasPoisoned && ['hang', 'loop'].includes(death)) await victim.kill()
  await victim.exit
  return { isDead: victim.report === undefined }
}

/** Polls once, then claims, each time in a process of its own, until nothing is pending; what came of it. */
async function runUntilSettled(
  scenario: Scenario,
  order: Pick<VictimOrder, 'options' | 'poison' | 'death' | 'failures'>,
) {
  const { server, raw, pending, deadLetters } = scenario
  const handled = new Set<string>()
  let deaths = 0
  for (let run = 0; run < 20 && (run === 0 || (await pending()).length > 0); run++) {
    const isNew = (await raw.exists('{orders}:billing:state')) === 0
    const victim = startVictim({ ...order, url: server.url, action: isNew ? 'poll' : 'claim' })
    if ((await end(victim, order.death ?? 'exit')).isDead) deaths++
    for (const orderId of victim.handled) handled.add(orderId)
    await wait(scenario)
  }
  const letters = (await deadLetters()).map(({ head, fields }) => [head.reason, head.deliveryCount, fields.at(-1)?.[1]])
  return { deaths, handled, letters, pending: await pending() }
}

describe('promise 4: a crash is an attempt of what was running', () => {
  it.each<{ readonly death: Death; readonly how: string }>([
    { death: 'exit', how: 'ends the process' },
    { death: 'rejection', how: 'leaves a rejected promise to nobody' },
    { death: 'exception', how: 'has a timer throw' },
    { death: 'memory', how: 'runs out of memory' },
    { death: 'hang', how: 'never returns and runs into the timeout of its Lambda' },
    { death: 'loop', how: 'blocks the event loop until the timeout of its Lambda' },
  ])('an entry whose handler $how becomes one dead letter, and its neighbours are handled', async ({ death }) => {
    const scenario = await startScenario()
    const neighbours = [...names('before-', 4), ...names('after-', 4)]
    await scenario.publish(...neighbours.slice(0, 4), 'poison', ...neighbours.slice(4))
    // a handler that is cut off by the deadline is still within its own time
    const options = { maxDeliveries: 3, concurrency: 3, handlerTimeoutMs: 40_000 }

    expect(await runUntilSettled(scenario, { options, poison: 'poison', death })).toEqual({
      deaths: 3,
      handled: new Set(neighbours),
      letters: [['crashed', '3', '{"orderId":"poison"}']],
      pending: [],
    })
  })

  it.each([2, 3, 5])('the first of a page of 100 takes none with it: maxDeliveries %i', async (maxDeliveries) => {
    const scenario = await startScenario()
    const neighbours = names('o', 99)
    await scenario.publish('poison', ...neighbours)

    expect(await runUntilSettled(scenario, { options: { ...QUICK, maxDeliveries }, poison: 'poison' })).toEqual({
      deaths: maxDeliveries,
      handled: new Set(neighbours),
      letters: [['crashed', String(maxDeliveries), '{"orderId":"poison"}']],
      pending: [],
    })
  })

  it('two that stand side by side both become dead letters, each after deaths of its own', async () => {
    const scenario = await startScenario()
    const neighbours = names('o', 18)
    await scenario.publish('poison', 'poison', ...neighbours)

    const result = await runUntilSettled(scenario, { options: { ...QUICK, maxDeliveries: 3 }, poison: 'poison' })

    expect({ ...result, deaths: result.deaths <= 6 }).toEqual({
      deaths: true,
      handled: new Set(neighbours),
      letters: Array.from({ length: 2 }, () => ['crashed', '3', '{"orderId":"poison"}']),
      pending: [],
    })
  })

  it.each([1, 3])('one that failed before takes none with it: %i failures of 4 deliveries', async (failures) => {
    const scenario = await startScenario()
    const neighbours = names('o', 9)
    await scenario.publish('poison', ...neighbours)
    const options = { ...QUICK, backoff: { firstMs: 0 }, maxDeliveries: 4 }

    expect(await runUntilSettled(scenario, { options, poison: 'poison', failures })).toEqual({
      deaths: 4 - failures,
      handled: new Set(neighbours),
      letters: [['crashed', '4', '{"orderId":"poison"}']],
      pending: [],
    })
  })

  it('a claimer that dies between its claim and the first start costs nobody a delivery', async () => {
    const scenario = await startScenario()
    const { server, publish, pending } = scenario
    const options = { ...QUICK, maxDeliveries: 3 }
    const neighbours = names('o', 99)
    const [first = ''] = await publish('poison', ...neighbours)
    const read = await end(startVictim({ url: server.url, action: 'poll', options, poison: 'poison' }), 'exit')
    await wait(scenario)
    const before = await pending()
    const proxy = await startFaultProxy(server)

    // a claim asks for a page, the request after its reply is the first that names an entry
    const starting = proxy.pauseOn(first)
    const claimer = startVictim({ url: proxy.url, action: 'claim', options, poison: 'poison' })
    await starting
    const meanwhile = await pending()
    await claimer.kill()
    await proxy.close()

    expect([read.isDead, claimer.handled]).toEqual([true, []])
    expect(before).toEqual(['poison', ...neighbours].map((order) => [order, 'poller-0', 1]))
    expect(meanwhile).toEqual(before.map(([order, , count]) => [order, 'claimer-0', count]))
    await wait(scenario)
    expect(await pending()).toEqual(meanwhile)

    const { deaths, ...rest } = await runUntilSettled(scenario, { options, poison: 'poison' })
    expect({ deaths, ...rest }).toEqual({
      deaths: 2,
      handled: new Set(neighbours),
      letters: [['crashed', '3', '{"orderId":"poison"}']],
      pending: [],
    })
  })
})

/** A hundred orders that a poller had and could not settle: handled or not, its connection was cut and stayed cut. */
async function orphanHundred(scenario: Scenario): Promise<string[]> {
  const orders = names('o', 100)
  await scenario.publish(...orders)
  const proxy = await startFaultProxy(scenario.server)
  const error = await poll(
    billing(() => proxy.close(), { ...QUICK, concurrency: 100 }),
    { redis: scenario.connect(proxy.url) },
  ).catch((caught: unknown) => caught)
  expect(error).toMatchObject({ code: 'ERR_INVOCATION_FAILED', report: { read: 100, unsettled: 100 } })
  await wait(scenario)
  return orders
}

describe('promise 4: what a cut connection orphaned', () => {
  it.each([2, 5])('is handled by the next claimer run, each once: maxDeliveries %i', async (maxDeliveries) => {
    const scenario = await startScenario()
    const orders = await orphanHundred(scenario)
    const { calls, handler } = noting()

    const report = await claimOnce(billing(handler, { ...QUICK, maxDeliveries }), { redis: scenario.redis })

    expect(counts(report)).toMatchObject({ claimed: 100, acked: 100 })
    expect([calls.toSorted(), await scenario.pending()]).toEqual([orders.toSorted(), []])
  })

  it('is handled within two claimer runs where the first lost the reply to its claim', async () => {
    const scenario = await startScenario()
    const { server, redis, connect, pending, deadLetters } = scenario
    const { calls, handler } = noting()
    const consumer = billing(handler, { ...QUICK, maxDeliveries: 2 })
    await claimOnce(consumer, { redis }) // the server knows the scripts
    const orders = await orphanHundred(scenario)
    const proxy = await startFaultProxy(server)

    // the claim is the first request that needs to know what is due
    const cut = proxy.cutAfter('{orders}:billing:due')
    const first = await claimOnce(consumer, { redis: connect(proxy.url) })
    await cut
    await proxy.close()
    const owners = new Set((await pending()).map(([, owner, count]) => `${owner} ${count}`))
    await wait(scenario)
    const second = await claimOnce(consumer, { redis })

    expect(owners).toEqual(new Set(['claimer-0 1']))
    expect([difference(first), difference(second), second.drained]).toEqual([0, 0, true])
    expect([calls.toSorted(), await pending(), await deadLetters()]).toEqual([orders.toSorted(), [], []])
  })

  it('is handled within two claimer runs if the first lost its connection after its claim', async () => {
    const scenario = await startScenario()
    const { server, redis, connect, pending, deadLetters } = scenario
    const { calls, handler } = noting()
    const consumer = billing(handler, { ...QUICK, maxDeliveries: 2 })
    await claimOnce(consumer, { redis })
    const orders = await orphanHundred(scenario)
    const proxy = await startFaultProxy(server)

    const closed = proxy.cutAfter('{orders}:billing:due').then(() => proxy.close())
    const error = await claimOnce(consumer, { redis: connect(proxy.url) }).catch((caught: unknown) => caught)
    await closed
    await wait(scenario)
    await claimOnce(consumer, { redis })

    expect(error).toMatchObject({
      code: 'ERR_INVOCATION_FAILED',
      failures: [{ error: { code: 'ERR_REDIS_CONNECTION' } }],
    })
    expect([calls.toSorted(), await pending(), await deadLetters()]).toEqual([orders.toSorted(), [], []])
  })
})

import type { EventHandler } from 'millrace'
import { createPublisher, NonRetryableError, poll } from 'millrace'
import { describe, expect, test } from 'vitest'
import { claimOnce } from '../../support/claim-once.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { publishAgo } from '../../support/past.ts'
import { causeOf, deskAt, page, seenBy } from '../../support/runbook.ts'
import { billing, names, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'

/** The event ids of the stream, oldest first. */
async function eventIds({ raw }: Scenario): Promise<string[]> {
  return (await raw.xrange('orders', '-', '+')).map(([, fields]) => fields[fields.indexOf('eventId') + 1] ?? '')
}

/** A handler whose effects are known by their keys; how often it ran, and which effects there are. */
function keyed() {
  const calls: string[] = []
  const effects = new Set<string>()
  const handler: EventHandler<never> = (_event, { idempotencyKey }) => {
    calls.push(idempotencyKey)
    effects.add(idempotencyKey)
  }
  return { calls, effects, consumer: billing(handler) }
}

describe('the runbook: duplicates', () => {
  test('A process dies before its acknowledgement', async () => {
    const scenario = await startScenario()
    const { raw } = scenario
    const [desk, lambda] = [deskAt(scenario), deskAt(scenario)]
    const { looks } = causeOf('A process dies before its acknowledgement')
    const deliver = async (handler: 'send' | 'sendOnce') => {
      await publishAgo(scenario, 0, 'first', 'last')
      await lambda.deployLambda('shop-prod-ordersPoller', { handler: 'die' })
      await lambda.invoke('shop-prod-ordersPoller')
      await raw.del('{orders}:billing:slot:poller-0')
      expect(await raw.hgetall('effects')).toEqual({ first: '1' })
      await scenario.age(60_000)
      desk.deploy({ handler })
      await desk.invoke('shop-prod-ordersClaimer')
    }

    await deliver('send')
    expect(await raw.hgetall('effects')).toEqual({ first: '2', last: '1' })
    const [eventId = ''] = await eventIds(scenario)
    expect((await desk.sees(looks[0])).join('\n')).toContain(`key billing:${eventId}`)
    expect(await desk.sees(looks[1], { 'EVENT-ID': eventId })).toHaveLength(1)
    await raw.del('effects')
    await deliver('sendOnce')

    expect(await raw.hgetall('effects')).toEqual({ first: '1', last: '1' })
    expect(await seenBy(scenario)).toMatchObject({ pending: 0, unread: 0 })
  })

  test('A handler outlasts its time', async () => {
    const scenario = await startScenario()
    const { redis, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, settings } = causeOf('A handler outlasts its time')
    await publish('slow')
    const consumer = { handlerTimeoutMs: 50, reserveMs: 100, backoff: { firstMs: 0 } }
    desk.deploy({ consumer, handler: 'hang' }, 1_000)
    await desk.invoke('shop-prod-ordersPoller')

    await desk.sees(looks[0])
    const again = keyed()
    await claimOnce(again.consumer, { redis })
    expect(again.calls).toEqual([`billing:${(await eventIds(scenario))[0]}`]) // while the first still ran
    await publish('slow')
    const enough = billing(() => new Promise((resolve) => setTimeout(resolve, 200)), settings)

    expect(await poll(enough, { redis })).toMatchObject({ acked: 1, overran: 0 })
    expect(await seenBy(scenario)).toMatchObject({ pending: 0, unread: 0 })
  })

  test('The group was lost and made again', async () => {
    const scenario = await startScenario()
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('The group was lost and made again')
    const { calls, effects, consumer } = keyed()
    await publish(...names('o', 3))
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis }) // notes the mark
    await publish(...names('later', 2))
    await poll(consumer, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')

    await desk.sees(looks[1])
    desk.deploy({})
    await desk.invoke('shop-prod-ordersPoller')
    await desk.sees(looks[0])
    expect(await raw.hgetall('effects')).toEqual({ later0: '1', later1: '1' }) // what the mark had not reached
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await poll(consumer, { redis })
    expect([calls.length, effects.size]).toEqual([7, 5])
    for (const fix of fixes) await desk.run(fix)

    await desk.sees(results[0])
    expect(await raw.info('persistence')).toContain('aof_enabled:1')
  })

  test('The publisher sent it again', async () => {
    const scenario = await startScenario()
    const { server, redis, connect } = scenario
    const desk = deskAt(scenario)
    const { looks } = causeOf('The publisher sent it again')
    const proxy = await startFaultProxy(server)
    const lost = proxy.cutAfter('xadd')
    const publisher = createPublisher({ stream: 'orders', redis: connect(proxy.url), producer: 'shop' })
    const { eventId } = await publisher.publish(OrderPaid, { orderId: 'o-1' })
    await lost
    await proxy.close()

    expect(await desk.sees(looks[0], { 'EVENT-ID': eventId })).toHaveLength(2)
    const { calls, effects, consumer } = keyed()
    await poll(consumer, { redis })

    expect([calls.length, [...effects]]).toEqual([2, [`billing:${eventId}`]])
    expect(await seenBy(scenario)).toEqual({ length: 2, pending: 0, unread: 0 })
  })

  test('The application published it twice', async () => {
    const scenario = await startScenario()
    const { redis } = scenario
    const desk = deskAt(scenario)
    const { looks, results } = causeOf('The application published it twice')
    const publisher = createPublisher({ stream: 'orders', redis, producer: 'shop' })
    for (const _call of [1, 2]) await publisher.publish(OrderPaid, { orderId: 'o-1' })

    await desk.sees(looks[0])
    const twice = keyed()
    await poll(twice.consumer, { redis })
    expect(twice.effects.size).toBe(2)
    const [, template = ''] = /eventId: `(\S+)\$\{payload\.orderId\}`/.exec(page) ?? []
    for (const _call of [1, 2]) await publisher.publish(OrderPaid, { orderId: 'o-2' }, { eventId: `${template}o-2` })

    expect(await desk.sees(results[0])).toHaveLength(2)
    const once = keyed()
    await poll(once.consumer, { redis })
    expect([once.calls.length, once.effects.size]).toEqual([2, 1])
  })

  test('Redriven or republished', async () => {
    const scenario = await startScenario()
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Redriven or republished')
    const search = billing(() => {}, { group: 'search' })
    const hopeless = billing(() => Promise.reject(new NonRetryableError('no')))
    const buryAndTrim = async (orderId: string) => {
      await publish(orderId)
      await poll([hopeless, search], { redis })
      await raw.xtrim('orders', 'MAXLEN', 0)
    }
    await publish('redriven')
    await poll([hopeless, search], { redis })
    const [eventId] = await eventIds(scenario)
    await desk.run(String(fixes[0]).replace(' --republish group', ''))
    const { calls, consumer } = keyed()
    await claimOnce(consumer, { redis })
    expect(calls).toEqual([`billing:${eventId}`])

    await raw.xtrim('orders', 'MAXLEN', 0)
    await buryAndTrim('for-all')
    await desk.sees(looks[0])
    const [again = ''] = await eventIds(scenario)
    expect(await desk.sees(looks[1], { 'EVENT-ID': again })).toHaveLength(1)
    expect(await poll([consumer, search], { redis })).toMatchObject({ consumers: [{ acked: 1 }, { acked: 1 }] })
    await buryAndTrim('for-one')
    await desk.run(fixes[0] as string)

    await desk.sees(results[0])
    expect(await poll([consumer, search], { redis })).toMatchObject({ consumers: [{ acked: 1 }, { acked: 0 }] })
    expect(await seenBy(scenario)).toMatchObject({ pending: 0, unread: 0 })
  })
})

import type { ConsumerOptions } from 'millrace'
import { circuitBreaker, createPublisher, orderedBy, poll, rateLimit } from 'millrace'
import { describe, expect, onTestFinished, test } from 'vitest'
import { claimOnce } from '../../support/claim-once.ts'
import { publishAgo } from '../../support/past.ts'
import { causeOf, deskAt, seenBy } from '../../support/runbook.ts'
import { billing, DLQ, names, OrderPaid, startScenario } from '../../support/scenario.ts'
import { startVictim } from '../../support/start-victim.ts'

const DURABLE = { server: { args: ['--appendonly', 'yes'] } }
const fine = billing(() => {})
const failing = billing(() => Promise.reject(new Error('mail is down')), { backoff: { firstMs: 0 } })

describe('the runbook: pending grows', () => {
  test('Handlers fail', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Handlers fail')
    await publish(...names('o', 12))
    await poll(failing, { redis })
    for (const _delivery of [2, 3, 4, 5]) await claimOnce(failing, { redis })
    await publish(...names('later', 12))
    await poll(failing, { redis })

    for (const look of looks) await desk.sees(look)
    await desk.run(fixes[0] as string)
    await scenario.age(60_000)
    await claimOnce(fine, { redis })

    await desk.sees(results[0])
    expect([await seenBy(scenario), await raw.xlen(DLQ)]).toEqual([{ length: 24, pending: 0, unread: 0 }, 0])
  })

  test('A process dies', async () => {
    const scenario = await startScenario(DURABLE)
    const { server, redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('A process dies')
    const options = { maxDeliveries: 2 }
    // as when its time is over
    const afterDeath = () => raw.del('{orders}:billing:slot:poller-0', '{orders}:billing:slot:claimer-0')
    await publish('poison', 'other')
    await startVictim({ url: server.url, action: 'poll', options, poison: 'poison' }).exit
    await afterDeath()

    await desk.sees(looks[0])
    await scenario.age(60_000)
    await startVictim({ url: server.url, action: 'claim', options, poison: 'poison' }).exit
    await afterDeath()
    await scenario.age(60_000)
    await claimOnce(
      billing(() => {}, options),
      { redis },
    )
    await desk.sees(looks[1])
    await desk.run(fixes[0] as string)
    await claimOnce(
      billing(() => {}, options),
      { redis },
    )

    await desk.sees(results[0])
    expect([await seenBy(scenario), await raw.xlen(DLQ)]).toEqual([{ length: 2, pending: 0, unread: 0 }, 0])
  })

  test('Nobody claims', async () => {
    const scenario = await startScenario(DURABLE)
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Nobody claims')
    await publishAgo(scenario, 41 * 60_000, ...names('o', 12))
    await poll(failing, { redis: scenario.redis })
    await scenario.age(41 * 60_000)

    const [, status] = [await desk.sees(looks[0]), await desk.sees(looks[1])]
    expect(status.join('\n')).not.toContain('claimer-0')
    desk.deploy({})
    await desk.run(fixes[0] as string)

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0 })
  })

  test('The claimer is too slow', async () => {
    const scenario = await startScenario(DURABLE)
    const desk = deskAt(scenario)
    const { looks, settings, results } = causeOf('The claimer is too slow')
    await scenario.publish(...names('o', 200))
    await poll(failing, { redis: scenario.redis })
    const tight = { handlerTimeoutMs: 1_000, reserveMs: 500 }
    const deploy = (consumer: Partial<ConsumerOptions>) => desk.deploy({ consumer, handlerMs: 50 }, 2_500)

    deploy({ ...tight, concurrency: 1 })
    await desk.sees(looks[0])
    expect((await seenBy(scenario)).pending).toBeGreaterThan(150)
    await desk.sees(looks[1])
    deploy({ ...tight, ...settings })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0 })
  })

  test('A circuit breaker stays open', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('A circuit breaker stays open')
    const use = () => [circuitBreaker({ failures: 2, perMs: 60_000, probeAfterMs: 60_000 })]
    await publish(...names('o', 4))
    await poll(
      billing(() => Promise.reject(new Error('mail is down')), { use: use(), concurrency: 1 }),
      { redis },
    )
    await raw.hset('{orders}:billing:breakers', 'opened OrderPaid', Date.now() - 3_700_000)

    for (const look of looks) await desk.sees(look)
    await desk.run(fixes[0] as string)
    await scenario.age(60_000)
    await claimOnce(
      billing(() => {}, { use: use() }),
      { redis },
    )

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0 })
  })

  test('A key stands', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw } = scenario
    const desk = deskAt(scenario)
    const { looks, results } = causeOf('A key stands')
    const at = Date.now() - 50 * 3_600_000
    const fields = ['eventType', 'OrderPaid', 'aggregateId', 'order-17', 'payload', '{"orderId":"o"}']
    for (let n = 0; n < 3; n++) await raw.xadd('orders', `${at}-${n}`, ...fields)
    const use = [orderedBy(({ aggregateId }) => aggregateId)]
    const backoff = { firstMs: 3_600_000 }
    await poll(
      billing(() => Promise.reject(new Error('mail is down')), { use, backoff }),
      { redis },
    )

    for (const look of looks) await desk.sees(look)
    await scenario.age(3_600_000)
    const repaired = billing(() => {}, { use })
    // which ends without waiting for what comes due
    for (let round = 0; round < 3; round++) await claimOnce(repaired, { redis })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0 })
  })

  test('A rate limit is too low', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, settings, results } = causeOf('A rate limit is too low')
    const { max = 0, perMs = 0 } = settings
    await publish(...names('o', 10))
    await poll(
      billing(() => {}, { use: [rateLimit({ max: 1, perMs: 60_000 })] }),
      { redis },
    )

    for (const look of looks) await desk.sees(look)
    await scenario.raw.del('{orders}:billing:rate:*')
    await scenario.age(3_600_000)
    const raised = billing(() => {}, { use: [rateLimit({ max, perMs })] })
    await expect
      .poll(async () => {
        await claimOnce(raised, { redis })
        return (await seenBy(scenario)).pending
      })
      .toBe(0)

    await desk.sees(results[0])
  })

  test('Handlers are at work', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, results } = causeOf('Handlers are at work')
    await publish(...names('o', 3))
    const open = Promise.withResolvers<void>()
    onTestFinished(() => open.resolve())
    const running = poll(
      billing(() => open.promise),
      { redis },
    )
    await expect.poll(async () => (await raw.xpending('orders', 'billing').catch(() => [0]))[0]).toBe(3)

    await desk.sees(looks[0])
    open.resolve()
    await running

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0 })
  })

  test('Entries are trimmed while pending', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, settings, results } = causeOf('Entries are trimmed while pending')
    const publishBounded = (bound: object, ...orders: string[]) =>
      createPublisher({ stream: 'orders', redis, exactTrimming: true, ...bound }).publishMany(
        orders.map((orderId) => [OrderPaid, { orderId }] as const),
      )
    await publishBounded({}, ...names('o', 12))
    await poll(failing, { redis })
    await publishBounded({ maxLength: 5 }, 'later')

    for (const look of looks) await desk.sees(look)
    await publishBounded(settings, ...names('kept', 12))
    await poll(failing, { redis })
    expect((await seenBy(scenario)).length).toBe(17)
    desk.deploy({})
    expect((await desk.run(fixes[0] as string))[0]).toContain('"lost":8,')

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0 })
  })
})

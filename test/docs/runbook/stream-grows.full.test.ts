import { createPublisher, poll } from 'millrace'
import { pause } from 'millrace/operate'
import { describe, expect, onTestFinished, test } from 'vitest'
import { claimOnce } from '../../support/claim-once.ts'
import { publishAgo, quietSince } from '../../support/past.ts'
import { causeOf, deskAt, seenBy } from '../../support/runbook.ts'
import { billing, names, OrderPaid, startScenario } from '../../support/scenario.ts'

const DURABLE = { server: { args: ['--appendonly', 'yes', '--enable-debug-command', 'yes'] } }
const DAY_MS = 86_400_000
const fine = billing(() => {})

describe('the runbook: the stream grows', () => {
  test('Nobody trims', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, settings, results } = causeOf('Nobody trims')
    await publishAgo(scenario, 41 * DAY_MS, ...names('old', 1_204))
    await publishAgo(scenario, 3 * DAY_MS, ...names('late', 100))
    await poll(fine, { redis })

    const lines = await desk.sees(looks[0])
    const [, doneBefore = ''] = /done with what is before (\S+)/.exec(lines.join('\n')) ?? []
    expect(await raw.xrange('orders', doneBefore, '+')).toEqual([])
    await createPublisher({ stream: 'orders', redis, ...settings }).publish(OrderPaid, { orderId: 'new' })
    expect(await raw.xlen('orders')).toBeLessThan(200) // whole nodes go
    await desk.run(fixes[0] as string, { 'DONE-BEFORE': doneBefore })

    expect(await raw.xlen('orders')).toBeLessThan(100)
    expect((await desk.sees(results[0])).join('\n')).not.toContain('ever trimmed')
  })

  test('No poller runs', async () => {
    const scenario = await startScenario(DURABLE)
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('No poller runs')
    await publishAgo(scenario, 50 * 60_000, 'o-0')
    await poll(fine, { redis: scenario.redis })
    await publishAgo(scenario, 41 * 60_000, ...names('o', 1_204))
    await quietSince(scenario, 'poller-0', 41 * 60_000)

    for (const look of looks) await desk.sees(look)
    expect(await seenBy(scenario)).toMatchObject({ unread: 1_204 })
    desk.deploy({})
    await desk.run(fixes[0] as string)

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ unread: 0, pending: 0 })
  })

  test('Pollers are too slow', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, settings, results } = causeOf('Pollers are too slow')
    await publish(...names('o', 1_300))
    const open = Promise.withResolvers<void>()
    onTestFinished(() => open.resolve())
    const slow = billing(() => open.promise)
    const running = Array.from({ length: 4 }, () => poll(slow, { redis, mode: 'once' }))
    await expect.poll(async () => (await raw.xpending('orders', 'billing').catch(() => [0]))[0]).toBe(400)

    for (const look of looks) await desk.sees(look)
    expect(await poll(slow, { redis })).toMatchObject({ noFreeSlot: true, read: 0 })
    const { entriesPerPoller, ...more } = settings
    expect([entriesPerPoller, (await desk.run(fixes[0] as string)).length > 3]).toEqual([1_000, true])
    const faster = await poll(
      billing(() => {}, more),
      { redis },
    )
    open.resolve()
    await Promise.all(running)

    expect(faster).toMatchObject({ acked: 900, drained: true })
    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ unread: 0, pending: 0 })
  })

  test('Nobody reads another group', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Nobody reads another group')
    await publishAgo(scenario, 41 * 60_000, ...names('o', 1_204))
    await raw.xgroup('CREATE', 'orders', 'search', '0')
    await poll(fine, { redis })

    for (const look of looks) await desk.sees(look)
    await desk.run(fixes[0] as string)

    expect((await desk.sees(results[0])).join('\n')).not.toContain('search')
    expect(await raw.xinfo('GROUPS', 'orders')).toHaveLength(1)
  })

  test('Somebody paused it', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Somebody paused it')
    await publishAgo(scenario, 50 * 60_000, 'o-0')
    await poll(fine, { redis })
    await publishAgo(scenario, 41 * 60_000, ...names('o', 50))
    await pause(fine, { redis, by: 'anna', why: 'mail is down' })

    for (const look of looks) await desk.sees(look)
    expect(await poll(fine, { redis })).toMatchObject({ paused: true, read: 0 })
    await desk.run(fixes[0] as string)
    expect(await poll(fine, { redis })).toMatchObject({ paused: false, acked: 50 })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ unread: 0, pending: 0 })
  })

  test('Pollers are held', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, settings, results } = causeOf('Pollers are held')
    await publishAgo(scenario, 41 * 60_000, ...names('o', 1_100))
    const atOnce = { batchSize: 10_000, concurrency: 1_000, backoff: { firstMs: 0 } }
    const failing = billing(() => Promise.reject(new Error('mail is down')), { ...atOnce, maxPending: 20_000 })
    await poll(failing, { redis })
    await publish(...names('new', 50))
    const held = billing(() => {}, { maxParked: 1_000 })

    for (const look of looks) await desk.sees(look)
    expect(await poll(held, { redis })).toMatchObject({ parkedLimitReached: true, read: 0 })
    expect(
      await poll(
        billing(() => {}, settings),
        { redis },
      ),
    ).toMatchObject({ parkedLimitReached: false, acked: 50 })
    await claimOnce(
      billing(() => {}, atOnce),
      { redis },
    )

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ unread: 0, pending: 0 })
  })

  test('A function throttles', async () => {
    const scenario = await startScenario(DURABLE)
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('A function throttles')
    await scenario.publish(...names('o', 120))
    await desk.deployLambda('shop-prod-notifyShipping', {}, { reservedConcurrency: 0 })
    desk.deploy({ handler: 'remote' })

    for (const look of looks) await desk.sees(look)
    expect(await seenBy(scenario)).toEqual({ length: 120, pending: 100, unread: 20 })
    await desk.run(fixes[0] as string)

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toEqual({ length: 120, pending: 0, unread: 20 })
  })
})

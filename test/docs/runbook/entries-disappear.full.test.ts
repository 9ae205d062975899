import type { Report } from 'millrace'
import { createPublisher, defineEvent, poll } from 'millrace'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../../support/claim-once.ts'
import { causeOf, deskAt, seenBy } from '../../support/runbook.ts'
import { billing, DLQ, names, noting, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'

const DURABLE = { server: { args: ['--appendonly', 'yes'] } }
const fine = billing(() => {})
const pollFine = ({ redis }: Scenario): Promise<Report> => poll(fine, { redis })

describe('the runbook: entries disappear', () => {
  test('Trimmed before they were read', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, settings, results } = causeOf('Trimmed before they were read')
    const publishBounded = (bound: object) =>
      createPublisher({ stream: 'orders', redis, exactTrimming: true, ...bound }).publishMany(
        names('o', 35).map((orderId) => [OrderPaid, { orderId }] as const),
      )
    await publish(...names('read', 5))
    await pollFine(scenario)
    await publishBounded({ maxLength: 10 })

    await desk.sees(looks[0])
    expect(await pollFine(scenario)).toMatchObject({ read: 10 })
    await publishBounded(settings)
    expect(await pollFine(scenario)).toMatchObject({ read: 35 })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toEqual({ length: 45, pending: 0, unread: 0 })
  })

  test('Evicted by a full server', async () => {
    const scenario = await startScenario({
      server: { args: ['--appendonly', 'yes', '--maxmemory', '3mb', '--maxmemory-policy', 'allkeys-random'] },
    })
    const { raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Evicted by a full server')
    const fill = (n: number) => raw.mset(...names(`cache${n}-`, 100).flatMap((key) => [key, 'x'.repeat(500)]))
    await publish(...names('o', 40))
    let fills = 0
    while ((await raw.exists('orders')) === 1) await fill(fills++)

    await desk.sees(looks[0])
    await desk.run(fixes[0] as string)
    await raw.del(...names('cache0-', 100), ...names(`cache${fills - 1}-`, 100))
    await publish(...names('o', 40))
    await expect(
      (async () => {
        for (;;) await fill(fills++)
      })(),
    ).rejects.toThrow('OOM')

    expect((await desk.sees(results[0])).join('\n')).not.toContain('eviction')
    expect(await raw.xlen('orders')).toBe(40)
  })

  test('Set aside as dead letters', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Set aside as dead letters')
    const Shipped = defineEvent('OrderShipped', { payload: z.object({}) })
    const Renamed = defineEvent('OrderPaid', { payload: z.object({ id: z.string() }) })
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publishMany([
      [Shipped, {}],
      [Renamed, { id: 'o-1' }],
    ])
    await pollFine(scenario)

    await desk.sees(looks[0])
    const [letter] = await scenario.deadLetters()
    await desk.sees(looks[1], { 'LETTER-ID': letter?.id ?? '' })
    await desk.run(fixes[0] as string)
    const { handler } = noting()
    const mended = billing(handler, {
      routes: [Shipped, Renamed].map((event) => ({ event, handler: () => {} })) as never,
    })
    expect(await claimOnce(mended, { redis })).toMatchObject({ acked: 2 })

    await desk.sees(results[0])
    expect([await seenBy(scenario), await raw.xlen(DLQ)]).toEqual([{ length: 2, pending: 0, unread: 0 }, 0])
  })

  test('Another reads as the same group', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Another reads as the same group')
    await pollFine(scenario)
    await publish(...names('o', 12))
    await raw.xreadgroup('GROUP', 'billing', 'worker-1', 'STREAMS', 'orders', '>')

    expect(await pollFine(scenario)).toMatchObject({ read: 0 })
    for (const look of looks) await desk.sees(look)
    await scenario.age(60_000)
    const { calls, handler } = noting()
    await claimOnce(billing(handler), { redis })
    expect(calls.toSorted()).toEqual(names('o', 12).toSorted())
    await desk.run(fixes[0] as string)

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toMatchObject({ pending: 0, unread: 0 })
  })

  test('The group starts at the end', async () => {
    const scenario = await startScenario(DURABLE)
    const { raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('The group starts at the end')
    await publish(...names('o', 40))
    await raw.xgroup('CREATE', 'orders', 'billing', '$')

    expect(await pollFine(scenario)).toMatchObject({ read: 0 })
    await desk.sees(looks[0])
    await desk.run(fixes[0] as string)
    expect(await pollFine(scenario)).toMatchObject({ read: 40, acked: 40 })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toEqual({ length: 40, pending: 0, unread: 0 })
  })

  test('Published to another stream', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('Published to another stream')
    const publisher = createPublisher({ stream: 'order', redis })
    await publisher.publishMany(names('o', 40).map((orderId) => [OrderPaid, { orderId }] as const))

    for (const look of looks) await desk.sees(look)
    await desk.run(fixes[0] as string)
    expect(await pollFine(scenario)).toMatchObject({ acked: 40 })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toEqual({ length: 40, pending: 0, unread: 0 })
  })

  test('The stream expires', async () => {
    const scenario = await startScenario(DURABLE)
    const { raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('The stream expires')
    await publish('o-1')
    await pollFine(scenario)
    await raw.expire('orders', 3_600)

    await desk.sees(looks[0])
    await desk.run(fixes[0] as string)

    await desk.sees(results[0])
    expect(await raw.ttl('orders')).toBe(-1)
  })

  test('The stream was deleted', async () => {
    const scenario = await startScenario(DURABLE)
    const { redis, raw, publish } = scenario
    const desk = deskAt(scenario)
    const { looks, results } = causeOf('The stream was deleted')
    await publish('o-1')
    await pollFine(scenario)
    await claimOnce(fine, { redis })
    await raw.pexpire('orders', 1)
    await expect.poll(() => raw.exists('orders')).toBe(0)

    await desk.sees(looks[0])
    await publish('again')
    expect(await pollFine(scenario)).toMatchObject({ groupRecreated: true, acked: 1 })

    await desk.sees(results[0])
    expect(await seenBy(scenario)).toEqual({ length: 1, pending: 0, unread: 0 })
  })
})

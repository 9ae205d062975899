import { createPublisher, promoteDelays } from 'millrace'
import { describe, expect, test } from 'vitest'
import { changeBody } from '../../support/delayed-pages.ts'
import { DELAYED, passDelays } from '../../support/delays.ts'
import { causeOf, deskAt } from '../../support/runbook.ts'
import { names, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'

const DURABLE = { server: { args: ['--appendonly', 'yes'] } }
const OVERDUE_MS = 41 * 60_000

/** Delays events that have been due for so long. */
async function overdue({ redis, raw }: Scenario, count: number): Promise<void> {
  const many = names('o', count).map((orderId) => [OrderPaid, { orderId }, { eventId: orderId, delayMs: 0 }] as const)
  await createPublisher({ stream: 'orders', redis }).publishMany(many)
  await passDelays(raw, OVERDUE_MS)
}

/** What a run of a consumer with `delays` does. */
const promote = ({ redis }: Scenario) => promoteDelays().promote({ redis, stream: 'orders' })

describe('the runbook: delayed events do not come', () => {
  test('Nobody promotes', async () => {
    const scenario = await startScenario(DURABLE)
    const desk = deskAt(scenario)
    const { looks, results } = causeOf('Nobody promotes')
    await overdue(scenario, 12)

    for (const look of looks) await desk.sees(look)
    await promote(scenario)

    await desk.sees(results[0])
    expect(await scenario.raw.xlen('orders')).toBe(12)
  })

  test('The flag of runs is gone', async () => {
    const scenario = await startScenario(DURABLE)
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('The flag of runs is gone')
    await overdue(scenario, 12)
    await scenario.raw.del(`${DELAYED}:next`)

    await desk.sees(looks[0])
    await desk.run(fixes[0] as string)
    expect(await scenario.raw.get(`${DELAYED}:next`)).toBe('0')
    await promote(scenario)

    await desk.sees(results[0])
    expect(await scenario.raw.xlen('orders')).toBe(12)
  })

  test('A delayed event cannot be read', async () => {
    const scenario = await startScenario(DURABLE)
    const { raw } = scenario
    const desk = deskAt(scenario)
    const { looks, fixes, results } = causeOf('A delayed event cannot be read')
    await overdue(scenario, 2)
    const body = await changeBody(raw, 'o0', (was) => Buffer.concat([Buffer.from('2'), was.subarray(1)]))
    await promote(scenario)

    for (const look of looks) await desk.sees(look)
    await changeBody(raw, 'o0', () => body)
    await desk.run(fixes[0] as string)
    await promote(scenario)

    await desk.sees(results[0])
    expect(await raw.xlen('orders')).toBe(2)
  })
})

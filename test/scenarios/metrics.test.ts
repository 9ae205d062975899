import type { Report } from 'millrace'
import {
  createClaimer,
  createPoller,
  createPublisher,
  defineConsumer,
  defineEvent,
  NonRetryableError,
  on,
  onBatch,
} from 'millrace'
import { reportMetrics } from 'millrace/powertools'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import type { MetricLine } from '../support/metric-lines.ts'
import { captureOutput, readMetricLine } from '../support/metric-lines.ts'
import type { Scenario } from '../support/scenario.ts'
import { lambdaContext, startScenario } from '../support/scenario.ts'

const payload = z.object({ fate: z.string() })
const Paid = defineEvent('OrderPaid', { payload })
const Viewed = defineEvent('PageViewed', { payload })
const Unrouted = defineEvent('Unrouted', { payload })

afterEach(() => {
  vi.restoreAllMocks()
})

describe('what reportMetrics() writes of invocations', () => {
  it('equals their reports, each consumer’s own and the sum over its event types', async () => {
    const scenario = await startScenario()
    const consumer = aConsumer(3)
    const observe = reportMetrics()
    await publish(scenario)
    const written = captureOutput()
    const poller = createPoller(consumer, { redis: scenario.redis, observe })
    const claimer = createClaimer(consumer, { redis: scenario.redis, observe, lingerMs: 0 })
    const reports: Report[] = []
    for (const run of [poller, claimer, claimer, claimer, poller]) {
      reports.push(await run({}, lambdaContext()))
      await scenario.age(60_000)
    }
    vi.restoreAllMocks()

    const lines = written.map(readMetricLine)
    expect(lines.filter(isConsumers).map(countsOf)).toEqual(reports.map(countsOfReport))
    const sums = sumOf(reports.map(countsOfReport))
    expect(sums).toMatchObject({ DeletedEventCount: 5, OnFailureDestinationDeliveredEventCount: 5 })
    const handled = ['InvokedEventCount', 'FailedInvokeEventCount', 'DeletedEventCount'] as const
    const ofTypes = sumOf(lines.filter(({ dimensions }) => dimensions.EventType).map(({ metrics }) => metrics))
    for (const name of handled) expect([name, ofTypes[name]]).toEqual([name, sums[name]])
    expect(letters(lines, 'Reason')).toEqual({ 'non-retryable': 1, unrouted: 1, 'max-deliveries': 3 })
    expect(letters(lines, 'EventType')).toEqual({ OrderPaid: 2, PageViewed: 2 })
    expect(await scenario.raw.xlen('{orders}:billing:dlq')).toBe(5)
    const deliveries = lines.filter(isConsumers).flatMap(({ metrics }) => metrics.DeliveryCount ?? [])
    expect(deliveries).toHaveLength(sums.InvokedEventCount as number)
    expect(written.join()).not.toMatch(/fate|secret/)
  })

  it.each([
    [
      'is something else than a stream',
      async ({ raw }: Scenario) => void (await raw.set('{orders}:billing:dlq', 'no')),
    ],
    [
      'is denied to the user',
      async ({ raw }: Scenario) => {
        await raw.call(
          'ACL',
          'SETUSER',
          'default',
          'resetkeys',
          '~orders',
          '~{orders}:billing:[^d]*',
          '~{orders}:billing:due',
        )
      },
    ],
  ])('counts dead letters that were refused, since their stream %s', async (_why, refuse) => {
    const scenario = await startScenario()
    const { redis } = scenario
    await createPublisher({ stream: 'orders', redis }).publish(Paid, { fate: 'never' })
    await refuse(scenario)
    const written = captureOutput()

    const poller = createPoller(aConsumer(3), { redis, observe: reportMetrics() })
    await expect(poller({}, lambdaContext())).rejects.toThrow()
    vi.restoreAllMocks()

    const told = written
      .map(readMetricLine)
      .map(({ dimensions, metrics }) => [
        dimensions.EventType ?? dimensions.Reason ?? dimensions.ErrorName ?? 'all',
        metrics.OnFailureDestinationDeliveryErrorCount,
        metrics.OnFailureDestinationDeliveredEventCount,
        metrics.UnsettledEventCount,
      ])
    expect(told).toEqual([
      ['all', 1, 0, 1],
      ['OrderPaid', 1, undefined, undefined],
      ['NonRetryableError', undefined, undefined, undefined],
      ['non-retryable', 1, undefined, undefined],
    ])
  })

  it('counts acknowledgements that were refused', async () => {
    const { redis, raw } = await startScenario()
    await createPublisher({ stream: 'orders', redis }).publish(Paid, { fate: 'fine' })
    await raw.call('ACL', 'SETUSER', 'default', '-xack')
    const written = captureOutput()

    const poller = createPoller(aConsumer(3), { redis, observe: reportMetrics() })
    await expect(poller({}, lambdaContext())).rejects.toThrow('NOPERM')
    vi.restoreAllMocks()

    expect(
      written.map(readMetricLine).map(({ metrics }) => [metrics.CommitErrorCount, metrics.DeletedEventCount ?? 0]),
    ).toEqual([
      [1, 0],
      [1, 0],
    ])
  })
})

function aConsumer(maxDeliveries: number) {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [
      on(Paid, ({ payload: { fate } }) => {
        if (fate === 'never') throw new NonRetryableError('secret')
        if (fate === 'fails') throw new Error('secret')
      }),
      onBatch(Viewed, (events) => ({
        batchItemFailures: events
          .filter((event) => event.payload.fate === 'fails')
          .map(({ entryId }) => ({ itemIdentifier: entryId })),
      })),
    ],
    maxDeliveries,
    backoff: { firstMs: 0 },
  })
}

async function publish({ redis }: Scenario): Promise<void> {
  const orders = createPublisher({ stream: 'orders', redis })
  for (const fate of ['fine', 'never', 'fine', 'fails']) await orders.publish(Paid, { fate })
  for (const fate of ['fine', 'fails', 'fine', 'fails', 'fine']) await orders.publish(Viewed, { fate })
  await orders.publish(Unrouted, { fate: 'none' })
}

/** What a consumer's line counts, under the names that the report has as well. */
const COUNTED = {
  PolledEventCount: 'read',
  ClaimedEventCount: 'claimed',
  InvokedEventCount: 'invoked',
  FailedInvokeEventCount: 'failed',
  DeletedEventCount: 'acked',
  RetriedEventCount: 'retried',
  OnFailureDestinationDeliveredEventCount: 'deadLettered',
  ReleasedEventCount: 'released',
  UnsettledEventCount: 'unsettled',
} as const satisfies Record<string, keyof Report>

type Counts = Partial<Record<string, number | readonly number[]>>

function countsOf({ metrics }: MetricLine): Counts {
  return Object.fromEntries(Object.keys(COUNTED).flatMap((name) => (name in metrics ? [[name, metrics[name]]] : [])))
}

function countsOfReport(report: Report): Counts {
  const { PolledEventCount, ClaimedEventCount, ...others } = COUNTED
  const own = report.action === 'poll' ? { PolledEventCount } : { ClaimedEventCount }
  return Object.fromEntries(Object.entries({ ...own, ...others }).map(([name, member]) => [name, report[member]]))
}

function sumOf(all: readonly Counts[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const counts of all)
    for (const [name, value] of Object.entries(counts))
      if (typeof value === 'number') sums[name] = (sums[name] ?? 0) + value
  return sums
}

function isConsumers({ dimensions }: MetricLine): boolean {
  return Object.keys(dimensions).join() === 'service,EventSource,ConsumerGroup'
}

function letters(lines: readonly MetricLine[], dimension: 'Reason' | 'EventType'): Record<string, number> {
  return sumOf(
    lines.flatMap(({ dimensions, metrics: { OnFailureDestinationDeliveredEventCount: count } }) =>
      dimensions[dimension] && count ? [{ [dimensions[dimension]]: count }] : [],
    ),
  )
}

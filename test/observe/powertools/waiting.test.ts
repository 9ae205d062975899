import { createClaimer, createPoller, createPublisher, orderedBy } from 'millrace'
import { reportMetrics } from 'millrace/powertools'
import { connectMemory } from 'millrace/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { billing, OrderPaid } from '../../support/consumer.ts'
import { captureOutput, readMetricLine } from '../../support/metric-lines.ts'

const CONTEXT = { awsRequestId: 'request-1', functionName: 'orders-poller', getRemainingTimeInMillis: () => 60_000 }

let written: string[]

beforeEach(() => {
  written = captureOutput()
})

afterEach(() => {
  vi.restoreAllMocks()
})

/** What a poll and a claim write of a consumer, after two events of one key, of which the first fails. */
async function metricsOf(use: readonly ReturnType<typeof orderedBy>[]): Promise<(number | undefined)[][]> {
  const redis = connectMemory()
  const consumer = billing(() => Promise.reject(new Error('busy')), { use, backoff: { firstMs: 60_000 }, mode: 'once' })
  const publisher = createPublisher({ stream: 'orders', redis })
  for (const orderId of ['a', 'b']) await publisher.publish(OrderPaid, { orderId }, { aggregateId: 'one' })
  await createPoller(consumer, { redis, observe: reportMetrics() })({}, CONTEXT)
  await createClaimer(consumer, { redis, lingerMs: 0, observe: reportMetrics() })({}, CONTEXT)
  const lines = written
    .map(readMetricLine)
    .filter(({ dimensions }) => !('EventType' in dimensions || 'ErrorName' in dimensions))
  return lines.map(
    ({ metrics }) =>
      [metrics.ParkedEventCount, metrics.WaitingEventCount, metrics.ParkedEntries, metrics.WaitingEntries] as (
        | number
        | undefined
      )[],
  )
}

test('reportMetrics() counts what waits behind another of its key, and only where order is kept', async () => {
  expect(await metricsOf([orderedBy(({ aggregateId }) => aggregateId)])).toEqual([
    [1, 1, undefined, undefined],
    [undefined, undefined, 2, 1],
  ])
  written.length = 0
  expect(await metricsOf([])).toEqual([
    [undefined, undefined, undefined, undefined],
    [undefined, undefined, 2, undefined],
  ])
})

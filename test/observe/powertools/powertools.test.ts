import { isDeepStrictEqual } from 'node:util'
import { Logger } from '@aws-lambda-powertools/logger'
import { Metrics } from '@aws-lambda-powertools/metrics'
import type { Connection, ConsumerReport, Observer, Report } from 'millrace'
import { createClaimer, createPoller, createPublisher, defineConsumer, NonRetryableError, on } from 'millrace'
import type { ReportLogger } from 'millrace/powertools'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { aReport } from '../../support/a-report.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'
import { captureOutput, readMetricLine } from '../../support/metric-lines.ts'

const NOW = Date.UTC(2030, 0, 1)
const CONTEXT = { awsRequestId: 'request-1', functionName: 'orders-poller', getRemainingTimeInMillis: () => 60_000 }
const NAMES = ['service', 'EventSource', 'ConsumerGroup']

let written: string[]
let warnings: ReturnType<typeof vi.spyOn>

beforeEach(() => {
  vi.stubEnv('POWERTOOLS_SERVICE_NAME', 'shop')
  written = captureOutput()
  warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  vi.useFakeTimers({ now: NOW, toFake: ['Date'] })
})

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe('reportMetrics()', () => {
  test('writes one line of embedded metric format for an empty poll, its events counted as 0', async () => {
    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportMetrics() },
    )({}, CONTEXT)

    expect(written).toEqual([
      '{"_aws":{"Timestamp":1893456000000,"CloudWatchMetrics":[{"Namespace":"Millrace",' +
        '"Dimensions":[["service","EventSource","ConsumerGroup"]],"Metrics":[' +
        '{"Name":"PolledEventCount","Unit":"Count"},{"Name":"InvokedEventCount","Unit":"Count"},' +
        '{"Name":"FailedInvokeEventCount","Unit":"Count"},{"Name":"DeletedEventCount","Unit":"Count"},' +
        '{"Name":"RetriedEventCount","Unit":"Count"},{"Name":"ReleasedEventCount","Unit":"Count"},' +
        '{"Name":"SupersededEventCount","Unit":"Count"},{"Name":"UnsettledEventCount","Unit":"Count"},' +
        '{"Name":"OnFailureDestinationDeliveredEventCount","Unit":"Count"},{"Name":"LostEventCount","Unit":"Count"},' +
        '{"Name":"OverranEventCount","Unit":"Count"},{"Name":"ScaledOutCount","Unit":"Count"}]}]},' +
        '"service":"shop","EventSource":"orders","ConsumerGroup":"billing","PolledEventCount":0,"InvokedEventCount":0,' +
        '"FailedInvokeEventCount":0,"DeletedEventCount":0,"RetriedEventCount":0,"ReleasedEventCount":0,' +
        '"SupersededEventCount":0,"UnsettledEventCount":0,"OnFailureDestinationDeliveredEventCount":0,' +
        '"LostEventCount":0,"OverranEventCount":0,"ScaledOutCount":0}',
    ])
    expect(warnings).not.toHaveBeenCalled()
  })

  test('counts what a poll handled, retried and set aside, and how old the last entry was', async () => {
    const redis = connectMemory()
    const handler = failing({ 'o-2': new Error('busy'), 'o-3': new NonRetryableError('no') })
    await publish(redis, 'o-1', 'o-2', 'o-3')
    vi.setSystemTime(NOW + 1_500)

    await createPoller(billing(handler), { redis, observe: reportMetrics() })({}, CONTEXT)

    expect(metricsIn(written)).toEqual([
      {
        ...NOTHING,
        PolledEventCount: 3,
        InvokedEventCount: 3,
        FailedInvokeEventCount: 2,
        DeletedEventCount: 1,
        RetriedEventCount: 1,
        OnFailureDestinationDeliveredEventCount: 1,
        IteratorAge: 1_500,
        Duration: [expect.any(Number), expect.any(Number), expect.any(Number)],
        DeliveryCount: [1, 1, 1],
        PublishToAckAge: 1_500,
        AckLatency: expect.any(Number),
      },
    ])
    expect(consumerLines(written)[0]?.units).toMatchObject({ PolledEventCount: 'Count', IteratorAge: 'Milliseconds' })
  })

  test('says of a claim what it claimed, and what the group has before it', async () => {
    const clock = createVirtualClock({ startMs: NOW })
    const redis = connectMemory({ clock })
    const consumer = billing(failing({ 'o-1': new Error('busy') }), { backoff: { firstMs: 0 } })
    await publish(redis, 'o-1')
    await createPoller(consumer, { redis, clock })({}, CONTEXT)
    await publish(redis, 'o-2')
    await clock.advance(2_000)

    await createClaimer(consumer, { redis, clock, lingerMs: 0, observe: reportMetrics() })({}, CONTEXT)

    const { PolledEventCount: _, ScaledOutCount: __, ...claimed } = NOTHING
    expect(metricsIn(written)).toEqual([
      {
        ...claimed,
        ClaimedEventCount: 1,
        InvokedEventCount: 1,
        FailedInvokeEventCount: 1,
        RetriedEventCount: 1,
        PendingEntries: 1,
        ParkedEntries: 1,
        OldestPendingAge: 2_000,
        Lag: 1,
        StreamLength: 2,
        DeadLetterLength: 0,
        DeadLetterUsagePercentage: 0,
        ClaimedAge: 2_000,
        ClaimedIdle: expect.any(Number),
        Duration: 0,
        DeliveryCount: 2,
        RedeliveredInvokedEventCount: 1,
        RedeliveredFailedInvokeEventCount: 1,
      },
    ])
    expect(consumerLines(written)[0]?.units).toMatchObject({
      Lag: 'Count',
      OldestPendingAge: 'Milliseconds',
      DeadLetterUsagePercentage: 'Percent',
    })
  })

  test('leaves out what is not known', async () => {
    const report = {
      ...aReport(),
      backlog: { pending: 4, parked: 0, oldestPendingMs: 0, streamLength: 9, deadLetters: 0 },
    }
    write(reportMetrics(), 'claim', report)

    expect(metricsIn(written)).toEqual([
      expect.objectContaining({
        PendingEntries: 4,
        ParkedEntries: 0,
        OldestPendingAge: 0,
        StreamLength: 9,
        DeadLetterLength: 0,
      }),
    ])
    expect(written[0]).not.toMatch(/"(Lag|IteratorAge|PollingErrorCount|PolledEventCount)"/)
  })

  test('counts the further pollers that a poll started, and of a claim none', async () => {
    const report = { ...aReport(), scaledOut: 2 }
    write(reportMetrics(), 'poll', report)
    write(reportMetrics(), 'claim', report)

    const [polled, claimed] = metricsIn(written)
    expect(polled).toMatchObject({ ScaledOutCount: 2 })
    expect(claimed).not.toHaveProperty('ScaledOutCount')
  })

  test('counts 0 polled events where every slot was taken', async () => {
    const report = { ...aReport(), noFreeSlot: true }
    write(reportMetrics(), 'poll', report)

    expect(metricsIn(written)).toMatchObject([{ PolledEventCount: 0 }])
  })

  test('counts an error and no poll for the failed consumer, and fails as without metrics', async () => {
    const redis = refusing(connectMemory(), 'search')
    const poller = createPoller([billing(() => {}), search()], { redis, observe: reportMetrics() })

    await expect(poller({}, CONTEXT)).rejects.toMatchObject({ code: 'ERR_INVOCATION_FAILED' })

    const { PolledEventCount: _, ...unpolled } = NOTHING
    expect(metricsIn(written)).toEqual([NOTHING, { ...unpolled, PollingErrorCount: 1 }])
    expect(written.map((line) => JSON.parse(line).ConsumerGroup)).toEqual(['billing', 'search'])
  })

  test('counts an error for all consumers of an invocation that was too short for any', async () => {
    const poller = createPoller([billing(() => {}), search()], { redis: connectMemory(), observe: reportMetrics() })

    await expect(poller({}, { getRemainingTimeInMillis: () => 10 })).rejects.toThrow('handlerTimeoutMs')

    expect(metricsIn(written)).toMatchObject([{ PollingErrorCount: 1 }, { PollingErrorCount: 1 }])
    expect(written.join()).not.toContain('PolledEventCount')
  })

  test('repeats nothing of one invocation in the next', async () => {
    const redis = connectMemory()
    const poller = createPoller(
      billing(() => {}),
      { redis, observe: reportMetrics() },
    )
    await publish(redis, 'o-1')

    await poller({}, CONTEXT)
    await poller({}, CONTEXT)

    expect(metricsIn(written)).toEqual([
      expect.objectContaining({ PolledEventCount: 1, InvokedEventCount: 1, DeletedEventCount: 1, DeliveryCount: 1 }),
      NOTHING,
    ])
  })

  test('takes namespace and service from the given metrics, and keeps what is stored in them', async () => {
    const metrics = new Metrics({ namespace: 'Shop', serviceName: 'till', defaultDimensions: { stage: 'dev' } })
    metrics.addDimension('shelf', '1').addMetadata('note', 'n').addMetric('Sold', 'Count', 1)

    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportMetrics(metrics) },
    )({}, CONTEXT)
    metrics.publishStoredMetrics()

    const [ours, theirs] = written.map((line) => JSON.parse(line))
    expect(ours).toMatchObject({ service: 'till', stage: 'dev', PolledEventCount: 0 })
    expect(ours._aws.CloudWatchMetrics).toMatchObject([{ Namespace: 'Shop', Dimensions: [NAMES] }])
    expect(Object.keys(ours)).not.toEqual(expect.arrayContaining(['shelf']))
    expect(theirs).toEqual({ _aws: expect.anything(), service: 'till', stage: 'dev', shelf: '1', note: 'n', Sold: 1 })
  })

  test.each([
    ['POWERTOOLS_METRICS_DISABLED', 'true'],
    ['POWERTOOLS_DEV', '1'],
  ])('writes nothing where %s says so', async (name, value) => {
    vi.stubEnv(name, value)

    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportMetrics() },
    )({}, CONTEXT)

    expect(written).toEqual([])
    expect(warnings).not.toHaveBeenCalled()
  })

  test('warns where the metrics cannot be written, and the invocation goes on', async () => {
    const metrics = new Metrics()
    metrics.singleMetric = refuse

    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportMetrics(metrics) },
    )({}, CONTEXT)

    expect(warnings.mock.calls).toEqual([['An observer failed: refused', 'MillraceWarning']])
  })
})

describe('reportLogs()', () => {
  test('logs one line per invocation: counts and where, never a payload', async () => {
    const redis = connectMemory()
    await publish(redis, 'secret-1')

    await createPoller(billing(failing({ 'secret-1': new Error('secret-2') })), { redis, observe: reportLogs() })(
      {},
      CONTEXT,
    )

    expect(written.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        level: 'INFO',
        message: 'Poll done',
        service: 'shop',
        function_request_id: 'request-1',
        cold_start: expect.any(Boolean),
        action: 'poll',
        stream: 'orders',
        group: 'billing',
        read: 1,
        invoked: 1,
        failed: 1,
        retried: 1,
        drained: true,
      }),
    ])
    expect(written[0]).not.toContain('secret')
  })

  test('warns of an onDeadLetter that failed, without what its error or the handler’s said', async () => {
    const redis = connectMemory()
    const handler = failing({ 'o-1': new NonRetryableError('secret-1') })
    const onDeadLetter = () => Promise.reject(Object.assign(new Error('secret-2'), { code: 'ERR_MAIL' }))
    await publish(redis, 'o-1')
    const { lines, logger } = collect()

    const observe = reportLogs(logger)
    await createPoller(billing(handler, { onDeadLetter }), { redis, observe })({}, CONTEXT)

    const failure = { name: 'Error', code: 'ERR_MAIL' }
    const place = { stream: 'orders', group: 'billing', entryId: expect.any(String), reason: 'non-retryable' }
    expect(lines[0]).toEqual(['warn', 'onDeadLetter failed', { ...place, failure }])
    expect(JSON.stringify(lines)).not.toContain('secret')
  })

  test('logs at debug where there was nothing to do', async () => {
    const { lines, logger } = collect()

    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportLogs(logger) },
    )({}, CONTEXT)

    expect(lines).toEqual([
      ['debug', 'Poll done', expect.objectContaining({ read: 0, roundTrips: expect.any(Number) })],
    ])
  })

  test.each([
    ['lost', 1],
    ['unsettled', 1],
    ['overran', 2],
    ['deadLettered', 3],
    ['groupRecreated', true],
    ['pendingLimitReached', true],
    ['noFreeSlot', true],
  ] as const)('warns of %s', async (member, value) => {
    const { lines, logger } = collect()
    const report = { ...aReport(), [member]: value }
    write(reportLogs(logger), 'claim', report)

    expect(lines).toEqual([['warn', `Claim needs a look: ${member}`, expect.objectContaining({ [member]: value })]])
  })

  test('gives the sums of several consumers, and the numbers of each', async () => {
    const { lines, logger } = collect()
    const redis = connectMemory()
    await publish(redis, 'o-1')

    await createPoller([billing(() => {}), search()], { redis, observe: reportLogs(logger) })({}, CONTEXT)

    expect(lines).toEqual([
      [
        'info',
        'Poll done',
        expect.objectContaining({
          read: 2,
          consumers: [
            expect.objectContaining({ group: 'billing', read: 1 }),
            expect.objectContaining({ group: 'search', read: 1 }),
          ],
        }),
      ],
    ])
  })

  test('logs a failed invocation as an error, with what failed for whom', async () => {
    const { lines, logger } = collect()
    const redis = refusing(connectMemory(), 'search')
    const poller = createPoller([billing(() => {}), search()], { redis, observe: reportLogs(logger) })

    await expect(poller({}, CONTEXT)).rejects.toMatchObject({ code: 'ERR_INVOCATION_FAILED' })

    const failure = { stream: 'orders', group: 'search', name: 'Error', code: 'ERR_REFUSED', message: 'refused' }
    expect(lines).toEqual([['error', 'Poll failed', expect.objectContaining({ read: 0, failures: [failure] })]])
  })

  test('takes a Powertools logger with settings of its own', async () => {
    const logger = new Logger({ serviceName: 'till', logLevel: 'DEBUG', persistentKeys: { stage: 'dev' } })

    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportLogs(logger) },
    )({}, CONTEXT)

    expect(written.map((line) => JSON.parse(line))).toMatchObject([{ level: 'DEBUG', service: 'till', stage: 'dev' }])
  })

  test('warns where the logger throws, and the invocation goes on', async () => {
    const logger = { ...collect().logger, debug: () => refuse() }

    await createPoller(
      billing(() => {}),
      { redis: connectMemory(), observe: reportLogs(logger) },
    )({}, CONTEXT)

    expect(warnings.mock.calls).toEqual([['An observer failed: refused', 'MillraceWarning']])
  })
})

/** What is written of a poll that found nothing. */
const NOTHING = {
  PolledEventCount: 0,
  InvokedEventCount: 0,
  FailedInvokeEventCount: 0,
  DeletedEventCount: 0,
  RetriedEventCount: 0,
  ReleasedEventCount: 0,
  SupersededEventCount: 0,
  UnsettledEventCount: 0,
  OnFailureDestinationDeliveredEventCount: 0,
  LostEventCount: 0,
  OverranEventCount: 0,
  ScaledOutCount: 0,
}

/** The metrics of each consumer's own line. */
function metricsIn(lines: readonly string[]) {
  return consumerLines(lines).map(({ metrics }) => metrics)
}

function consumerLines(lines: readonly string[]) {
  return lines.map(readMetricLine).filter(({ sets }) => isDeepStrictEqual(sets, [NAMES]))
}

async function publish(redis: Connection, ...orderIds: string[]): Promise<void> {
  const orders = createPublisher({ stream: 'orders', redis })
  for (const orderId of orderIds) await orders.publish(OrderPaid, { orderId })
}

function failing(errors: Readonly<Record<string, Error>>) {
  return ({ payload }: { readonly payload: { readonly orderId: string } }) => {
    const error = errors[payload.orderId]
    if (error) throw error
  }
}

function search() {
  return defineConsumer({ stream: 'orders', group: 'search', routes: [on(OrderPaid, () => {})] })
}

/** A connection whose server refuses everything to one group. */
function refusing(redis: Connection, name: string): Connection {
  return {
    ...redis,
    group: (address, remaining) => {
      const group = redis.group(address, remaining)
      if (address.group === name) group.takeSlot = refuse
      return group
    },
  }
}

function refuse(): never {
  throw Object.assign(new Error('refused'), { code: 'ERR_REFUSED' })
}

function collect() {
  const lines: unknown[][] = []
  const at = (level: string) => (message: string, fields: object) => void lines.push([level, message, fields])
  const logger: ReportLogger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return { lines, logger }
}

/** Notifies an observer of an invocation that is over. */
function write(observer: Observer, action: Report['action'], consumer: ConsumerReport, error?: Error): void {
  const report: Report = { ...consumer, action, consumers: [consumer] }
  observer.invocationEnded?.({ invocation: { action, consumers: [consumer], context: CONTEXT }, report, error })
}

import type { ConsumerReport, ObservedInvocation, Observer, PublishCall } from 'millrace'
import { reportMetrics } from 'millrace/powertools'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { aReport } from '../../support/a-report.ts'
import type { MetricLine } from '../../support/metric-lines.ts'
import { captureOutput, readMetricLine } from '../../support/metric-lines.ts'
import { aCall, aDelivery, anInvocation, aRun } from '../../support/observed.ts'

const ACKED = { kind: 'ack' } as const
const FAILED = { kind: 'retry', error: new Error('secret') } as const

let written: string[]
let observer: Observer

beforeEach(() => {
  vi.stubEnv('POWERTOOLS_SERVICE_NAME', 'shop')
  written = captureOutput()
  observer = reportMetrics()
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe('reportMetrics()', () => {
  test('writes a line for each event type beside the line of the consumer', () => {
    const invocation = anInvocation()
    const run = aRun(invocation)
    handled(aCall(run), 12, ACKED)
    handled(aCall(run, { eventType: 'OrderShipped', deliveries: [aDelivery(2, { deliveryCount: 3 })] }), 30, FAILED)
    observer.acked?.({ ...run, entries: [{ entryId: '1-0', eventType: 'OrderPaid', ageMs: 250 }] })
    end(invocation, aReport({ read: 2, invoked: 2, failed: 1, acked: 1, retried: 1 }))

    const [consumer, paid, shipped, errors] = lines()
    expect(consumer?.dimensions).toEqual({ service: 'shop', EventSource: 'orders', ConsumerGroup: 'billing' })
    expect(consumer?.metrics).toMatchObject({
      PolledEventCount: 2,
      InvokedEventCount: 2,
      DeletedEventCount: 1,
      Duration: [12, 30],
      DeliveryCount: [1, 3],
      PublishToAckAge: 250,
    })
    expect([paid, shipped].map((line) => [line?.dimensions, line?.metrics])).toEqual([
      [
        { service: 'shop', EventSource: 'orders', ConsumerGroup: 'billing', EventType: 'OrderPaid' },
        {
          InvokedEventCount: 1,
          FailedInvokeEventCount: 0,
          Duration: 12,
          DeliveryCount: 1,
          DeletedEventCount: 1,
          PublishToAckAge: 250,
          AckLatency: expect.any(Number),
        },
      ],
      [
        { service: 'shop', EventSource: 'orders', ConsumerGroup: 'billing', EventType: 'OrderShipped' },
        {
          InvokedEventCount: 1,
          FailedInvokeEventCount: 1,
          RedeliveredInvokedEventCount: 1,
          RedeliveredFailedInvokeEventCount: 1,
          Duration: 30,
          DeliveryCount: 3,
        },
      ],
    ])
    expect([errors?.dimensions.ErrorName, errors?.metrics]).toEqual(['Error', { FailedInvokeEventCount: 1 }])
    expect(lines()).toHaveLength(4)
    expect(written.join()).not.toContain('secret')
    expect(paid?.units).toMatchObject({
      InvokedEventCount: 'Count',
      Duration: 'Milliseconds',
      PublishToAckAge: 'Milliseconds',
      DeliveryCount: 'Count',
    })
  })

  test('sets many values out as 99 quantiles, the least and the most among them', () => {
    const invocation = anInvocation()
    const entries = Array.from({ length: 10_000 }, (_none, n) => ({
      entryId: `${n}-0`,
      eventType: 'OrderPaid',
      ageMs: 10_000 - n,
    }))
    observer.acked?.({ ...aRun(invocation), entries })
    end(invocation, aReport({ acked: 10_000 }))

    const ages = lines()[1]?.metrics.PublishToAckAge as readonly number[]
    expect([ages.length, ages[0], ages.at(-1)]).toEqual([99, 1, 10_000])
    expect(ages).toEqual(ages.toSorted((a, b) => a - b))
    expect(Math.abs((ages[49] as number) - 5_000)).toBeLessThan(100)
  })

  test('counts dead letters by reason, and by the event types that have a route', () => {
    const invocation = anInvocation('claim')
    const told = [
      ['max-deliveries', 'OrderPaid'],
      ['unrouted', 'AnythingAtAll'],
      ['malformed', undefined],
      ['max-deliveries', undefined],
    ] as const
    for (const [reason, eventType] of told) {
      const notice = { stream: 'orders', group: 'billing', deadLetters: 'd', entryId: '1-0', deliveryCount: 5 }
      observer.deadLettered?.({ invocation, notice: { ...notice, reason, eventType } })
    }
    end(invocation, aReport({ claimed: 4, deadLettered: 4 }))

    const counted = lines().map(({ dimensions: { Reason, EventType }, metrics }) => [
      Reason ?? EventType,
      metrics.OnFailureDestinationDeliveredEventCount,
    ])
    expect(counted).toEqual([
      ['max-deliveries', 2],
      [undefined, 4],
      ['OrderPaid', 1],
      ['unrouted', 1],
      ['malformed', 1],
    ])
  })

  test('says how old claimed entries were, and how long they had been idle', () => {
    const invocation = anInvocation('claim')
    const entry = { owner: 'parked', deliveryCount: 1 }
    const entries = [
      { ...entry, entryId: '1-0', ageMs: 90_000, idleMs: 61_000 },
      { ...entry, entryId: '2-0', ageMs: 70_000, idleMs: 62_000 },
    ]
    observer.entriesClaimed?.({ ...aRun(invocation), entries })
    end(invocation, aReport({ claimed: 2 }))

    expect(lines()[0]).toMatchObject({
      metrics: { ClaimedEventCount: 2, ClaimedAge: [90_000, 70_000], ClaimedIdle: [61_000, 62_000] },
      units: { ClaimedAge: 'Milliseconds', ClaimedIdle: 'Milliseconds' },
    })
  })

  test('says how long after the handler an acknowledgement is answered, and what was delivered before', () => {
    const at = vi.spyOn(performance, 'now').mockReturnValue(1_000)
    const run = aRun(anInvocation('poll', 'search'))
    handled(aCall(run, { deliveries: [aDelivery(1), aDelivery(2, { deliveryCount: 2 })] }), 5, ACKED, ACKED)
    handled(aCall({ ...run, group: 'search' }), 5, ACKED)
    at.mockReturnValue(1_030)
    const entry = { eventType: 'OrderPaid', ageMs: 1 }
    observer.acked?.({ ...run, entries: ['1-0', '2-0', '3-0'].map((entryId) => ({ ...entry, entryId })) })
    at.mockReturnValue(1_070)
    observer.acked?.({ ...run, group: 'search', entries: [{ ...entry, entryId: '1-0' }] })
    end(run.invocation, aReport(), aReport({ group: 'search' }))

    expect(lines().map(({ metrics }) => [metrics.AckLatency, metrics.RedeliveredDeletedEventCount])).toEqual([
      [[30, 30], 1],
      [[30, 30], 1],
      [70, undefined],
      [70, undefined],
    ])
    expect(lines()[0]?.units.AckLatency).toBe('Milliseconds')
  })

  test('counts failures by the names of errors, 20 of them, and no text that is none', () => {
    const invocation = anInvocation()
    const named = (name: unknown) => Object.assign(new Error('secret'), { name })
    const unreadable = new Proxy(
      {},
      {
        get: () => {
          throw new Error('no')
        },
      },
    )
    const thrown = [
      named('TypeError'),
      named('TypeError'),
      'text',
      undefined,
      named('a secret'),
      named(''),
      unreadable,
      named({}),
    ]
    for (const error of thrown) handled(aCall(aRun(invocation)), 1, { kind: 'retry', error } as never)
    for (let n = 0; n < 30; n++)
      handled(aCall(aRun(invocation)), 1, { kind: 'dead-letter', error: named(`E${n}`) } as never)
    end(invocation, aReport())

    const counts = lines().flatMap(({ dimensions: { ErrorName }, metrics }) =>
      ErrorName ? [[ErrorName, metrics.FailedInvokeEventCount]] : [],
    )
    expect(Object.fromEntries(counts)).toMatchObject({ TypeError: 2, string: 1, undefined: 1, E0: 1 })
    expect(counts.length).toBe(21)
    expect(counts.reduce((sum, [, n]) => sum + Number(n), 0)).toBe(38)
    expect(written.join()).not.toContain('secret')
  })

  test('tells versions apart on request', () => {
    observer = reportMetrics(undefined, { versions: ['EventVersion', 'FunctionVersion'] })
    const invocation = { ...anInvocation(), context: { functionVersion: '7' } }
    const run = aRun(invocation)
    handled(aCall(run, { deliveries: [aDelivery(1, { version: 1 }), aDelivery(2, { version: 2 })] }), 5, ACKED, FAILED)
    observer.acked?.({ ...run, entries: [{ entryId: '1-0', eventType: 'OrderPaid', ageMs: 1 }] })
    end(invocation, aReport({ read: 2, acked: 1 }))

    const versioned = lines().filter(
      ({ dimensions: { EventVersion, FunctionVersion } }) => EventVersion ?? FunctionVersion,
    )
    expect(versioned.map(({ dimensions, metrics }) => [dimensions, metrics])).toEqual([
      [
        { service: 'shop', EventSource: 'orders', ConsumerGroup: 'billing', EventType: 'OrderPaid', EventVersion: '1' },
        { InvokedEventCount: 1, FailedInvokeEventCount: 0, DeletedEventCount: 1 },
      ],
      [
        { service: 'shop', EventSource: 'orders', ConsumerGroup: 'billing', EventType: 'OrderPaid', EventVersion: '2' },
        { InvokedEventCount: 1, FailedInvokeEventCount: 1 },
      ],
      [
        { service: 'shop', EventSource: 'orders', ConsumerGroup: 'billing', FunctionVersion: '7' },
        expect.objectContaining({ PolledEventCount: 2, DeletedEventCount: 1 }),
      ],
    ])
  })

  test.each([[{ versions: ['version'] }], [{ versions: 'EventVersion' }], [{ version: [] }]])(
    'refuses %j',
    (options) => {
      expect(() => reportMetrics(undefined, options as never)).toThrow('Cannot report metrics')
    },
  )

  test('counts a batch call that failed as a whole as one error', () => {
    const invocation = anInvocation()
    const batch = aCall(aRun(invocation), { isBatch: true, deliveries: [aDelivery(1), aDelivery(2)] })
    handled(batch, 5, FAILED, FAILED)
    handled(batch, 5, FAILED, ACKED)
    handled(aCall(aRun(invocation)), 5, FAILED)
    end(invocation, aReport())

    expect(lines()[1]?.metrics).toMatchObject({
      InvokedEventCount: 5,
      FailedInvokeEventCount: 4,
      InvokeErrorCount: 1,
    })
  })

  test('counts acknowledgements that the server did not answer as errors', () => {
    const invocation = anInvocation()
    const run = aRun(invocation)
    handled(aCall(run, { deliveries: [aDelivery(1)] }), 5, ACKED)
    handled(aCall(run, { deliveries: [aDelivery(2)] }), 5, ACKED)
    observer.acked?.({ ...run, entries: [{ entryId: '1-0', eventType: 'OrderPaid', ageMs: 1 }] })
    end(invocation, aReport({ unsettled: 1, acked: 1 }))

    expect(lines().map(({ metrics }) => metrics.CommitErrorCount)).toEqual([1, 1])
  })

  test('keeps invocations apart that overlap, and consumers of one invocation', () => {
    const [first, second] = [anInvocation('poll', 'search'), anInvocation()]
    handled(aCall(aRun(first)), 1, ACKED)
    handled(aCall(aRun(second)), 2, ACKED)
    handled(aCall(aRun(first, 'search')), 3, ACKED)
    end(second, aReport())
    end(first, aReport(), aReport({ group: 'search' }))

    expect(lines().map(({ dimensions, metrics }) => [dimensions.ConsumerGroup, metrics.Duration])).toEqual([
      ['billing', 2],
      ['billing', 2],
      ['billing', 1],
      ['billing', 1],
      ['search', 3],
      ['search', 3],
    ])
  })

  test('names a set for its own consumer alone, not for another group of its streams', () => {
    const consumers = [
      { stream: '{jobs}:high', group: 'work', set: 'jobs' },
      { stream: '{jobs}:high', group: 'audit' },
    ]
    const invocation: ObservedInvocation = { ...anInvocation(), consumers }
    end(
      invocation,
      aReport({ stream: '{jobs}:high', group: 'work' }),
      aReport({ stream: '{jobs}:high', group: 'audit' }),
    )

    expect(lines().map(({ dimensions: { EventSource, ConsumerGroup } }) => [EventSource, ConsumerGroup])).toEqual([
      ['jobs', 'work'],
      ['{jobs}:high', 'audit'],
    ])
  })

  test('says how long ago something last succeeded, where the claimer knows', () => {
    const backlog = {
      pending: 1,
      parked: 0,
      oldestPendingMs: 5,
      streamLength: 1,
      deadLetters: 0,
      sinceLastSuccessMs: 4_000,
    }
    end(anInvocation('claim'), aReport({ backlog }))

    expect(lines()[0]).toMatchObject({
      metrics: { TimeSinceLastSuccess: 4_000 },
      units: { TimeSinceLastSuccess: 'Milliseconds' },
    })
  })

  test.each([{ paused: true }, { pausedTypes: ['OrderPaid'] }])('says that something is paused: %o', (report) => {
    end(anInvocation('poll'), aReport(report))
    end(anInvocation('poll'), aReport())

    expect(lines().map(({ metrics }) => [metrics.Paused, metrics.PolledEventCount])).toEqual([
      [1, 0],
      [undefined, 0],
    ])
  })

  test('writes a line per event type of a publisher’s request, by stream and by type', () => {
    const events = [
      { type: 'OrderPaid', eventId: 'e-1' },
      { type: 'OrderShipped', eventId: 'e-2' },
      { type: 'OrderPaid', eventId: 'e-3' },
    ]
    const call: PublishCall = { stream: 'orders', events }
    const entryIds = ['1-0', undefined, undefined]
    const delayedUntil = [undefined, undefined, new Date(5)]
    observer.published?.({ call, durationMs: 8, bytes: [100, 50, 200], entryIds, delayedUntil })

    const [paid, shipped] = lines()
    expect(paid).toEqual({
      sets: [
        ['service', 'EventSource'],
        ['service', 'EventSource', 'EventType'],
      ],
      dimensions: { service: 'shop', EventSource: 'orders', EventType: 'OrderPaid' },
      metrics: { PublishedEventCount: 2, PublishLatency: 8, PayloadBytes: [100, 200] },
      units: { PublishedEventCount: 'Count', PublishLatency: 'Milliseconds', PayloadBytes: 'Bytes' },
    })
    expect(shipped?.metrics).toEqual({
      PublishedEventCount: 0,
      PublishErrorCount: 1,
      PublishLatency: 8,
      PayloadBytes: 50,
    })
  })

  test('counts a duplicate apart from what was published', () => {
    const events = ['e-1', 'e-2', 'e-1'].map((eventId) => ({ type: 'OrderPaid', eventId }))
    const entryIds = ['1-0', '2-0', '1-0']
    const call: PublishCall = { stream: 'orders', events }
    observer.published?.({
      call,
      durationMs: 8,
      bytes: [1, 1, 1],
      entryIds,
      delayedUntil: [],
      duplicates: new Set([2]),
    })

    expect(lines()[0]?.metrics).toMatchObject({ PublishedEventCount: 2, PublishDuplicateCount: 1 })
  })

  test('says nothing of the size of events that were refused before they were sent', () => {
    const call: PublishCall = { stream: 'orders', events: [{ type: 'OrderPaid', eventId: 'e-1' }] }
    const error = new Error('secret')
    observer.published?.({ call, durationMs: 1, bytes: [], entryIds: [undefined], delayedUntil: [], error })

    expect(lines().map(({ metrics }) => metrics)).toEqual([
      { PublishedEventCount: 0, PublishErrorCount: 1, PublishLatency: 1 },
    ])
  })
})

describe('a set of streams', () => {
  test('has one line, with the sums of its streams and the worst of their ages', () => {
    const [high, low] = ['{jobs}:high', '{jobs}:low'].map((stream) => ({ stream, group: 'work', set: 'jobs' }))
    const invocation: ObservedInvocation = {
      action: 'claim',
      consumers: [high, low].flatMap((one) => one ?? []),
      context: {},
    }
    const backlog = {
      pending: 3,
      parked: 1,
      streamLength: 10,
      deadLetters: 2,
      oldestPendingMs: 500,
      sinceLastSuccessMs: 7,
      deadLettersPercent: 1,
    }
    end(
      invocation,
      aReport({ ...high, claimed: 2, acked: 2, backlog: { ...backlog, lag: 4 } }),
      aReport({
        ...low,
        claimed: 1,
        acked: 1,
        backlog: { ...backlog, lag: 5, oldestPendingMs: 900, sinceLastSuccessMs: 3 },
      }),
    )

    expect(lines()).toHaveLength(1)
    expect(lines()[0]).toMatchObject({
      dimensions: { service: 'shop', EventSource: 'jobs', ConsumerGroup: 'work' },
      metrics: {
        ClaimedEventCount: 3,
        DeletedEventCount: 3,
        PendingEntries: 6,
        DeadLetterLength: 4,
        Lag: 9,
        OldestPendingAge: 900,
        TimeSinceLastSuccess: 3,
        DeadLetterUsagePercentage: 1,
      },
    })
  })

  test('leaves out the lag that one of its streams does not know', () => {
    const [high, low] = ['{jobs}:high', '{jobs}:low'].map((stream) => ({ stream, group: 'work', set: 'jobs' }))
    const consumers = [high, low].flatMap((one) => one ?? [])
    const backlog = { pending: 3, parked: 1, streamLength: 10, deadLetters: 2 }
    end(
      { action: 'claim', consumers, context: {} },
      aReport({ ...high, backlog }),
      aReport({ ...low, backlog: { ...backlog, lag: 5 } }),
    )

    expect(lines()[0]?.metrics).not.toHaveProperty('Lag')
    expect(lines()[0]?.metrics).toMatchObject({ PendingEntries: 6 })
  })
})

function handled(
  call: ReturnType<typeof aCall>,
  durationMs: number,
  ...outcomes: readonly (typeof ACKED | typeof FAILED)[]
): void {
  observer.handlerEnded?.({ call, durationMs, outcomes })
}

function end(invocation: ObservedInvocation, ...consumers: readonly ConsumerReport[]): void {
  const { action } = invocation
  observer.invocationEnded?.({ invocation, report: { ...(consumers[0] as ConsumerReport), action, consumers } })
}

function lines(): MetricLine[] {
  return written.map(readMetricLine)
}

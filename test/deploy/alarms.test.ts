import { describe, expect, test } from 'vitest'
import { type AlarmOptions, resolveAlarmOptions } from '../../src/deploy/alarm-options.ts'
import { describeConsumerAlarms, describeFunctionAlarm } from '../../src/deploy/alarms.ts'

const poller = { id: 'OrdersPoller', name: { Ref: 'PollerFn' }, arn: { 'Fn::GetAtt': ['PollerFn', 'Arn'] } }
const claimer = { id: 'OrdersClaimer', name: { Ref: 'ClaimerFn' }, arn: { 'Fn::GetAtt': ['ClaimerFn', 'Arn'] } }
const topic = { Ref: 'OnCallTopic' }

const limitsOf = (alarms: AlarmOptions = {}, expression = 'rate(1 minute)', enabled = true) =>
  resolveAlarmOptions('describe', { expression, enabled }, alarms)

function alarmsOf(options?: AlarmOptions, expression?: string, enabled?: boolean) {
  const limits = limitsOf(options, expression, enabled)
  return [
    ...describeConsumerAlarms({
      id: 'OrdersBilling',
      service: 'shop',
      stream: 'orders',
      group: 'billing',
      poller,
      claimer,
      limits,
      topic,
    }),
    ...[poller, claimer].flatMap((fn) => describeFunctionAlarm(fn, { limits, topic })),
  ]
}

const propertiesOf = (id: string, ...options: Parameters<typeof alarmsOf>) =>
  alarmsOf(...options).find((alarm) => alarm.id === id)?.properties

describe('the alarms of a consumer', () => {
  test('go off on these metrics and limits, and treat silence each in its own way', () => {
    const rows = alarmsOf().map(({ id, properties: p }) => [
      id,
      `${p.Namespace} ${p.Statistic} ${p.MetricName} ${p.ComparisonOperator} ${p.Threshold}`,
      `${p.DatapointsToAlarm} of ${p.EvaluationPeriods} × ${p.Period} s`,
      p.TreatMissingData,
    ])

    expect(rows).toEqual([
      [
        'OrdersBillingNoPollAlarm',
        'Millrace SampleCount PolledEventCount LessThanThreshold 1',
        '3 of 3 × 60 s',
        'breaching',
      ],
      [
        'OrdersBillingOldestPendingAlarm',
        'Millrace Maximum OldestPendingAge GreaterThanThreshold 900000',
        '3 of 3 × 60 s',
        'breaching',
      ],
      [
        'OrdersBillingDeadLettersAlarm',
        'Millrace Sum OnFailureDestinationDeliveredEventCount GreaterThanOrEqualToThreshold 1',
        '1 of 1 × 300 s',
        'notBreaching',
      ],
      [
        'OrdersBillingLostAlarm',
        'Millrace Sum LostEventCount GreaterThanOrEqualToThreshold 1',
        '1 of 1 × 300 s',
        'notBreaching',
      ],
      ['OrdersBillingLagAlarm', 'Millrace Maximum Lag GreaterThanThreshold 10000', '3 of 3 × 60 s', 'ignore'],
      [
        'OrdersPollerFailingAlarm',
        'AWS/Lambda Sum Errors GreaterThanOrEqualToThreshold 1',
        '3 of 5 × 60 s',
        'notBreaching',
      ],
      [
        'OrdersClaimerFailingAlarm',
        'AWS/Lambda Sum Errors GreaterThanOrEqualToThreshold 1',
        '3 of 5 × 60 s',
        'notBreaching',
      ],
    ])
  })

  test("look at the consumer's metrics under the dimensions that its functions report with", () => {
    expect(propertiesOf('OrdersBillingLagAlarm')?.Dimensions).toEqual([
      { Name: 'service', Value: 'shop' },
      { Name: 'EventSource', Value: 'orders' },
      { Name: 'ConsumerGroup', Value: 'billing' },
    ])
    expect(propertiesOf('OrdersPollerFailingAlarm')?.Dimensions).toEqual([{ Name: 'FunctionName', Value: poller.name }])
  })

  test('tell the topic of every change to ALARM and back', () => {
    for (const { properties } of alarmsOf()) {
      expect(properties).toMatchObject({ AlarmActions: [topic], OKActions: [topic] })
    }
  })

  test('are named after stack, consumer and trouble, and say what to look at first', () => {
    const { AlarmName, AlarmDescription } = propertiesOf('OrdersBillingNoPollAlarm') ?? {}

    expect(AlarmName).toEqual({ 'Fn::Join': ['', [{ Ref: 'AWS::StackName' }, ' orders/billing: nothing polls']] })
    expect(AlarmDescription).toEqual({
      'Fn::Join': [
        '',
        [
          expect.stringMatching(/^Nothing has polled stream orders for group billing for 3 minutes: .+ Look first at /),
          poller.name,
          expect.any(String),
          poller.name,
          '.',
        ],
      ],
    })
    for (const { properties } of alarmsOf()) expect(JSON.stringify(properties.AlarmDescription)).toContain('Look first')
  })

  test('have descriptions that CloudWatch takes: 1,024 characters, names of 64 among them', () => {
    const lengths = alarmsOf().map(
      ({ properties }) =>
        JSON.stringify(properties.AlarmDescription).replaceAll(/\{"Ref":"\w+"\}/g, 'n'.repeat(64)).length,
    )

    expect(Math.max(...lengths)).toBeLessThan(900)
  })

  test('wait three periods of a slower schedule', () => {
    expect(propertiesOf('OrdersBillingNoPollAlarm', {}, 'rate(1 hour)')).toMatchObject({
      Period: 3_600,
      EvaluationPeriods: 3,
    })
    expect(propertiesOf('OrdersPollerFailingAlarm', {}, 'rate(1 hour)')).toMatchObject({
      Period: 3_600,
      EvaluationPeriods: 5,
    })
  })

  test('leave out what is false', () => {
    const none = {
      noPollMs: false,
      oldestPendingMs: false,
      lag: false,
      deadLetters: false,
      failingPeriods: false,
    } as const

    expect(alarmsOf({ ...none, lost: false })).toEqual([])
  })

  test('take silence for rest while the schedules are disabled', () => {
    expect(propertiesOf('OrdersBillingNoPollAlarm', {}, 'rate(1 minute)', false)).toBeUndefined()
    expect(propertiesOf('OrdersBillingOldestPendingAlarm', {}, 'cron(0 3 * * ? *)', false)).toMatchObject({
      TreatMissingData: 'notBreaching',
    })
  })
})

describe('resolveAlarmOptions()', () => {
  test.each([
    [{ lag: 0 }, 'Cannot describe: alarms.lag must be >= 1, got 0'],
    [{ noPollMs: 1_000 }, 'Cannot describe: alarms.noPollMs must be >= 180000, got 1000'],
    [{ failingPeriods: 6 }, 'Cannot describe: alarms.failingPeriods must be <= 5, got 6'],
    [{ lost: 1 }, 'Cannot describe: alarms.lost must be true or false, got number'],
    [
      { age: 1 },
      'Cannot describe: alarms: unknown option "age"; known are noPollMs, oldestPendingMs, lag, deadLetters, failingPeriods, lost',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => limitsOf(options as AlarmOptions)).toThrow(message)
  })

  test.each([
    ['cron(0 3 * * ? *)', 'has no fixed period'],
    ['rate(2 days)', 'is slower than once a day'],
  ])('asks for noPollMs with %s', (expression, why) => {
    expect(() => limitsOf({}, expression)).toThrow(
      `Cannot describe: alarms.noPollMs must be a number of milliseconds or false where the schedule ${why}, got undefined with ${expression}`,
    )
    expect(limitsOf({ noPollMs: 86_400_000 }, expression)).toMatchObject({ noPollMs: 86_400_000 })
    expect(limitsOf({ noPollMs: false }, expression)).toMatchObject({ noPollMs: false })
  })
})

import { describe, expect, test } from 'vitest'
import type { AlarmOptions } from '../../src/deploy/alarm-options.ts'
import { createAlarmResources } from '../../src/deploy/alarms.ts'
import { type EventSourceOptions, resolveEventSource } from '../../src/deploy/event-source.ts'
import type { CloudFormationResource } from '../../src/deploy/resources.ts'

const poller = { id: 'OrdersPoller', name: { Ref: 'PollerFn' }, arn: { 'Fn::GetAtt': ['PollerFn', 'Arn'] } }
const claimer = { id: 'OrdersClaimer', name: { Ref: 'ClaimerFn' }, arn: { 'Fn::GetAtt': ['ClaimerFn', 'Arn'] } }
const topic = { Ref: 'OnCallTopic' }

const HOURLY = { schedule: 'rate(1 hour)' }
const NIGHTLY = { schedule: 'cron(0 3 * * ? *)' }

type Options = Omit<EventSourceOptions, 'stream' | 'group' | 'alarms'> & { readonly alarms?: AlarmOptions }

function alarmsOf(options: Options = {}): CloudFormationResource[] {
  const given = { stream: 'orders', group: 'billing', ...options, alarms: { topic, ...options.alarms } }
  const { alarms } = resolveEventSource('deploy', given)
  if (alarms === false) return []
  return createAlarmResources({
    id: 'OrdersBilling',
    service: 'shop',
    stream: 'orders',
    group: 'billing',
    poller,
    claimer,
    alarms,
  })
}

const propertiesOf = (id: string, options?: Options) => alarmsOf(options).find((alarm) => alarm.id === id)?.properties

describe('the alarms of a consumer', () => {
  test('go off on these metrics and limits, and treat silence each in its own way', () => {
    const rows = alarmsOf().map(({ id, properties: p }) => [
      id.replace(/^OrdersBilling|Alarm$/g, ''),
      `${p.Namespace} ${p.Statistic} ${p.MetricName} ${p.ComparisonOperator} ${p.Threshold}`,
      `${p.DatapointsToAlarm} of ${p.EvaluationPeriods} × ${p.Period} s`,
      p.TreatMissingData,
    ])

    expect(rows).toEqual([
      ['NoPoll', 'Millrace SampleCount PolledEventCount LessThanThreshold 1', '3 of 3 × 60 s', 'breaching'],
      ['OldestPending', 'Millrace Maximum OldestPendingAge GreaterThanThreshold 900000', '3 of 3 × 60 s', 'breaching'],
      [
        'DeadLetters',
        'Millrace Sum OnFailureDestinationDeliveredEventCount GreaterThanThreshold 0',
        '1 of 1 × 300 s',
        'notBreaching',
      ],
      [
        'DeadLettersFull',
        'Millrace Maximum DeadLetterUsagePercentage GreaterThanOrEqualToThreshold 80',
        '1 of 1 × 60 s',
        'ignore',
      ],
      ['PollerFailing', 'AWS/Lambda Sum Errors GreaterThanThreshold 0', '3 of 5 × 60 s', 'notBreaching'],
      ['ClaimerFailing', 'AWS/Lambda Sum Errors GreaterThanThreshold 0', '3 of 5 × 60 s', 'notBreaching'],
      ['Lost', 'Millrace Sum LostEventCount GreaterThanThreshold 0', '1 of 1 × 300 s', 'notBreaching'],
      ['Lag', 'Millrace Maximum Lag GreaterThanThreshold 10000', '3 of 3 × 60 s', 'ignore'],
    ])
  })

  test("read the consumer's metrics under the dimensions that its functions report with", () => {
    expect(propertiesOf('OrdersBillingLagAlarm')?.Dimensions).toEqual([
      { Name: 'service', Value: 'shop' },
      { Name: 'EventSource', Value: 'orders' },
      { Name: 'ConsumerGroup', Value: 'billing' },
    ])
    expect(propertiesOf('OrdersBillingPollerFailingAlarm')?.Dimensions).toEqual([
      { Name: 'FunctionName', Value: poller.name },
    ])
  })

  test('notify the topic of every change to ALARM and back', () => {
    for (const { properties } of alarmsOf()) {
      expect(properties).toMatchObject({ AlarmActions: [topic], OKActions: [topic] })
    }
  })

  test('are named after stack, consumer and trouble, and say what to check first', () => {
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

  test('have names of at most 255 characters, as CloudWatch takes, with the longest stack and consumer', () => {
    const lengths = alarmsOf().map(({ properties }) => {
      const [, [, named]] = (properties.AlarmName as { 'Fn::Join': [string, [unknown, string]] })['Fn::Join']
      return 128 + 95 + named.length - 'ordersbilling'.length
    })

    expect(Math.max(...lengths)).toBe(255)
  })

  test('have descriptions that CloudWatch takes: 1,024 characters, names of 64 and of 48 among them', () => {
    const lengths = alarmsOf().map(
      ({ properties }) =>
        JSON.stringify(properties.AlarmDescription)
          .replaceAll(/\{"Ref":"\w+"\}/g, 'n'.repeat(64))
          .replaceAll(/\b(orders|billing)\b/g, 'n'.repeat(48)).length,
    )

    expect(Math.max(...lengths)).toBeLessThan(1_024)
  })

  test.each([
    ['while the schedules are disabled', { enabled: false, schedule: 'cron(0 3 * * ? *)' }],
    ['where noPollMs is false', { schedule: 'cron(0 3 * * ? *)', alarms: { noPollMs: false } }],
  ] as const)('take silence for rest %s', (_, options) => {
    expect(propertiesOf('OrdersBillingNoPollAlarm', options)).toBeUndefined()
    expect(propertiesOf('OrdersBillingOldestPendingAlarm', options)).toMatchObject({ TreatMissingData: 'notBreaching' })
  })

  // NoPoll evaluates the silence that is tolerated, the others one run after the other
  test.each<[Options, noPoll: string | undefined, failing: string, oldest: string]>([
    [{}, '3 of 3 × 60 s', '3 of 5 × 60 s', '3 of 3 × 60 s breaching'],
    [{ alarms: { noPollMs: 86_400_000 } }, '3 of 3 × 28800 s', '3 of 5 × 60 s', '3 of 3 × 60 s breaching'],
    [{ alarms: { noPollMs: false } }, undefined, '3 of 5 × 60 s', '3 of 3 × 60 s notBreaching'],
    [HOURLY, '3 of 3 × 3600 s', '3 of 5 × 3600 s', '3 of 3 × 3600 s breaching'],
    [{ ...HOURLY, alarms: { noPollMs: false } }, undefined, '3 of 5 × 3600 s', '3 of 3 × 3600 s notBreaching'],
    [{ ...HOURLY, enabled: false }, undefined, '3 of 5 × 3600 s', '3 of 3 × 3600 s notBreaching'],
    [
      { ...NIGHTLY, alarms: { noPollMs: 259_200_000 } },
      '3 of 3 × 86400 s',
      '3 of 5 × 86400 s',
      '3 of 3 × 86400 s breaching',
    ],
    [{ ...NIGHTLY, alarms: { noPollMs: false } }, undefined, '1 of 1 × 3600 s', '1 of 1 × 3600 s notBreaching'],
    [
      { schedule: 'rate(2 days)', alarms: { noPollMs: false } },
      undefined,
      '1 of 1 × 86400 s',
      '1 of 1 × 86400 s notBreaching',
    ],
  ])('evaluate it as often as there are runs: %j', (options, noPoll, failing, oldest) => {
    const shown = (id: string) => {
      const p = propertiesOf(`OrdersBilling${id}Alarm`, options)
      return p && `${p.DatapointsToAlarm} of ${p.EvaluationPeriods} × ${p.Period} s`
    }

    expect(shown('NoPoll')).toBe(noPoll)
    expect([shown('PollerFailing'), shown('ClaimerFailing')]).toEqual([failing, failing])
    expect(
      `${shown('OldestPending')} ${propertiesOf('OrdersBillingOldestPendingAlarm', options)?.TreatMissingData}`,
    ).toBe(oldest)
  })

  test.each([
    ['cron(0 3 * * ? *)', 'must be given where the schedule has no fixed period', 'false leaves that alarm out'],
    ['rate(2 days)', 'must be false where the schedule is slower than once a day', 'nothing alarms of silence then'],
  ])('require a length of tolerated silence with %s', (schedule, rule, hint) => {
    expect(() => alarmsOf({ schedule })).toThrow(
      `Cannot deploy: alarms.noPollMs ${rule}, got schedule ${schedule}; ${hint}`,
    )
  })
})

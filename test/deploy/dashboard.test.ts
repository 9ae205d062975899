import { describe, expect, test } from 'vitest'
import { createDashboardResource, type DashboardSubject } from '../../src/deploy/dashboard.ts'

const subject: DashboardSubject = {
  id: 'OrdersBilling',
  service: 'shop',
  stream: 'orders',
  group: 'billing',
  poller: { id: 'OrdersPoller', name: { Ref: 'PollerFn' }, arn: 'arn' },
  claimer: { id: 'OrdersClaimer', name: { Ref: 'ClaimerFn' }, arn: 'arn' },
  alarms: false,
  alarmArns: [],
}

// biome-ignore lint/suspicious/noExplicitAny: a dashboard's body has no types
type Widget = any

/** The body as CloudFormation would write it, a reference by what it refers to. */
function widgetsOf(options: Partial<DashboardSubject> = {}): Widget[] {
  const body = createDashboardResource({ ...subject, ...options }).properties.DashboardBody as {
    'Fn::Join': [string, (string | { Ref?: string; 'Fn::GetAtt'?: string[] })[]]
  }
  const [, parts] = body['Fn::Join']
  const text = parts.map((part) => (typeof part === 'string' ? part : (part.Ref ?? part['Fn::GetAtt']?.join('.'))))
  return JSON.parse(text.join('')).widgets
}

describe('the dashboard of a consumer', () => {
  test('separates input, processing, backlog, latency, pending, failures, retries, dead letters and memory', () => {
    const graphs = widgetsOf().map(({ properties: { title, metrics } }) => [
      title.replace(/:.*/, ''),
      metrics.map(([, name]: string[]) => name),
    ])

    expect(Object.fromEntries(graphs)).toEqual({
      Input: ['PolledEventCount', 'ClaimedEventCount'],
      Processing: [
        'InvokedEventCount',
        'DeletedEventCount',
        'FilteredOutEventCount',
        'ScaledOutCount',
        'Duration',
        'Duration',
      ],
      Backlog: ['Lag', 'IteratorAge'],
      Latency: ['PublishToAckAge', 'PublishToAckAge', 'AckLatency', 'TimeSinceLastSuccess'],
      Pending: ['PendingEntries', 'ParkedEntries', 'OldestPendingAge'],
      Failures: [
        'FailedInvokeEventCount',
        'OverranEventCount',
        'PollingErrorCount',
        'UnsettledEventCount',
        'LostEventCount',
        'Errors',
        'Errors',
        'Throttles',
        'Throttles',
      ],
      Retries: ['RetriedEventCount', 'ReleasedEventCount', 'SupersededEventCount', 'ThrottledEventCount'],
      Redelivered: [
        'RedeliveredInvokedEventCount',
        'RedeliveredFailedInvokeEventCount',
        'RedeliveredDeletedEventCount',
        'DeliveryCount',
        'DeliveryCount',
      ],
      Errors: [undefined],
      'Dead letters': [
        'OnFailureDestinationDeliveredEventCount',
        'OnFailureDestinationDeliveryErrorCount',
        'DeadLetterLength',
      ],
      Memory: ['StreamLength', 'DeadLetterLength'],
    })
  })

  test('takes region and function names by reference', () => {
    const [, processing] = widgetsOf()

    expect(processing.properties.region).toBe('AWS::Region')
    expect(processing.properties.metrics).toEqual([
      [
        'Millrace',
        'InvokedEventCount',
        'service',
        'shop',
        'EventSource',
        'orders',
        'ConsumerGroup',
        'billing',
        { stat: 'Sum' },
      ],
      [
        'Millrace',
        'DeletedEventCount',
        'service',
        'shop',
        'EventSource',
        'orders',
        'ConsumerGroup',
        'billing',
        { stat: 'Sum' },
      ],
      [
        'Millrace',
        'FilteredOutEventCount',
        'service',
        'shop',
        'EventSource',
        'orders',
        'ConsumerGroup',
        'billing',
        { stat: 'Sum' },
      ],
      [
        'Millrace',
        'ScaledOutCount',
        'service',
        'shop',
        'EventSource',
        'orders',
        'ConsumerGroup',
        'billing',
        { stat: 'Sum' },
      ],
      [
        'AWS/Lambda',
        'Duration',
        'FunctionName',
        'PollerFn',
        { stat: 'Maximum', label: 'OrdersPoller Duration', yAxis: 'right' },
      ],
      [
        'AWS/Lambda',
        'Duration',
        'FunctionName',
        'ClaimerFn',
        { stat: 'Maximum', label: 'OrdersClaimer Duration', yAxis: 'right' },
      ],
    ])
  })

  test("shows ElastiCache's memory where a cache is given", () => {
    expect(
      widgetsOf({ cacheClusterId: { Ref: 'Cache' } })
        .at(-1)
        .properties.metrics.at(-1),
    ).toEqual([
      'AWS/ElastiCache',
      'DatabaseMemoryUsagePercentage',
      'CacheClusterId',
      'Cache',
      { stat: 'Maximum', yAxis: 'right' },
    ])
  })

  test('shows the alarms first, and their limits as lines', () => {
    const alarms = {
      topic: undefined,
      noPollMs: 180_000,
      tickMs: 60_000,
      oldestPendingMs: 900_000,
      maxLag: 500,
      deadLettersPer5Minutes: 0,
    }
    const [first, , , backlog, , pending] = widgetsOf({ alarms, alarmArns: [{ 'Fn::GetAtt': ['Lag', 'Arn'] }] })

    expect(first).toMatchObject({ type: 'alarm', properties: { alarms: ['Lag.Arn'] } })
    expect(backlog.properties.annotations.horizontal).toEqual([{ value: 500, label: 'Lag alarm' }])
    expect(pending.properties.annotations.horizontal).toMatchObject([{ value: 900_000, yAxis: 'right' }])
  })

  test('lays the graphs out in two columns without an overlap', () => {
    const places = widgetsOf({ alarmArns: ['arn'] }).map(({ x, y, width, height }) => [x, y, width, height])

    expect(places.slice(0, 4)).toEqual([
      [0, 0, 24, 3],
      [0, 3, 12, 6],
      [12, 3, 12, 6],
      [0, 9, 12, 6],
    ])
  })

  test('searches for the names of errors, in what it can quote', () => {
    const searchOf = (options: Partial<DashboardSubject>) =>
      widgetsOf(options).find(({ properties: { title } }) => title.startsWith('Errors:')).properties.metrics[0][0]
        .expression
    const schema = '{Millrace,service,EventSource,ConsumerGroup,ErrorName} MetricName="FailedInvokeEventCount"'

    expect(searchOf({})).toBe(
      `SEARCH('${schema} service="shop" EventSource="orders" ConsumerGroup="billing"', 'Sum', 60)`,
    )
    expect(searchOf({ service: { Ref: 'Service' }, stream: "it's" })).toBe(
      `SEARCH('${schema} ConsumerGroup="billing"', 'Sum', 60)`,
    )
  })
})

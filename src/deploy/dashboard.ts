import type { AlarmSettings } from './alarm-options.ts'
import { joinTemplateJson } from './join.ts'
import { type CloudWatchMetric, consumerMetric, functionMetric, type MetricSource } from './metrics.ts'
import type { CloudFormationResource, InvokedFunction } from './resources.ts'

/** What a consumer's dashboard shows. */
export interface DashboardSubject extends MetricSource {
  /** What the ids of the consumer's resources start with, as in `OrdersBilling`. */
  readonly id: string
  readonly poller: InvokedFunction
  readonly claimer: InvokedFunction
  /** Their limits are drawn as lines. */
  readonly alarms: AlarmSettings | false
  /** ARNs of the consumer's alarms, or references to them, shown first. */
  readonly alarmArns: readonly unknown[]
  /** `CacheClusterId` of the ElastiCache node whose memory is shown; each node of a cluster has its own. */
  readonly cacheClusterId?: unknown
}

type Statistic = 'Sum' | 'Maximum' | 'p50' | 'p99'

interface Line {
  readonly metric: CloudWatchMetric
  readonly statistic: Statistic
  readonly label?: unknown
  /** On the right axis, where its unit differs from the others'. */
  readonly right?: boolean
}

interface Graph {
  readonly title: string
  readonly lines: readonly Line[]
  /** Of metrics that are known by their dimensions only once they are written. */
  readonly search?: string | undefined
  readonly limit?: { readonly value: number; readonly label: string; readonly right?: boolean }
}

/** CloudWatch's grid is 24 wide; two graphs stand side by side. */
const GRAPH = { width: 12, height: 6 }
const ALARMS = { width: 24, height: 3 }
const PERIOD_SECONDS = 60

/** The dashboard of one consumer: a graph for each question that its reader asks, from what comes in to what it costs Redis. */
export function createDashboardResource(subject: DashboardSubject): CloudFormationResource {
  const { alarmArns } = subject
  const top = alarmArns.length === 0 ? 0 : ALARMS.height
  return {
    id: `${subject.id}Dashboard`,
    type: 'AWS::CloudWatch::Dashboard',
    properties: {
      DashboardName: { 'Fn::Join': ['-', [{ Ref: 'AWS::StackName' }, subject.id]] },
      DashboardBody: joinTemplateJson({
        widgets: [
          ...(alarmArns.length === 0 ? [] : [alarmWidget(subject, alarmArns)]),
          ...graphsOf(subject).map((graph, at) => graphWidget(graph, at, top)),
        ],
      }),
    },
  }
}

/** A line a metric of the consumer, or where `of` says so two of the functions, or one of the cache's node where there is one. */
interface LineRow {
  readonly name: string
  readonly statistic?: Statistic
  readonly right?: boolean
  readonly of?: 'functions' | 'cache'
}

interface GraphRow {
  readonly title: string
  readonly lines: readonly LineRow[]
  /** The metric of that name is drawn by the values of that further dimension. */
  readonly by?: { readonly name: string; readonly dimension: string }
  /** The alarm's option whose limit is drawn. */
  readonly limit?: { readonly option: 'maxLag' | 'oldestPendingMs'; readonly label: string; readonly right?: boolean }
}

const sums = (...names: readonly string[]): LineRow[] => names.map((name) => ({ name }))

const GRAPHS: readonly GraphRow[] = [
  { title: 'Input: entries read and claimed', lines: sums('PolledEventCount', 'ClaimedEventCount') },
  {
    title: 'Processing: handler calls, entries done or ignored, and further pollers started',
    lines: [
      ...sums('InvokedEventCount', 'DeletedEventCount', 'FilteredOutEventCount', 'ScaledOutCount'),
      { name: 'Duration', statistic: 'Maximum', right: true, of: 'functions' },
    ],
  },
  {
    title: 'Backlog: entries not delivered yet, and age of the last one read (ms)',
    lines: [
      { name: 'Lag', statistic: 'Maximum' },
      { name: 'IteratorAge', statistic: 'Maximum', right: true },
    ],
    limit: { option: 'maxLag', label: 'Lag alarm' },
  },
  {
    title:
      'Latency: from publishing to acknowledgement, from handler to acknowledgement, and time since the last success (ms)',
    lines: [
      { name: 'PublishToAckAge', statistic: 'p50' },
      { name: 'PublishToAckAge', statistic: 'p99' },
      { name: 'AckLatency', statistic: 'p99' },
      { name: 'TimeSinceLastSuccess', statistic: 'Maximum', right: true },
    ],
  },
  {
    title:
      'Pending: delivered and not done, how many of them are set aside, and time since the oldest was published (ms)',
    lines: [
      { name: 'PendingEntries', statistic: 'Maximum' },
      { name: 'ParkedEntries', statistic: 'Maximum' },
      { name: 'OldestPendingAge', statistic: 'Maximum', right: true },
    ],
    limit: { option: 'oldestPendingMs', label: 'OldestPendingAge alarm', right: true },
  },
  {
    title: 'Failures: of handlers, of polling, of invocations',
    lines: [
      ...sums(
        'FailedInvokeEventCount',
        'OverranEventCount',
        'PollingErrorCount',
        'UnsettledEventCount',
        'LostEventCount',
      ),
      { name: 'Errors', of: 'functions' },
      { name: 'Throttles', of: 'functions' },
    ],
  },
  {
    title: 'Retries: entries parked, handed back, taken by another',
    lines: sums('RetriedEventCount', 'ReleasedEventCount', 'SupersededEventCount', 'ThrottledEventCount'),
  },
  {
    title: 'Redelivered: handler calls of an entry’s second delivery and later, how they end, and which delivery it is',
    lines: [
      ...sums('RedeliveredInvokedEventCount', 'RedeliveredFailedInvokeEventCount', 'RedeliveredDeletedEventCount'),
      { name: 'DeliveryCount', statistic: 'p99', right: true },
      { name: 'DeliveryCount', statistic: 'Maximum', right: true },
    ],
  },
  {
    title: 'Errors: failures of handlers by the name of the error',
    lines: [],
    by: { name: 'FailedInvokeEventCount', dimension: 'ErrorName' },
  },
  {
    title: 'Dead letters: new, refused, and kept',
    lines: [
      ...sums('OnFailureDestinationDeliveredEventCount', 'OnFailureDestinationDeliveryErrorCount'),
      { name: 'DeadLetterLength', statistic: 'Maximum', right: true },
    ],
  },
  {
    title: "Memory: Redis's streams (entries), and ElastiCache's memory in use (%)",
    lines: [
      { name: 'StreamLength', statistic: 'Maximum' },
      { name: 'DeadLetterLength', statistic: 'Maximum' },
      { name: 'DatabaseMemoryUsagePercentage', statistic: 'Maximum', right: true, of: 'cache' },
    ],
  },
]

function graphsOf(subject: DashboardSubject): Graph[] {
  const { alarms } = subject
  return GRAPHS.map(({ title, lines, by, limit }) => {
    const graph = { title, lines: lines.flatMap((row) => linesOf(subject, row)), search: by && searchOf(subject, by) }
    if (!limit || !alarms) return graph
    const { option, ...drawn } = limit
    return { ...graph, limit: { value: alarms[option], ...drawn } }
  })
}

/** What a search may quote. */
const PLAIN = /^[\w.:{}/-]+$/

/** Names that a search cannot quote, and a service that only CloudFormation knows, are left out of it. */
function searchOf(
  { service, stream, group }: DashboardSubject,
  { name, dimension }: NonNullable<GraphRow['by']>,
): string {
  const named = { MetricName: name, service, EventSource: stream, ConsumerGroup: group }
  const terms = Object.entries(named).flatMap(([key, value]) =>
    typeof value === 'string' && PLAIN.test(value) ? `${key}="${value}"` : [],
  )
  const schema = `{Millrace,service,EventSource,ConsumerGroup,${dimension}}`
  return `SEARCH('${[schema, ...terms].join(' ')}', 'Sum', ${PERIOD_SECONDS})`
}

function linesOf(subject: DashboardSubject, { name, statistic = 'Sum', right = false, of }: LineRow): readonly Line[] {
  if (of === undefined) return [{ metric: consumerMetric(subject, name), statistic, right }]
  const { poller, claimer, cacheClusterId } = subject
  if (of === 'functions')
    return [poller, claimer].map((fn) => {
      return { metric: functionMetric(fn, name), statistic, label: `${fn.id} ${name}`, right }
    })
  if (cacheClusterId === undefined) return []
  const metric = { namespace: 'AWS/ElastiCache', name, dimensions: { CacheClusterId: cacheClusterId } }
  return [{ metric, statistic, right }]
}

function alarmWidget(subject: DashboardSubject, alarmArns: readonly unknown[]): object {
  return {
    type: 'alarm',
    x: 0,
    y: 0,
    ...ALARMS,
    properties: {
      title: `${subject.stream}/${subject.group}`,
      alarms: alarmArns,
    },
  }
}

function graphWidget({ title, lines, search, limit }: Graph, at: number, top: number): object {
  return {
    type: 'metric',
    x: (at % 2) * GRAPH.width,
    y: top + Math.floor(at / 2) * GRAPH.height,
    ...GRAPH,
    properties: {
      title,
      view: 'timeSeries',
      region: { Ref: 'AWS::Region' },
      period: PERIOD_SECONDS,
      metrics: [...lines.map(asMetric), ...(search === undefined ? [] : [[{ expression: search }]])],
      yAxis: { left: { min: 0 }, right: { min: 0 } },
      ...(limit && { annotations: { horizontal: [annotationOf(limit)] } }),
    },
  }
}

function annotationOf({ value, label, right }: NonNullable<Graph['limit']>): object {
  return { value, label, ...(right ? { yAxis: 'right' } : {}) }
}

/** `[namespace, name, dimension, value, …, { options }]`, as a dashboard's body spells a metric. */
function asMetric({ metric, statistic, label, right }: Line): readonly unknown[] {
  return [
    metric.namespace,
    metric.name,
    ...Object.entries(metric.dimensions).flat(),
    { stat: statistic, ...(label === undefined ? {} : { label }), ...(right ? { yAxis: 'right' } : {}) },
  ]
}

import type { InvokedFunction } from './resources.ts'

/** Where a consumer's metrics are found. */
export interface MetricSource {
  /** `POWERTOOLS_SERVICE_NAME` of its functions. */
  readonly service: unknown
  readonly stream: string
  readonly group: string
}

/** A metric by its CloudWatch identity. */
export interface CloudWatchMetric {
  readonly namespace: string
  readonly name: string
  readonly dimensions: Readonly<Record<string, unknown>>
}

/** A metric of a consumer's reports. The poller's and the claimer's have the same dimensions, and add up. */
export function consumerMetric({ service, stream, group }: MetricSource, name: string): CloudWatchMetric {
  return { namespace: 'Millrace', name, dimensions: { service, EventSource: stream, ConsumerGroup: group } }
}

/** A metric of a janitor's report. */
export function streamMetric({ service, stream }: Omit<MetricSource, 'group'>, name: string): CloudWatchMetric {
  return { namespace: 'Millrace', name, dimensions: { service, EventSource: stream } }
}

/** A metric that Lambda itself keeps of a function. */
export function functionMetric({ name }: InvokedFunction, metric: string): CloudWatchMetric {
  return { namespace: 'AWS/Lambda', name: metric, dimensions: { FunctionName: name } }
}

import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import { BoundedSample } from './sample.ts'

export type MetricDimensions = Readonly<Record<string, string>>

/** Metrics by name: a number, or how something is spread; `undefined` is left out, for a 0 in its place would be wrong. */
export type MetricValues = Readonly<Record<string, number | readonly number[] | undefined>>

/** CloudWatch takes 100 values of a metric, and with the hundredth Powertools writes a line out before it is complete. */
const MOST_VALUES = 99

const UNITS = [
  [/(Age|Idle|Latency|Duration|Success)$/, MetricUnit.Milliseconds],
  [/Bytes$/, MetricUnit.Bytes],
  [/Percentage$/, MetricUnit.Percent],
] as const

/** Metrics that share their dimensions, on their way to one line. */
export class MetricLine {
  readonly #dimensions: MetricDimensions
  readonly #values = new Map<string, number | BoundedSample>()

  constructor(dimensions: MetricDimensions) {
    this.#dimensions = dimensions
  }

  /** Numbers are added up, what is spread is joined. */
  add(values: MetricValues): void {
    // half of the time of Object.entries, at every call of a handler
    for (const name in values) {
      const value = values[name]
      const before = this.#values.get(name)
      if (typeof value === 'number') this.#values.set(name, value + ((before as number | undefined) ?? 0))
      else if (value) {
        const sample = (before as BoundedSample | undefined) ?? new BoundedSample()
        this.#values.set(name, sample)
        for (const one of value) sample.add(one)
      }
    }
  }

  /** Numbers take the place of what was added up. */
  set(values: Readonly<Record<string, number | undefined>>): void {
    for (const [name, value] of Object.entries(values)) if (value !== undefined) this.#values.set(name, value)
  }

  /**
   * It is written by a `Metrics` of its own, used once: what one of them stores (metrics, dimensions, metadata) would meet what the user's
   * code stores meanwhile, or the next line. Powertools shows its settings only in what it writes; a single metric has them and nothing of
   * what is stored.
   *
   * @param detail Dimensions of a second set, beside the first.
   */
  write(metrics: Metrics, detail?: MetricDimensions): void {
    const { _aws, service, ...others } = metrics.singleMetric().serializeMetrics()
    const namespace = _aws.CloudWatchMetrics[0]?.Namespace ?? ''
    const own = new Metrics({ namespace, defaultDimensions: { service: `${service}`, ...this.#dimensions } })
    if (detail) own.addDimensions({}).addDimensions(detail)
    for (const [name, value] of Object.entries(others)) own.addMetadata(name, `${value}`)
    for (const [name, value] of this.#values) {
      const unit = UNITS.find(([end]) => end.test(name))?.[1] ?? MetricUnit.Count
      // errors are counted where there are any
      const isNone = name.endsWith('ErrorCount') && (value as number) <= 0
      const values = value instanceof BoundedSample ? value.values(MOST_VALUES) : isNone ? [] : [value]
      for (const one of values) own.addMetric(name, unit, one)
    }
    own.publishStoredMetrics()
  }
}

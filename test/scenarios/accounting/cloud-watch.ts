/** What CloudWatch has of a metric: by its name and its exact dimensions, all values in the order they came. */
export interface CloudWatch {
  /** The values; none if there is no such metric. */
  values(name: string, dimensions: Readonly<Record<string, string>>): readonly number[]
  /** Their sum; 0 if there are none. */
  sum(name: string, dimensions: Readonly<Record<string, string>>): number
  /** The same of every set of dimensions that has this one's and one named `by` beside them: the sum by its value. */
  sumsBy(by: string, name: string, dimensions: Readonly<Record<string, string>>): Readonly<Record<string, number>>
}

interface Directive {
  readonly Namespace: string
  readonly Dimensions: readonly (readonly string[])[]
  readonly Metrics: readonly { readonly Name: string }[]
}

/**
 * Takes in lines of embedded metric format: a line counts once for each of its dimension sets.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function ingest(lines: readonly string[], namespace: string): CloudWatch {
  const metrics = new Map<string, { dimensions: Record<string, string>; values: number[] }>()
  for (const line of lines) {
    const { _aws, ...members } = JSON.parse(line) as Record<string, unknown>
    for (const directive of (_aws as { CloudWatchMetrics: Directive[] }).CloudWatchMetrics) {
      if (directive.Namespace !== namespace) continue
      for (const set of directive.Dimensions)
        for (const { Name } of directive.Metrics) {
          const dimensions = Object.fromEntries(set.map((name) => [name, String(members[name])]))
          const key = keyOf(Name, dimensions)
          const metric = metrics.get(key) ?? { dimensions, values: [] }
          metrics.set(key, metric)
          metric.values.push(...([members[Name]].flat() as number[]))
        }
    }
  }
  const values: CloudWatch['values'] = (name, dimensions) => metrics.get(keyOf(name, dimensions))?.values ?? []
  return {
    values,
    sum: (name, dimensions) => total(values(name, dimensions)),
    sumsBy(by, name, dimensions) {
      const found = [...metrics].filter(([key, metric]) => {
        const { [by]: value, ...others } = metric.dimensions
        return (
          value !== undefined &&
          key === keyOf(name, metric.dimensions) &&
          keyOf(name, others) === keyOf(name, dimensions)
        )
      })
      return Object.fromEntries(found.map(([, metric]) => [metric.dimensions[by], total(metric.values)]))
    },
  }
}

function keyOf(name: string, dimensions: Readonly<Record<string, string>>): string {
  return JSON.stringify([name, Object.entries(dimensions).sort(([a], [b]) => (a < b ? -1 : 1))])
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}

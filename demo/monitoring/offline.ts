import type { Summary } from '../../examples/monitoring/rollups.ts'

/** A sample as its sender has it. */
export interface Sample {
  readonly source: string
  readonly metric: string
  /** Decimal text. */
  readonly value: string
  /** Milliseconds since 1970. */
  readonly at: number
}

/** Samples by the bucket that they belong to. */
export function intoBuckets(samples: readonly Sample[], bucketMs: number): Map<number, Sample[]> {
  return Map.groupBy(samples, ({ at }) => Math.floor(at / bucketMs) * bucketMs)
}

/** The same figures from all samples at once, exact quantiles included: it shares no code with the system. */
export function computeOffline(samples: readonly Sample[]): Summary {
  // -0 + 0 is 0
  const values = samples.map(({ value }) => Number(value) + 0).sort((a, b) => a - b)
  const at = (quantile: number) => values[Math.floor(quantile * (values.length - 1))] as number
  const sum = samples.reduce((total, { value }) => total + microsOf(value), 0n)
  return {
    count: values.length,
    sum: sumText(sum),
    min: at(0),
    max: at(1),
    p50: at(0.5),
    p99: at(0.99),
  }
}

function microsOf(value: string): bigint {
  const [whole, fraction = ''] = value.split('.')
  return BigInt(`${whole}${fraction.padEnd(6, '0')}`)
}

function sumText(micros: bigint): string {
  const sign = micros < 0n ? '-' : ''
  const absolute = micros < 0n ? -micros : micros
  return `${sign}${absolute / 1_000_000n}.${String(absolute % 1_000_000n).padStart(6, '0')}`
}

/** Whether count, sum, least and most are the same. */
export function isSame(exact: Summary, summary: Summary | undefined): boolean {
  return (['count', 'sum', 'min', 'max'] as const).every((name) => summary?.[name] === exact[name])
}

/** How far the worse of both quantiles is off, relative to the exact one. */
export function quantileError(exact: Summary, summary: Summary | undefined): number {
  const errorOf = (name: 'p50' | 'p99') => {
    const [right, got] = [exact[name], summary?.[name] ?? Number.NaN]
    return right === got ? 0 : Math.abs(got - right) / Math.abs(right)
  }
  return Math.max(errorOf('p50'), errorOf('p99'))
}

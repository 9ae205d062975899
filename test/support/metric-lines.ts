import { vi } from 'vitest'

/** What a test wrote to the process's outputs, past the console that Lambda adds to: where Powertools writes. */
export function captureOutput(): string[] {
  const written: string[] = []
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      written.push(...String(chunk).trimEnd().split('\n'))
      return true
    })
  }
  return written
}

/** A line of embedded metric format, read as CloudWatch does. */
export interface MetricLine {
  /** Names and values of the last of its dimension sets. */
  readonly dimensions: Readonly<Record<string, string>>
  readonly sets: readonly (readonly string[])[]
  readonly metrics: Readonly<Record<string, number | readonly number[]>>
  readonly units: Readonly<Record<string, string>>
}

export function readMetricLine(line = ''): MetricLine {
  const emf = JSON.parse(line)
  const [{ Dimensions: sets, Metrics: defined }] = emf._aws.CloudWatchMetrics
  const pick = (names: string[]) => Object.fromEntries(names.map((name) => [name, emf[name]]))
  return {
    sets,
    dimensions: pick(sets.at(-1)),
    metrics: pick(defined.map(({ Name }: { Name: string }) => Name)),
    units: Object.fromEntries(defined.map(({ Name, Unit }: { Name: string; Unit: string }) => [Name, Unit])),
  }
}

/** Compares pairs of numbers and of lists, and keeps what differs. */
export class Ledger {
  readonly differences: string[] = []

  equal(what: string, found: number | string | undefined, expected: number | string | undefined): void {
    if (found !== expected) this.differences.push(`${what}: ${found} must be ${expected}`)
  }

  atMost(what: string, found: number, most: number): void {
    if (!(found <= most)) this.differences.push(`${what}: ${found} must be at most ${most}`)
  }

  /** The same values, each as often; their order does not matter. */
  same(what: string, found: readonly (string | number)[], expected: readonly (string | number)[]): void {
    const missing = without(expected, found)
    const excess = without(found, expected)
    if (missing.length + excess.length > 0)
      this.differences.push(`${what}: missing ${JSON.stringify(missing)}, beyond it ${JSON.stringify(excess)}`)
  }

  /** Nothing is in the list. */
  none(what: string, found: readonly unknown[]): void {
    if (found.length > 0) this.differences.push(`${what}: ${found.join('; ')}`)
  }
}

/** What is in a list and not in another, each as often as there. */
export function without<T>(values: readonly T[], others: readonly T[]): T[] {
  const counts = countBy(others)
  return values.filter((value) => {
    const count = counts.get(value) ?? 0
    counts.set(value, count - 1)
    return count <= 0
  })
}

export function countBy<T>(values: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

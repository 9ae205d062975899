import type { Contender } from './contender.ts'
import { expectEqual } from './contender.ts'

/**
 * Lets a contender handle `count` events and checks that it did.
 *
 * @param meanwhile Runs the measured part; for counting around it.
 * @returns Events a second.
 */
export async function measure(
  contender: Contender,
  round: string,
  count: number,
  meanwhile: (work: () => Promise<void>) => Promise<void> = (work) => work(),
): Promise<number> {
  let handled = 0
  let elapsedMs = 0
  await contender.prepare(round)
  await meanwhile(async () => {
    const start = performance.now()
    await contender.consume(async () => {
      handled++
    }, count)
    elapsedMs = performance.now() - start
  })
  expectEqual(`events handled by ${contender.name}`, handled, count)
  await contender.check(count)
  return (count / elapsedMs) * 1_000
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}

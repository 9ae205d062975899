/** Milliseconds of the machine's monotonic clock, the same for all its processes. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000

/** Milliseconds from one moment to another. */
export interface Interval {
  readonly from: number
  readonly to: number
}

const TICK_MS = 50
const LATE_MS = 200

/** Reports when this process's event loop stood still: it was frozen, blocked, or got no processor. */
export function watchStandstill(onStandstill: (interval: Interval) => void): () => void {
  let last = now()
  const timer = setInterval(() => {
    const from = last
    last = now()
    if (last - from > TICK_MS + LATE_MS) onStandstill({ from, to: last })
  }, TICK_MS)
  timer.unref()
  return () => clearInterval(timer)
}

/** Asks again and again, and reports when no answer came for long: a disk that is slow holds the whole server up. */
export function watchAnswers(ask: () => Promise<unknown>, onSilence: (interval: Interval) => void): () => void {
  let isAsking = false
  async function look(): Promise<void> {
    if (isAsking) return
    isAsking = true
    const from = now()
    await ask().catch(() => {})
    isAsking = false
    if (now() - from > LATE_MS) onSilence({ from, to: now() })
  }
  const timer = setInterval(() => void look(), TICK_MS)
  timer.unref()
  return () => clearInterval(timer)
}

/** The intervals in order, those that touch made one. */
export function merged(intervals: readonly Interval[]): Interval[] {
  const result: Interval[] = []
  for (const { from, to } of intervals.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1)
    if (last && from <= last.to) result.splice(-1, 1, { from: last.from, to: Math.max(last.to, to) })
    else result.push({ from, to })
  }
  return result
}

/** Milliseconds of a span that the intervals cover, each moment once. */
export function coveredMs(intervals: readonly Interval[], span: Interval): number {
  const parts = merged(intervals).map(({ from, to }) => Math.min(to, span.to) - Math.max(from, span.from))
  return parts.reduce((sum, ms) => sum + Math.max(0, ms), 0)
}

export const overlap = (a: Interval, b: Interval): boolean => a.from <= b.to && b.from <= a.to

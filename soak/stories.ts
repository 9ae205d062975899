import type { Call, Evidence } from './evidence.ts'
import { KINDS } from './kinds.ts'
import type { Letter, StreamEntry } from './observer.ts'

/** An entry with all that became of it. */
export interface Story {
  readonly entry: StreamEntry
  /** In the order in which they started. */
  readonly calls: readonly Call[]
  readonly letters: readonly Letter[]
  /** Still pending, or not delivered yet. */
  readonly isOpen: boolean
}

/** One per stream entry, in the stream's order. */
export function storiesOf({ holdings, processes }: Evidence): Story[] {
  const calls = Map.groupBy(
    processes.flatMap((process) => process.calls).sort((a, b) => a.startedAt - b.startedAt),
    ({ entryId }) => entryId,
  )
  const letters = Map.groupBy(holdings.letters, ({ entryId }) => entryId)
  const { entries, backlog, pending } = holdings
  const open = new Set([...pending, ...entries.slice(entries.length - backlog)].map(({ id }) => id))
  return entries.map((entry) => ({
    entry,
    calls: calls.get(entry.id) ?? [],
    letters: letters.get(entry.id) ?? [],
    isOpen: open.has(entry.id),
  }))
}

export const isHandled = ({ calls }: Story): boolean => calls.some(({ ending }) => ending === 'succeeded')

export const isLost = (story: Story): boolean => !isHandled(story) && story.letters.length === 0 && !story.isOpen

/** Dead-lettered, though nothing but faults could fail it. */
export const isUnlucky = ({ entry, letters }: Story): boolean =>
  letters.length > 0 && KINDS[entry.kind]?.fate === 'handled'

/** Each call that followed another of its entry, with the one before it. */
export function repeatsOf({ calls }: Story): [before: Call, after: Call][] {
  return calls.slice(1).map((call, n) => [calls[n] as Call, call])
}

/** Whether a call had failed by then, so that another had to follow. */
export const hasFailed = ({ ending, endedAt = 0 }: Call, at: number): boolean => ending === 'failed' && endedAt <= at

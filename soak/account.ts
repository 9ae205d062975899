import type { Evidence } from './evidence.ts'
import type { Excuse } from './explain.ts'
import { excuseOf } from './explain.ts'
import type { Delayed } from './publish.ts'
import { RULES } from './rules.ts'
import type { Story } from './stories.ts'
import { hasFailed, isHandled, isLost, isUnlucky, repeatsOf, storiesOf } from './stories.ts'

/** A promise that was broken, and where; no payload. */
interface Breach {
  readonly rule: string
  readonly detail: string
}

/** What the soak comes to. */
export interface Account {
  /** Events, delayed ones included. */
  readonly published: number
  /** Delayed events, and those of them that were cancelled in time. */
  readonly delayed: number
  readonly cancelled: number
  readonly entries: number
  /** Entries whose handler succeeded at least once. */
  readonly handled: number
  /** Entries that were neither handled nor dead-lettered and are not there to be, and events that were published and are not in the stream. */
  readonly lost: number
  /** Calls that followed a failure: retries, and no duplicates. */
  readonly retries: number
  /** Calls that followed one which had not failed, and entries whose event stood in the stream already. */
  readonly duplicates: ReadonlyMap<Duplicate, number>
  readonly deadLetters: ReadonlyMap<string, number>
  /** Dead letters of entries that nothing but faults could fail. */
  readonly unlucky: number
  readonly invocations: number
  readonly failedInvocations: number
  readonly breaches: readonly Breach[]
}

type Duplicate = Excuse | 'its event was written twice' | 'unexplained'

/** Compares what was published with what became of it, by what all processes noted and what the server holds in the end. */
export function accountFor(evidence: Evidence): Account {
  const { published, delayed, holdings, processes } = evidence
  const stories = storiesOf(evidence)
  const invocations = processes.flatMap((process) => process.invocations)
  const known = new Set(holdings.entries.map(({ id }) => id))
  const events = new Set(holdings.entries.map(({ eventId }) => eventId))
  const hasGone = ({ eventId, cancelled }: Delayed) => cancelled !== 'cancelled' && !events.has(eventId)
  return {
    published: new Set([...published, ...delayed].map(({ eventId }) => eventId)).size,
    delayed: delayed.length,
    cancelled: delayed.filter(({ cancelled }) => cancelled === 'cancelled').length,
    entries: stories.length,
    handled: stories.filter(isHandled).length,
    lost:
      stories.filter(isLost).length +
      published.filter(({ entryId }) => !known.has(entryId)).length +
      delayed.filter(hasGone).length,
    retries: stories.flatMap(repeatsOf).filter(([before, { startedAt }]) => hasFailed(before, startedAt)).length,
    duplicates: duplicatesOf(stories),
    deadLetters: countBy(holdings.letters.map(({ reason }) => reason)),
    unlucky: stories.filter(isUnlucky).length,
    invocations: invocations.length,
    failedInvocations: invocations.filter(({ failure }) => failure !== undefined).length,
    breaches: RULES.flatMap((one) => one.broken(evidence, stories).map((detail) => ({ rule: one.rule, detail }))),
  }
}

function duplicatesOf(stories: readonly Story[]): ReadonlyMap<Duplicate, number> {
  const repeated = stories
    .flatMap(repeatsOf)
    .filter(([before, { startedAt }]) => !hasFailed(before, startedAt))
    .map(([before, after]): Duplicate => excuseOf(before, after.startedAt, after) ?? 'unexplained')
  const twice = stories.length - new Set(stories.map(({ entry }) => entry.eventId)).size
  return countBy<Duplicate>([
    ...repeated,
    ...Array.from({ length: twice }, () => 'its event was written twice' as const),
  ])
}

/** How often each value occurs, the most frequent first. */
export function countBy<T>(values: readonly T[]): ReadonlyMap<T, number> {
  const counts = new Map<T, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return new Map([...counts].sort(([, a], [, b]) => b - a))
}

import type { Call, Evidence, Invocation, Process } from './evidence.ts'
import { excuseOf, isDisturbed, isHeldUp } from './explain.ts'
import { KINDS } from './kinds.ts'
import type { ReportNumbers } from './notes.ts'
import type { Letter } from './observer.ts'
import { SETTINGS } from './settings.ts'
import type { Story } from './stories.ts'
import { hasFailed, isLost, repeatsOf } from './stories.ts'

/** What must hold whatever was done to the processes and the server. */
export interface Rule {
  readonly rule: string
  /** Where it does not: a line each, by entry id or process, without payloads. */
  broken(evidence: Evidence, stories: readonly Story[]): string[]
}

const { maxDeliveries, minIdleMs } = SETTINGS
/** Between an answer of the server and the handlers that start after it. */
const REPLY_MS = 500
/** Two clocks are compared, and an entry id's has no fractions. */
const CLOCK_MS = 50
/** Timers may be early by less than a millisecond. */
const TIMER_MS = 5
/** A handler whose time is over notes it after the package has gone on. */
const LATE_NOTE_MS = 20

export const RULES: readonly Rule[] = [
  {
    rule: 'no entry is lost',
    broken: (_, stories) =>
      stories.filter(isLost).map(({ entry, calls }) => `${entry.id}: ${entry.kind}, ${calls.length} calls`),
  },
  {
    rule: 'what cannot succeed is dead-lettered',
    broken: (_, stories) =>
      stories
        .filter(
          ({ entry, letters, isOpen }) => KINDS[entry.kind]?.fate !== 'handled' && letters.length === 0 && !isOpen,
        )
        .map((story) => `${story.entry.id}: ${story.entry.kind}, ${tale(story)}`),
  },
  {
    rule: 'what was published is in the stream',
    broken({ published, holdings }) {
      const known = new Set(holdings.entries.map(({ id }) => id))
      return published.filter(({ entryId }) => !known.has(entryId)).map(({ entryId, kind }) => `${entryId}: ${kind}`)
    },
  },
  {
    rule: 'a delayed event enters the stream once, and never if it was cancelled',
    broken({ delayed, holdings }) {
      const entries = Map.groupBy(holdings.entries, ({ eventId }) => eventId)
      return delayed.flatMap(({ eventId, kind, cancelled }) => {
        const ids = (entries.get(eventId) ?? []).map(({ id }) => id)
        const due = cancelled === 'cancelled' ? 0 : 1
        return ids.length === due ? [] : [`${eventId}: ${kind}, ${cancelled ?? 'not cancelled'}, entries [${ids}]`]
      })
    },
  },
  {
    rule: 'a delayed event never enters the stream before its time',
    broken({ delayed, holdings }) {
      const dueAt = new Map(delayed.map(({ eventId, deliverAt }) => [eventId, deliverAt]))
      return holdings.entries.flatMap(({ id, eventId }) => {
        const earlyMs = (dueAt.get(eventId) ?? 0) - Number.parseInt(id, 10)
        return earlyMs > 0 ? [`${eventId}: as ${id}, ${earlyMs} ms early`] : []
      })
    },
  },
  {
    rule: 'who cancels a delayed event for the first time did, or comes too late',
    broken: ({ delayed }) =>
      delayed
        .filter(({ cancelled = 'cancelled' }) => cancelled !== 'cancelled' && cancelled !== 'too-late')
        .map(({ eventId, cancelled }) => `${eventId}: ${cancelled}`),
  },
  {
    rule: 'reports promote no more than entered the stream',
    broken(evidence) {
      const reported = reports(evidence).reduce((sum, [, { promoted }]) => sum + promoted, 0)
      const ids = new Set(evidence.delayed.map(({ eventId }) => eventId))
      const entered = evidence.holdings.entries.filter(({ eventId }) => ids.has(eventId)).length
      return reported > entered ? [`${reported} reported, ${entered} entries`] : []
    },
  },
  {
    rule: 'nothing is left in the end',
    broken: ({ holdings: { pending, backlog, sideKeys } }) => [
      ...pending.map(({ id, owner, deliveryCount }) => `${id}: pending under ${owner}, delivery ${deliveryCount}`),
      ...(backlog > 0 ? [`${backlog} entries were never delivered`] : []),
      ...sideKeys.map((key) => `key ${key}`),
    ],
  },
  {
    rule: 'no entry is dead-lettered twice',
    broken: (_, stories) =>
      stories
        .filter(({ letters }) => letters.length > 1)
        .map(({ entry, letters }) => `${entry.id}: ${letters.map(({ id, reason }) => `${reason} ${id}`).join(', ')}`),
  },
  {
    rule: 'a dead letter is one of the stream’s entries',
    broken({ holdings: { letters, entries } }) {
      const known = new Set(entries.map(({ id }) => id))
      return letters.filter(({ entryId }) => !known.has(entryId)).map(({ id, entryId }) => `${id} of ${entryId}`)
    },
  },
  {
    rule: 'no entry is called more than maxDeliveries times',
    broken: (_, stories) =>
      stories
        .filter(({ calls }) => calls.length > maxDeliveries)
        .map((story) => `${story.entry.id}: ${story.calls.length} calls, ${tale(story)}`),
  },
  {
    rule: 'each delivery of an entry is called once',
    broken: (_, stories) =>
      stories
        .filter(({ calls }) => new Set(calls.map(({ deliveryCount }) => deliveryCount)).size < calls.length)
        .map((story) => `${story.entry.id}: ${tale(story)}`),
  },
  {
    rule: 'a delivery that no handler saw was lost to a fault',
    broken: (evidence, stories) => stories.flatMap((story) => unseen(story, evidence)),
  },
  {
    rule: 'an entry is called again only if its outcome was a failure or could not be known',
    broken: (_, stories) =>
      stories.flatMap((story) =>
        repeatsOf(story)
          .filter(([before, after]) => !hasFailed(before, after.startedAt) && !excuseOf(before, after.startedAt, after))
          .map(
            ([before, after]) =>
              `${story.entry.id}: delivery ${after.deliveryCount} after ${before.deliveryCount}, ${tale(story)}`,
          ),
      ),
  },
  {
    rule: 'a failed entry is not called again before its time',
    broken: (_, stories) =>
      stories.flatMap((story) =>
        repeatsOf(story)
          .filter(([before, after]) => {
            const { startedAt } = after
            const { ending, endedAt = 0, waitMs = 0 } = before
            const isEarly = ending === 'failed' && startedAt < endedAt + waitMs - TIMER_MS
            return isEarly && !excuseOf(before, startedAt, after)
          })
          .map(([{ waitMs }]) => `${story.entry.id}: ${waitMs} ms asked for, ${tale(story)}`),
      ),
  },
  {
    rule: 'an entry is not called after its dead letter',
    broken: ({ serverEpochMs }, stories) =>
      stories.flatMap((story) =>
        story.letters.flatMap((letter) =>
          story.calls
            .filter(({ startedAt, process }) => {
              const isLate = startedAt > timeOf(letter, serverEpochMs) + CLOCK_MS
              return isLate && !isHeldUp(process, startedAt)
            })
            .map(() => `${story.entry.id}: ${tale(story)}`),
        ),
      ),
  },
  {
    rule: 'a dead letter has its reason',
    broken: ({ serverEpochMs }, stories) =>
      stories.flatMap((story) =>
        story.letters.flatMap((letter) =>
          hasReason(story, letter, timeOf(letter, serverEpochMs) + CLOCK_MS)
            ? []
            : [
                `${story.entry.id}: ${story.entry.kind}, ${letter.reason} at delivery ${letter.deliveryCount}, ${tale(story)}`,
              ],
        ),
      ),
  },
  {
    rule: 'an entry whose processes died runs alone from its third delivery on',
    broken: (_, stories) =>
      stories.flatMap((story) =>
        repeatsOf(story)
          .filter(([before, after]) => isSuspect(before, after) && !isAlone(after))
          .map(([, { deliveryCount }]) => `${story.entry.id}: delivery ${deliveryCount}, ${tale(story)}`),
      ),
  },
  {
    rule: 'what the codec cannot read reaches no handler',
    broken: (_, stories) =>
      stories.filter(({ entry, calls }) => calls.length > 0 && !KINDS[entry.kind]?.act).map(({ entry }) => entry.id),
  },
  {
    rule: 'nothing starts while it is paused',
    broken: ({ processes, pauses }) =>
      processes.flatMap((process) =>
        process.calls
          .filter(({ startedAt }) =>
            pauses.some(({ from, to }) => {
              const span = { from: from + minIdleMs / 3, to: startedAt }
              return startedAt > span.from + REPLY_MS && startedAt < to && !isDisturbed(process, { ...span, from })
            }),
          )
          .map(({ entryId, startedAt }) => `${nameOf(process)}: ${entryId} at ${Math.round(startedAt)}`),
      ),
  },
  {
    rule: 'consumer names are those of slots, claimers and parked',
    broken: ({ holdings }) => holdings.consumerNames.filter((name) => !NAMES.has(name)),
  },
  {
    rule: 'a report adds up',
    broken: (evidence) =>
      reports(evidence)
        .filter(([, report]) => difference(report) !== 0)
        .map(([where, report]) => `${where}: off by ${difference(report)}`),
  },
  {
    rule: 'no report speaks of a lost entry or a lost group',
    broken: (evidence) =>
      reports(evidence)
        .filter(([, { lost, groupRecreated }]) => lost > 0 || groupRecreated)
        .map(([where, { lost, groupRecreated }]) => `${where}: lost ${lost}, groupRecreated ${groupRecreated}`),
  },
  {
    rule: 'an invocation fails only if its server or connection did',
    broken: ({ processes }) =>
      processes.flatMap((process) =>
        process.invocations
          .filter(
            ({ failure, startedAt, endedAt = 0 }) => failure && !isDisturbed(process, { from: startedAt, to: endedAt }),
          )
          .map(({ number, failure }) => `${nameOf(process, number)}: ${failure}`),
      ),
  },
  {
    rule: 'an invocation ends in time',
    broken: ({ processes }) =>
      processes
        .filter((process) => process.end === 'timed out' && !process.isPoisoned && !wasHalted(process))
        .map((process) => nameOf(process, process.invocations.at(-1)?.number)),
  },
  {
    rule: 'a process ends by itself only if a poison ends it',
    broken: ({ processes }) =>
      processes.filter(({ end, isPoisoned }) => end === 'by itself' && !isPoisoned).map((process) => nameOf(process)),
  },
]

const NAMES = new Set([
  ...Array.from({ length: SETTINGS.maxPollers }, (_, n) => `poller-${n}`),
  'claimer-0',
  'claimer-1',
  'parked',
])

/** Deliveries of an entry that no handler saw, though nothing was done to any process between those before and after it. */
function unseen({ entry, calls, letters }: Story, { processes, serverEpochMs }: Evidence): string[] {
  if (!KINDS[entry.kind]?.act) return []
  const moments = [
    { deliveryCount: 0, at: Number(entry.id.split('-')[0]) - serverEpochMs },
    ...calls.map(({ deliveryCount, startedAt }) => ({ deliveryCount, at: startedAt })),
    ...letters.map((letter) => ({ deliveryCount: letter.deliveryCount + 1, at: timeOf(letter, serverEpochMs) })),
  ].sort((a, b) => a.deliveryCount - b.deliveryCount)
  return moments.slice(1).flatMap(({ deliveryCount, at: to }, n) => {
    const { deliveryCount: before, at: from } = moments[n] as (typeof moments)[number]
    if (deliveryCount - before <= 1 || processes.some((process) => isTroubled(process, from, to))) return []
    return [`${entry.id}: deliveries ${before + 1} to ${deliveryCount - 1}`]
  })
}

function isTroubled(process: Process, from: number, to: number): boolean {
  return (process.diedAt >= from && process.diedAt <= to) || isDisturbed(process, { from, to })
}

/** Whether it is the letter of its kind and its last delivery's end, or of deliveries that were all hit. */
function hasReason({ entry, calls }: Story, letter: Letter, at: number): boolean {
  const { reason, deliveryCount } = letter
  const fate = KINDS[entry.kind]?.fate
  const last = calls.find((call) => call.deliveryCount === deliveryCount)
  if (reason === 'malformed') return fate === 'malformed'
  if (reason === 'crashed') {
    const isExcused = !last || excuseOf(last, at) !== undefined
    return deliveryCount === maxDeliveries && isExcused
  }
  if (last?.ending !== 'failed') return false
  if (reason === 'max-deliveries')
    return (
      deliveryCount === maxDeliveries &&
      fate !== 'crashed' &&
      fate !== 'non-retryable' &&
      (fate === reason || last.timedOut === true)
    )
  return reason === 'non-retryable' && fate === reason
}

function reports({ processes }: Evidence): [where: string, report: ReportNumbers][] {
  return processes.flatMap((process) =>
    process.invocations.flatMap(({ number, report }: Invocation): [string, ReportNumbers][] =>
      report ? [[nameOf(process, number), report]] : [],
    ),
  )
}

/** Whether the process died in the middle of the delivery before, so that this entry may be what killed it. */
function isSuspect(before: Call, { deliveryCount, startedAt }: Call): boolean {
  const { ending, process } = before
  return deliveryCount > 2 && before.deliveryCount === deliveryCount - 1 && !ending && process.diedAt <= startedAt
}

/** Whether nothing else ran in its process meanwhile; what ran before it may have noted its time-out a moment late. */
function isAlone(call: Call): boolean {
  const { process, startedAt, endedAt = process.diedAt } = call
  return process.calls.every(
    (other) =>
      other === call || other.startedAt > endedAt || (other.endedAt ?? process.diedAt) < startedAt + LATE_NOTE_MS,
  )
}

/** What is left of the promise that a report adds up: 0. */
function difference(report: ReportNumbers): number {
  const { read, claimed, acked, ignored, retried, deadLettered, parked, released, superseded, unsettled } = report
  return read + claimed - (acked + ignored + retried + deadLettered + parked + released + superseded + unsettled)
}

/** Frozen, or without a processor, in its last invocation. */
function wasHalted(process: Process): boolean {
  const from = process.invocations.at(-1)?.startedAt ?? process.startedAt
  return process.hindrances.some(
    ({ why, to }) => to >= from && (why === 'its process was frozen' || why === 'its event loop stood still'),
  )
}

const timeOf = ({ id }: Letter, serverEpochMs: number): number => Number(id.split('-')[0]) - serverEpochMs

const nameOf = ({ name, action }: Process, invocation?: number): string =>
  `${name} (${action})${invocation === undefined ? '' : `, invocation ${invocation}`}`

/** An entry's calls in short. */
function tale({ calls }: Story): string {
  const first = calls[0]?.startedAt ?? 0
  return calls
    .map(({ deliveryCount, process, startedAt, endedAt, ending = 'never ended' }) => {
      const end = endedAt === undefined ? '' : ` +${Math.round(endedAt - startedAt)}`
      return `#${deliveryCount} ${process.name} at ${Math.round(startedAt - first)}${end} ${ending}`
    })
    .join('; ')
}

import type { Event } from 'millrace'
import { NonRetryableError } from 'millrace'
import { STREAMS } from '../events/activity.ts'
import type { Command, Reply } from '../shared/ask.ts'
import { pairsOf } from '../shared/ask.ts'
import { DAY_MS, HOUR_MS, isoOf, MINUTE_MS, startOf, timeOf } from '../shared/time.ts'

/** A window of distinct users, and of the detector. */
export const SLICE_MS = 5 * MINUTE_MS
/** How long after it happened an event may be published and still count in its window. */
export const ALLOWED_LATENESS_MS = 10 * MINUTE_MS
/** How far a producer's clock may run ahead of the server's. */
const ALLOWED_AHEAD_MS = 5 * MINUTE_MS

/** Steps of the funnel. Who is at one has passed those before. */
export const STEPS = ['viewed', 'carted', 'bought'] as const
export type Step = (typeof STEPS)[number]
export type Ranking = 'pages' | 'skus'

const key = (what: string, ms: number, windowMs: number) =>
  `{${STREAMS.actions}}:stats:${what}:${isoOf(startOf(ms, windowMs)).slice(0, 16)}`

/** Beside the stream, in its hash slot, named by the start of their window. */
export const keys = {
  /** A hash: `07:views` is how many in minute 7 of the hour. */
  sums: (ms: number) => key('sums', ms, HOUR_MS),
  /** A HyperLogLog of users. */
  active: (ms: number) => key('active', ms, SLICE_MS),
  /** A set of sessions. */
  step: (step: Step, ms: number) => key(step, ms, HOUR_MS),
  /** A sorted set: a name and how often. */
  ranking: (ranking: Ranking, ms: number) => key(ranking, ms, HOUR_MS),
  /** A sorted set: sessions and when they were last heard of. */
  seen: `{${STREAMS.actions}}:stats:seen`,
  /** Likewise: those that logged out, and when. */
  ended: `{${STREAMS.actions}}:stats:ended`,
  /** A text: who sends the alert of the episode that began then, or that it was sent. */
  alert: (ms: number) => key('alert', ms, SLICE_MS),
  /** A text: until when all windows were compared, and what was unusual in them was sent. */
  checked: `{${STREAMS.actions}}:stats:alert:checked`,
  /** A hash of a day: when an episode began, and its alert as JSON. */
  anomalies: (ms: number) => key('anomalies', ms, DAY_MS),
}

type Place = { readonly at: number; readonly refused?: 'late' | 'ahead' }

/**
 * Where an event belongs: into the windows of its time, or, `refused`, into the minute at which it was published, as one that came too late or too early.
 *
 * Its own time decides the window. Whether it is late is asked of the time at which it was published, which its entry's id says and no retry, redrive or
 * replay changes: none becomes late by waiting for its handler, and a window that is closed stays as it is.
 *
 * @throws {NonRetryableError} It does not say when it happened.
 */
export function placeOf({ occurredAt }: Pick<Event, 'occurredAt'>, entryId: string): Place {
  const at = timeOf(occurredAt)
  if (Number.isNaN(at)) throw new NonRetryableError('published_at must be a time in ISO 8601, or seconds since 1970')
  const publishedAt = Number(entryId.split('-')[0])
  if (publishedAt - at > ALLOWED_LATENESS_MS) return { at: publishedAt, refused: 'late' }
  return at - publishedAt > ALLOWED_AHEAD_MS ? { at: publishedAt, refused: 'ahead' } : { at }
}

/** What is summed up by minute. */
export const COUNTS = ['views', 'carts', 'removals', 'purchases', 'logouts', 'late', 'ahead'] as const
export type Measure = (typeof COUNTS)[number] | 'cents'

/** What was counted, by the start of its minute. */
export type Minutes = ReadonlyMap<number, Readonly<Partial<Record<Measure, bigint>>>>

/** The field of an hour's hash: `07:views`. */
export const sumField = (measure: Measure, ms: number) =>
  `${String(Math.floor(ms / MINUTE_MS) % 60).padStart(2, '0')}:${measure}`

export const sumsQuestion = (hour: number): Command => ['HGETALL', keys.sums(hour)]

/** Reads the answers to `sumsQuestion` of these hours. */
export function minutesOf(hours: readonly number[], answers: readonly Reply[]): Minutes {
  const minutes = new Map<number, Partial<Record<Measure, bigint>>>()
  for (const [n, hour] of hours.entries())
    for (const [field, value] of pairsOf(answers[n])) {
      const [minute, measure] = field.split(':') as [string, Measure]
      const at = hour + Number(minute) * MINUTE_MS
      minutes.set(at, { ...minutes.get(at), [measure]: BigInt(value) })
    }
  return minutes
}

/** Of the minutes from one to another, which is not included: a tumbling window, or a sliding one. */
export function sumOf(minutes: Minutes, measure: Measure, fromMs: number, toMs: number): bigint {
  let sum = 0n
  for (let at = fromMs; at < toMs; at += MINUTE_MS) sum += minutes.get(at)?.[measure] ?? 0n
  return sum
}

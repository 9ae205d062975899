import type { Consumer } from '../../define/consumer.ts'
import type { ConsumerSettings } from '../../define/consumer-settings.ts'
import { orderedConsumerOf } from '../inspect/ordered-consumer.ts'
import {
  FULL,
  fixOf,
  type MemoryPart,
  type MemoryParts,
  type MemorySetting,
  markerMsOf,
  memoryParts,
  partBytes,
  totalBytes,
} from '../sizing.ts'
import type { ResolvedPlanOptions } from './options.ts'

/** What a consumer's streams, and what lies beside them, take of the server's memory at most. */
export interface MemoryPlan {
  /** Bytes by what takes them. */
  readonly entries: MemoryPartPlan
  /** Entries in the hands of pollers and claimers. */
  readonly pending: MemoryPartPlan
  readonly setAside: MemoryPartPlan
  /** Of `idempotent` and of `deduplicateMs`. */
  readonly markers: MemoryPartPlan
  /** Events that are delayed. */
  readonly delays: MemoryPartPlan
  readonly deadLetters: MemoryPartPlan
  /** Together. */
  readonly bytes: number
  /** Milliseconds until the streams keep as many entries as they may; `Infinity` where none are published. */
  readonly windowMs: number
  /** The part of maxmemory that this is; left out where that is not given. */
  readonly used?: number
  /** What to change; left out where it fits, with a tenth of maxmemory to spare, or where maxmemory is not given. */
  readonly fix?: string
}

/** How many there are at most, and what they take. */
export interface MemoryPartPlan {
  readonly count: number
  readonly bytes: number
}

const MONTH_SECONDS = 30 * 86_400
const BYTES_PER_MB = 1_048_576

/**
 * Works out memory as rate × bytes × window. What a setting bounds is counted in full: that is where it comes to when something
 * fails for long. Dead letters are no more than the events of 30 days.
 */
export function memoryPlan(
  subject: Consumer | ConsumerSettings,
  settings: ConsumerSettings,
  options: ResolvedPlanOptions,
  streams: number,
): MemoryPlan {
  const { eventsPerSecond, retentionMs, maxLength, deduplicateMs, delayMs, entryBytes, maxmemoryMb } = options
  const within = (ms: number) => (eventsPerSecond * ms) / 1_000
  const bound = eventsPerSecond > 0 ? streams * maxLength : 0
  const entries = Math.round(retentionMs === undefined ? bound : within(retentionMs))
  const { maxPending, maxParked, maxDeadLetters } = settings
  const ttlMs = 'policies' in subject ? markerMsOf(subject) : 0
  const counts = {
    entries,
    pending: Math.min(entries, streams * maxPending),
    setAside: Math.min(entries, streams * maxParked),
    markers: Math.round(within(ttlMs + deduplicateMs)),
    delays: Math.round(within(delayMs)),
    deadLetters: Math.round(Math.min(streams * maxDeadLetters, eventsPerSecond * MONTH_SECONDS)),
  }
  const isOrdered = 'policies' in subject && orderedConsumerOf(subject) !== undefined
  const parts = memoryParts(counts, entryBytes, Number(isOrdered))
  const bytes = totalBytes(parts)
  const maxmemory = maxmemoryMb === undefined ? undefined : maxmemoryMb * BYTES_PER_MB
  return {
    ...plansOf(parts),
    bytes,
    windowMs: eventsPerSecond > 0 ? Math.round((1_000 * entries) / eventsPerSecond) : Infinity,
    ...(maxmemory !== undefined && { used: bytes / maxmemory }),
    ...(maxmemory !== undefined &&
      bytes > FULL * maxmemory && { fix: fixOf(settingsOf(parts, options, ttlMs, streams), bytes, FULL * maxmemory) }),
  }
}

function plansOf(parts: MemoryParts): Record<keyof MemoryParts, MemoryPartPlan> {
  const plans = Object.entries(parts).map(([part, size]) => [part, { count: size.count, bytes: partBytes(size) }])
  return Object.fromEntries(plans)
}

/** What bounds each part, for one stream of a set. */
function settingsOf(
  parts: MemoryParts,
  { retentionMs, deduplicateMs, delayMs }: ResolvedPlanOptions,
  ttlMs: number,
  streams: number,
): MemorySetting[] {
  const setting = (part: MemoryPart, name: string, value = parts[part].count / streams) => ({
    part,
    name,
    value,
    bytes: partBytes(parts[part]),
  })
  return [
    retentionMs === undefined ? setting('entries', 'maxLength') : setting('entries', 'retentionMs', retentionMs),
    setting('pending', 'maxPending'),
    setting('setAside', 'maxParked'),
    setting('deadLetters', 'deadLetters.maxLength'),
    ttlMs > deduplicateMs
      ? setting('markers', 'ttlMs of idempotent', ttlMs)
      : setting('markers', 'deduplicateMs', deduplicateMs),
    setting('delays', 'the delays', delayMs),
  ]
}

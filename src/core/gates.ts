/**
 * What the script that passes gates answers for each operation: one of these letters, and a time of the server in milliseconds since 1970 where one
 * belongs to it.
 */
export const GATE_ANSWERS = {
  /** It may start, at that time. */
  pass: 'p',
  /** It may start now, as the probe of its circuit breaker. */
  probe: 'P',
  /** Its circuit breaker is open, up to that time at least. */
  breaker: 'b',
  /** No place is free; it may ask again at that time. */
  place: 'c',
  /** Its turn is too far; it may ask again at that time. */
  turn: 'r',
  /** There was no room for it in this request. */
  none: 'n',
  /** Noted. Of a failure: its circuit breaker is closed. */
  noted: 'k',
} as const

/** A limit of which nobody has taken a turn, or a place, for that long, though somebody waits in line: whoever comes need not wait in line. */
export const LINE_IS_STALE_MS = 2_000

/** A time of something past that is so far ahead says that the server's clock was set back: whoever waits by it stands in no line. */
export const CLOCK_STEP_MS = 1_000

/** For how long, at most, a turn is kept for those who stand before whoever asks, and are due, but do not ask. */
export const KEPT_TURN_MS = 500

/** Of how many entries that wait for a turn a rate limit knows the place of each; of those in the second half of so many, and behind, it takes neighbours together. */
export const RUNS_PER_QUEUE = 128

/** The longest that an entry waits for a place before it asks again. */
export const LONGEST_LINE_MS = 300_000

/** The longest that an entry waits for a turn before it asks again, so that a deployment which allows more reaches all that waits. */
export const LONGEST_TURN_MS = 3_600_000

/** A place's hold, in milliseconds, before any is known. */
export const UNKNOWN_HOLD_MS = 100

/** The longest between two requests of an entry for a place, in milliseconds, where none was taken or given back for longer: as of a run that died, or while a call takes far longer than those before it. A power of two. */
export const STUCK_PLACE_MS = 512

/** How soon who finds a probe under way asks again, in milliseconds. */
export const PROBE_WAIT_MS = 1_000

/** What of an open circuit breaker the hash of all has: each field is one of these, a space, and the event type. */
export const BREAKER_FIELDS = ['opened', 'until', 'probe', 'held', 'last', 'error'] as const

/**
 * What the same hash has of event types whose failures are counted: `fails`, since when none has succeeded, as far as is known, and `worked`, when one was known to, in
 * milliseconds since 1970. Both outlast an open breaker.
 */
export const OUTCOME_FIELDS = ['fails', 'worked'] as const

/** Names and values of the breakers' hash, as HGETALL answers them one after the other. */
export function breakerPairs(reply: unknown): [name: string, value: string][] {
  const flat = (reply ?? []) as readonly string[]
  return Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n] as string, flat[2 * n + 1] as string])
}

/** Event types of which none is known to have succeeded since one failed. */
export function failingTypes(fields: readonly (readonly [name: string, value: string])[]): readonly string[] {
  return fields.flatMap(([name]) => (name.startsWith('fails ') ? [name.slice('fails '.length)] : []))
}

/** A circuit breaker that is open. */
export interface OpenBreaker {
  readonly eventType: string
  /** Milliseconds since 1970, on the server's clock. */
  readonly openedAt: number
  /** When the next probe may start, the same. */
  readonly probeAt: number
  /** The entry that probes it. */
  readonly probe?: string | undefined
  /** When the lease of that probe ends, the same. */
  readonly probeUntil?: number | undefined
  /** The entry whose probe failed last. */
  readonly lastProbe?: string | undefined
  /** Name of the last error. */
  readonly error: string
}

/** The open circuit breakers of a group, as HGETALL answers their hash. What is no field of one is left out. */
export function parseBreakers(fields: readonly (readonly [name: string, value: string])[]): readonly OpenBreaker[] {
  const byType = new Map<string, Map<string, string>>()
  for (const [name, value] of fields) {
    const at = name.indexOf(' ')
    const [kind, eventType] = [name.slice(0, at), name.slice(at + 1)]
    if (at < 0 || !BREAKER_FIELDS.includes(kind as never)) continue
    const known = byType.get(eventType) ?? new Map<string, string>()
    byType.set(eventType, known.set(kind, value))
  }
  return [...byType]
    .filter(([, known]) => known.has('until'))
    .map(([eventType, known]) => ({
      eventType,
      openedAt: Number(known.get('opened') ?? 0) || 0,
      probeAt: Number(known.get('until')) || 0,
      probe: known.get('probe'),
      probeUntil: known.has('held') ? Number(known.get('held')) || 0 : undefined,
      lastProbe: known.get('last'),
      error: known.get('error') ?? '',
    }))
}

import { formatCondition, parseCondition } from './condition.ts'

/** In place of an event type: the whole group. */
export const WHOLE_GROUP = '*'

/** Characters that a paused type may have: the scripts spell its condition out. */
const LONGEST_TYPE = 180

/** What somebody paused. Times are the server's, in milliseconds since 1970. */
export interface Pause {
  /** Since when. */
  readonly at: number
  /** When it ends by itself. Left out: once somebody resumes it. */
  readonly until?: number
  /** Who paused it. Left out: nobody said so. */
  readonly by?: string
  /** Left out: nobody said so. */
  readonly why?: string
}

/** What of a group is paused, by event type or `WHOLE_GROUP`. What is over by now may be among it. */
export type Pauses = ReadonlyMap<string, Pause>

/** Reads the string beside a group. What is unreadable of it is not paused; the scripts read it alike. */
export function parsePauses(text: string): Pauses {
  return new Map(
    Object.entries(parsed(text) ?? {}).flatMap(([name, given]) => {
      const pause = parsePause(given)
      return pause ? [[name, pause] as const] : []
    }),
  )
}

/** Whether all of that string can be read. */
export function arePauses(text: string): boolean {
  const all = parsed(text)
  return all !== undefined && Object.values(all).every((given) => parsePause(given))
}

function parsed(text: string): object | undefined {
  try {
    const all: unknown = JSON.parse(text)
    return typeof all === 'object' && all !== null && !Array.isArray(all) ? all : undefined
  } catch {
    return undefined
  }
}

/** One pause; `undefined` if it is none. */
function parsePause(given: unknown): Pause | undefined {
  if (typeof given !== 'object' || given === null) return undefined
  const { at, until, by, why } = given as Record<string, unknown>
  if (until !== undefined && typeof until !== 'number') return undefined
  return {
    at: typeof at === 'number' ? at : 0,
    ...(until !== undefined && { until }),
    ...(typeof by === 'string' && { by }),
    ...(typeof why === 'string' && { why }),
  }
}

/** Whether a pause is not over. @param now By the server's clock. */
export function isInEffect({ until }: Pause, now: number): boolean {
  return until === undefined || until > now
}

/** A time as text; somebody may have written one that no calendar has. */
export function timeText(ms: number): string {
  const time = new Date(ms)
  return Number.isNaN(time.getTime()) ? 'the end of time' : time.toISOString()
}

/** What entries of a paused type wait for. */
export function pausedType(type: string): string {
  return formatCondition('paused', type)
}

/** The type whose pause a condition waits for; `undefined`: it waits for something else. */
export function typeOfPaused(condition: string): string | undefined {
  const { reason, what } = parseCondition(condition)
  return reason === 'paused' ? what : undefined
}

/** Whether a type can be paused by itself. */
export function isPausable(type: string): boolean {
  return type !== '' && type !== WHOLE_GROUP && pausedType(type).length <= 'paused '.length + LONGEST_TYPE
}

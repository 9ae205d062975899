import type { ConsumerKeys } from '../core/keys.ts'
import type { Pause } from '../core/pauses.ts'

/** What somebody pauses, and what they say of it. A member that is left out stays as it is. */
export interface PauseRequest {
  /** Only entries of that type. Default: the whole group. */
  readonly type?: string | undefined
  /** When it ends by itself, in milliseconds since 1970 on the server's clock. */
  readonly until?: number | undefined
  readonly why?: string | undefined
  readonly by?: string | undefined
  /** By whom, where nobody is named yet. */
  readonly defaultBy?: string | undefined
}

export interface ResumeRequest {
  readonly type?: string | undefined
  /** Entries that are older are counted. */
  readonly maxAgeMs?: number | undefined
}

/** Whether a replica has it; left out where there is none. */
interface Confirmed {
  readonly isConfirmed?: boolean
}

/** Neither the group nor anything of it is there. */
interface Unknown {
  readonly is: 'unknown'
}

export type PauseAnswer =
  | Unknown
  /** `until` is no later than `now`. */
  | { readonly is: 'past'; readonly now: number }
  | (Confirmed & {
      readonly is: 'paused'
      readonly pause: Pause
      /** How it was paused before, if it was. */
      readonly before?: Pause
    })

/** What waits for a pause to end. */
export interface PausedBacklog {
  /** Entries that were set aside for it, or, of a group, that are due. */
  readonly waiting: number
  /** Of a group: entries that it has not read; left out where the server does not know. */
  readonly unread?: number
  /** How many of both are older than the age limit; left out without one. */
  readonly expiring?: number
  /** There may be more of them. */
  readonly isMoreExpiring?: boolean
}

export type ResumeAnswer =
  | Unknown
  | { readonly is: 'not-paused' }
  | (Confirmed & PausedBacklog & { readonly is: 'resumed'; readonly was: Pause })

/** Whose it is. */
export interface PausingAddress {
  readonly group: string
  readonly keys: ConsumerKeys
}

/** Pauses and resumes groups and event types: one step each on the server. */
export interface Pausing {
  pause(address: PausingAddress, request: PauseRequest): Promise<PauseAnswer>
  resume(address: PausingAddress, request: ResumeRequest): Promise<ResumeAnswer>
}

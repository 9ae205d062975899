import type { JanitorReport } from '../core/janitor-report.ts'
import type { DeadLetterReason, Outcome } from '../core/outcome.ts'
import type { Report } from '../report.ts'
import type { LambdaContext } from './handler.ts'

/** Which group of which stream. */
export interface ObservedGroup {
  readonly stream: string
  readonly group: string
}

/** One invocation of a poller or claimer. The same object in every event about it. */
export interface ObservedInvocation {
  readonly action: 'poll' | 'claim'
  /** `set`: the name of the set that the stream is of; left out where it is of none. */
  readonly consumers: readonly (ObservedGroup & { readonly set?: string })[]
  /** Lambda's context; empty outside Lambda. */
  readonly context: Partial<LambdaContext>
}

/** A consumer's part in an invocation. */
export interface ObservedRun extends ObservedGroup {
  readonly invocation: ObservedInvocation
}

/** One event on its way through a handler. */
export interface ObservedDelivery {
  readonly entryId: string
  readonly eventId: string
  readonly deliveryCount: number
  /** The event's version as it was published, before it was lifted. */
  readonly version?: number | undefined
  /** Milliseconds between the entry's id and the call; `undefined` for an id of the future. */
  readonly ageMs: number | undefined
  /** W3C trace context of whoever published it. */
  readonly traceparent?: string | undefined
}

/** One call of a handler; of a batch handler with all its events. The same object in every event about it. */
export interface HandlerCall extends ObservedRun {
  readonly eventType: string
  readonly consumerName: string
  readonly isBatch: boolean
  /** One, or a batch's. */
  readonly deliveries: readonly ObservedDelivery[]
}

/** One request of a publisher. The same object in every event about it. */
export interface PublishCall {
  readonly stream: string
  readonly events: readonly { readonly type: string; readonly eventId: string }[]
  /** Written into the events that their publisher gave none. An observer sets it, a tracing one to its span. */
  traceparent?: string | undefined
}

/** Everything that can be observed: when it fires, and what it carries. Never a payload. */
export interface Observed {
  /** An invocation begins, before a slot is taken. */
  readonly invocationStarted: ObservedInvocation
  /** An invocation is over: everything is settled, slots are given back. */
  readonly invocationEnded: {
    readonly invocation: ObservedInvocation
    /** Also a failing invocation's. */
    readonly report: Report
    /** Infrastructure failed. */
    readonly error?: Error | undefined
  }
  /** A janitor's run is over. */
  readonly janitorEnded: {
    readonly context: Partial<LambdaContext>
    /** Also a failing run's. */
    readonly report: JanitorReport
    readonly error?: Error | undefined
  }
  /** A poller's read brought entries. */
  readonly entriesRead: ObservedRun & { readonly entryIds: readonly string[] }
  /** A claimer took entries over. */
  readonly entriesClaimed: ObservedRun & {
    /** Who had each, for how long it had been idle, and how often it was delivered before. */
    readonly entries: readonly {
      readonly entryId: string
      /** Milliseconds between the entry's id and the claim; `undefined` for an id of the future. */
      readonly ageMs: number | undefined
      readonly owner: string
      readonly idleMs: number
      readonly deliveryCount: number
    }[]
  }
  /** A handler settled, or its time was up: every delivery of the call has its outcome, which is yet to be written. */
  readonly handlerEnded: {
    readonly call: HandlerCall
    readonly durationMs: number
    /** One per delivery, in order. What a dead letter says of a failure is in `error`. */
    readonly outcomes: readonly { readonly kind: Outcome['kind']; readonly error?: unknown }[]
  }
  /** The effects of a handler that had succeeded could not take place: its entry has failed after all, and gets another outcome. */
  readonly effectsRefused: ObservedRun & {
    readonly entryId: string
    readonly eventType: string
    readonly deliveryCount: number
    readonly error: Error
  }
  /** The server answered an acknowledgement. */
  readonly acked: ObservedRun & {
    readonly entries: readonly {
      readonly entryId: string
      readonly eventType: string
      /** Milliseconds between the entry's id and the acknowledgement; `undefined` for an id of the future. */
      readonly ageMs: number | undefined
      /** No handler was called for it: another entry of its event had been handled. Left out otherwise. */
      readonly isDuplicate?: boolean
    }[]
  }
  /** The server has an entry's dead letter, and the entry is no longer pending. */
  readonly deadLettered: { readonly invocation: ObservedInvocation; readonly notice: DeadLetterNotice }
  /** The server refused an entry's dead letter: the entry is still pending, and comes again. */
  readonly deadLetterRefused: { readonly invocation: ObservedInvocation; readonly notice: DeadLetterNotice }
  /** `onDeadLetter` failed. The letter is where it should be all the same. */
  readonly deadLetterNoticeFailed: {
    readonly invocation: ObservedInvocation
    readonly notice: DeadLetterNotice
    readonly error: unknown
  }
  /** A publisher's request is over. */
  readonly published: {
    readonly call: PublishCall
    readonly durationMs: number
    /** Bytes of names and values, one per event. */
    readonly bytes: readonly number[]
    /** One per event; `undefined` where it was not written, or is delayed. */
    readonly entryIds: readonly (string | undefined)[]
    /** One per event: until when it is delayed; `undefined` where it is not, or was not written. */
    readonly delayedUntil: readonly (Date | undefined)[]
    /** The places of events that were not added, since their id was published within `deduplicateMs` before: what stands above is the first one's. Left out: none. */
    readonly duplicates?: ReadonlySet<number> | undefined
    readonly error?: Error | undefined
  }
}

/** What is done within something else, so that an observer may put a scope around it: a tracing one makes its span the active one. */
export interface ObservedScopes {
  /** A call of a handler. */
  readonly handler: HandlerCall
  /** A publisher's request, before its events are encoded. */
  readonly publish: PublishCall
}

type Listeners = { readonly [Name in keyof Observed]?: (observed: Observed[Name]) => void }

/**
 * What the option `observe` of pollers, claimers and publishers takes: a listener for any of the events, and scopes. Nothing waits for a
 * listener, and what it throws is a warning of the process.
 */
export interface Observer extends Listeners {
  readonly within?: {
    /**
     * Must call `run` once, at once, and return what that returned. What fails is not thrown there: `handlerEnded` and `published` say with what.
     */
    readonly [Name in keyof ObservedScopes]?: <T>(scope: ObservedScopes[Name], run: () => T) => T
  }
}

/** What `onDeadLetter` receives about an entry that became a dead letter. No payload: the letter has it. */
export interface DeadLetterNotice extends ObservedGroup {
  /** The stream that has the letter. */
  readonly deadLetters: string
  readonly entryId: string
  readonly deliveryCount: number
  readonly reason: DeadLetterReason
  readonly error?: { readonly name: string; readonly message: string } | undefined
  /** This and the two below are cut at a thousand characters, with `…` after them. */
  readonly eventId?: string | undefined
  readonly eventType?: string | undefined
  readonly traceparent?: string | undefined
}

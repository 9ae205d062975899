import type { Pause } from '../../core/pauses.ts'
import type { GroupRegistration } from '../../core/registration.ts'

/**
 * What is not known, and why: the name of a member that is left out (or is a lower bound), and the server's refusal or our own
 * reason. A part that is missing without a reason has no value.
 */
export type Unknown = Readonly<Record<string, string>>

/** What `inspectStreams` saw. */
export interface Inspection {
  /** When, in milliseconds since 1970. Every age is counted from it. */
  readonly at: number
  /** Whose clock that is: `local` where the server refuses TIME. */
  readonly clock: 'server' | 'local'
  readonly streams: readonly StreamInspection[]
  /** Sets of these streams, each as one; left out where there are none. */
  readonly sets?: readonly SetInspection[]
  /** Why there may be streams that are not shown, where they were searched for; else left out. */
  readonly incomplete?: string | undefined
}

/** A set of streams: the sums of what its streams say. */
export interface SetInspection {
  readonly name: string
  /** Keys, the highest priority first. */
  readonly streams: readonly string[]
  /** Entries. */
  readonly length?: number
  readonly groups: readonly SetGroupInspection[]
}

/** A group on the streams of a set. What one of them does not say is left out, with the reason in `unknown`. */
export interface SetGroupInspection {
  readonly group: string
  /** How many of the streams have it. */
  readonly streams: number
  readonly lag?: number
  readonly pending: number
  readonly inHand?: number
  readonly parked?: number
  readonly deadLetters?: number
  /** Milliseconds since the oldest pending entry of all was published. */
  readonly oldestPendingMs?: number
  /** Milliseconds since something of it was last acknowledged. */
  readonly sinceLastSuccessMs?: number
  readonly unknown: Unknown
}

/** A stream and its groups. */
export interface StreamInspection {
  readonly stream: string
  /** `missing`: there is no such key; `other-type`: the key holds no stream; `unknown`: the server does not say. */
  readonly state: 'stream' | 'missing' | 'other-type' | 'unknown'
  /** Entries. */
  readonly length?: number | undefined
  /** Entries ever added; left out before Redis 7.0. */
  readonly entriesAdded?: number | undefined
  /** Left out where the stream is empty, like all that is said of the first and last entry. */
  readonly firstId?: string | undefined
  /** Milliseconds since the first entry was published. */
  readonly firstAgeMs?: number | undefined
  readonly lastId?: string | undefined
  readonly lastAgeMs?: number | undefined
  /** What it takes on the server, groups included, as MEMORY USAGE estimates it. */
  readonly memoryBytes?: number | undefined
  /** Events that are not in the stream yet; left out where there are none. */
  readonly delays?: DelaysInspection | undefined
  /** Who owns the groups, and what janitors noted; left out where nobody registered a group and no janitor ran. */
  readonly keeping?: KeepingInspection | undefined
  readonly groups: readonly GroupInspection[]
  /**
   * Every group has read and done what is before this id: trimming up to there takes nothing that one of them needs (`XTRIM … MINID`), though a
   * dead letter of it can only be republished then. Left out without groups, and unless all of them were inspected.
   */
  readonly doneBeforeId?: string | undefined
  /** Groups that were asked for and are not there. A poller makes its group when it first runs. */
  readonly missingGroups: readonly string[]
  readonly unknown: Unknown
}

/** A stream's registry, and what its janitors noted. */
export interface KeepingInspection {
  /** Group name → its registration. */
  readonly registered: Readonly<Record<string, GroupRegistration>>
  /** Groups that there are, and that nobody registered. */
  readonly unregistered: readonly string[]
  /** Groups that are registered, and that there are none of. */
  readonly lost: readonly string[]
  /** Left out where no janitor ran. */
  readonly janitor?: JanitorInspection | undefined
}

/** What the janitors of a stream noted. */
export interface JanitorInspection {
  /** Milliseconds since one last looked. */
  readonly sinceRunMs: number
  /** Entries that they have archived and trimmed in all. */
  readonly archived: number
  readonly trimmed: number
  /** The last entry that is archived. */
  readonly archivedToId?: string | undefined
  /** Entries that left the stream before a group had done them, by group. */
  readonly trimmedAhead: Readonly<Record<string, number>>
  /** The groups that keep entries that are due to go, and for how many milliseconds. */
  readonly blockers: Readonly<Record<string, number>>
  /** The floors that do. */
  readonly floors: Readonly<Record<string, number>>
  /** Milliseconds for which nothing has gone since there is no group, and none is registered; left out where it is not so. */
  readonly withoutGroupsMs?: number | undefined
}

/** The delayed events of a stream. */
export interface DelaysInspection {
  /** Events that wait for their time, or are due and not promoted yet. */
  readonly events: number
  /** Milliseconds until the first of them is due, negative where it has been due for so long; left out where there is none. */
  readonly nextDueInMs?: number | undefined
  /** Events whose record cannot be read: they are set aside, and do not come. */
  readonly unreadable: number
}

/** Somebody paused a group, or an event type of it. Times are the server's, in milliseconds since 1970. */
export interface PauseInspection extends Pause {
  /** Left out: the whole group. */
  readonly type?: string
}

/** A group of a stream. */
export interface GroupInspection {
  readonly group: string
  readonly lastDeliveredId: string
  /**
   * Entries not delivered yet. Counted below ten, and where all that the stream has is ahead; otherwise reported by the server, which before 8.0
   * counts too many once entries were trimmed that nobody had read. Never a 0 that is not one: where the server does not know, this is left
   * out and `lagAtLeast` is there.
   */
  readonly lag?: number | undefined
  /** That many entries are not delivered yet, or more; `unknown.lag` says why it is not known better. */
  readonly lagAtLeast?: number | undefined
  /** Milliseconds since the oldest entry that is not delivered yet was published. */
  readonly undeliveredAgeMs?: number | undefined
  /** Entries delivered and not acked yet. */
  readonly pending: number
  readonly oldestPending?: OldestPending | undefined
  readonly deliveries?: DeliveryCounts | undefined
  /** Pending entries that a poller or a claimer has, or that a dead process left behind: all that are not set aside. */
  readonly inHand?: number | undefined
  /** Pending entries that are set aside: they wait for their time, or for a condition. */
  readonly parked?: number | undefined
  /** How they come back, as the indexes have it; left out for a group that is not ours. */
  readonly aside?: AsideInspection | undefined
  /** What waits in order; left out for a group that keeps none, as far as its keys, or the consumer that was given, show. */
  readonly order?: OrderInspection | undefined
  /** Its flow control; left out for a group that is not ours. */
  readonly flow?: FlowInspection | undefined
  /** Consumer names. */
  readonly consumerCount: number
  readonly consumers?: readonly ConsumerInspection[] | undefined
  readonly deadLetters?: DeadLettersInspection | undefined
  /** Milliseconds since something was last acknowledged; left out if nothing ever was. */
  readonly sinceLastSuccessMs?: number | undefined
  /** What is paused now. */
  readonly paused?: readonly PauseInspection[] | undefined
  /** Whether a poller or claimer of ours works on it, as far as its keys and consumer names show. */
  readonly isOurs?: boolean | undefined
  readonly unknown: Unknown
}

/** The indexes of what is set aside. What one of them does not show is left out; `unknown.byTime` and `unknown.byCondition` say why. */
export interface AsideInspection {
  readonly byTime?: TimedInspection | undefined
  readonly byCondition?: WaitingInspection | undefined
}

/** What comes back at a time. */
export interface TimedInspection {
  /** Entries that wait for their time. */
  readonly entries: number
  /** How many of them are due by now. */
  readonly due: number
  /** Milliseconds until the next of them is due, negative where it has been due for so long; left out where none has a time: what was handed back has none. */
  readonly nextDueInMs?: number | undefined
  /** How many were handed back, at no delivery: they are due at once, and stand before all others. */
  readonly handedBack: number
  /** The first hundred of the others: what waits at no delivery, for a turn or a place, and what failed and waits for its retry. Left out where none waits. */
  readonly sample?: TimedSample | undefined
  /** Entries that were taken and have no stored outcome yet. They are in hand: a claimer has them, or a dead one had. */
  readonly running: number
}

/** The first of what comes back at a time. */
export interface TimedSample {
  readonly sampled: number
  /** Entries that no delivery counts for. */
  readonly atNoDelivery: number
  /** Milliseconds since the oldest of those was published; left out where there is none. */
  readonly oldestAgeMs?: number | undefined
}

/** What holds entries of a group back, over all invocations. What the server refuses is left out; `unknown.breakers` and `unknown.limits` say why. */
export interface FlowInspection {
  /** Circuit breakers that are open, in the order of their event types. */
  readonly breakers?: readonly BreakerInspection[] | undefined
  /** Limits of the consumer, if one was given, that have no `by`; with it, each name has a key of its own. */
  readonly limits: readonly LimitInspection[]
}

/** A circuit breaker that is open. */
export interface BreakerInspection {
  readonly eventType: string
  /** Milliseconds since it opened. */
  readonly openMs: number
  /** Milliseconds until an entry may probe it; negative where one may, for so long. */
  readonly nextProbeInMs: number
  /** The entry that probes it now, and in how many milliseconds the lease of that ends. */
  readonly probe?: { readonly entryId: string; readonly endsInMs: number } | undefined
  /** The entry whose probe failed last. */
  readonly lastProbeId?: string | undefined
  /** Name of the last error. */
  readonly error: string
  /** Entries that wait until it is closed; left out where that is not known. */
  readonly waiting?: number | undefined
}

/** A rate limit or a concurrency limit, as the server has it. */
export interface LimitInspection {
  readonly policy: 'rateLimit' | 'concurrencyLimit'
  /** Left out: one of all routes together. */
  readonly eventType?: string
  readonly max: number
  /** Only of a rate limit: its window, in milliseconds. */
  readonly perMs?: number
  /** Only of a rate limit: milliseconds until the next turn that nobody has. */
  readonly nextTurnInMs?: number
  /** Only of a concurrency limit: places that are held. */
  readonly held?: number
  /** Only of a concurrency limit: for how many milliseconds places were held of late; left out where none is known. */
  readonly meanHoldMs?: number
  /** Milliseconds until the last of those that wait in line asks again; 0 where none waits. */
  readonly lineMs: number
  /** About how many wait in line, by how far apart they stand. */
  readonly waiting: number
}

/** What waits in the order of its keys. Where the server does not show keys, only the numbers are there; `unknown.order` says why. */
export interface OrderInspection {
  /** How many of `parked` wait behind another of their key. */
  readonly waiting: number
  /** Entries whose process died, first of their keys: a claimer takes each as a suspect. */
  readonly suspects: number
  /** Entries whose key the next poller looks up, as after a redrive. */
  readonly unplaced: number
  /** Milliseconds since the oldest of those was published; left out where there is none. */
  readonly unplacedAgeMs?: number | undefined
  /** Keys with something undone that no poller's run has in hand. */
  readonly lanes?: number
  /** The keys whose next entries have waited longest, five at most. */
  readonly longest?: readonly KeyInspection[]
  /** Others may have waited longer: not all were inspected. */
  readonly isSample?: boolean
}

/** A key of which something waits. */
export interface KeyInspection {
  readonly key: string
  /** It is longer: this is its start. Left out where it is not. */
  readonly isCut?: true
  /** Entries that wait behind the first. */
  readonly waiting: number
  /** The lowest id of those. */
  readonly oldestId: string
  /** Milliseconds since that one was published; left out where its id is ahead of the server's clock. */
  readonly ageMs?: number
  readonly first: FirstOfKeyInspection
}

/** The entry that all others of its key wait behind. */
export interface FirstOfKeyInspection {
  readonly id: string
  readonly ageMs?: number
  /** Left out where it cannot be read. */
  readonly eventType?: string
  /**
   * `time`: it comes back at one; `condition`: it waits for one; `suspect`: its process died, and it waits for a claimer; `in-hand`: somebody has it, or a dead process
   * had; `dead-letter`: its key waits until its letter is redriven or dropped; `not-pending`: it is done.
   */
  readonly state: 'time' | 'condition' | 'suspect' | 'in-hand' | 'dead-letter' | 'not-pending'
  readonly deliveryCount?: number
  /** Who has it in hand. */
  readonly consumerName?: string
  /** Milliseconds until it is due; negative where it has been due for so long. */
  readonly dueInMs?: number
  readonly condition?: Pick<ConditionInspection, 'reason' | 'what'>
  /**
   * What it failed with last: name and message on one line, at most 200 characters; of a dead letter, what that says. It is kept while the entry is undone in the order of its key, through releases, claims and deaths. Left out where
   * nothing is known: it has not failed, or failed under an older release; it was redriven, its group was made again, or a poller took all of its key at once, and it has not failed since. Where it waits for a circuit breaker and has not
   * failed itself, the name of the error that the breaker saw last.
   */
  readonly error?: string
  /** Its type, or the group, is paused. */
  readonly isPaused?: boolean
  /** The key that the given consumer gives it now, where that is another one; `''`: none. */
  readonly keyNow?: string
}

/** What waits for a condition, but for what waits in order. */
export interface WaitingInspection {
  readonly entries: number
  /** In the order of their names, at most a hundred. */
  readonly conditions: readonly ConditionInspection[]
}

/** A condition, and what waits for it. */
export interface ConditionInspection {
  /** Why: the name of a policy, `held`, `newer-version`, `unrouted`, … */
  readonly reason: string
  /** What it is about, as an event type; the start of it where it is long. */
  readonly what: string
  readonly entries: number
  /** The entry with the lowest id. */
  readonly oldestId: string
  /** Milliseconds since it was published; left out where its id is ahead of the server's clock. */
  readonly oldestAgeMs?: number | undefined
}

/** The pending entry with the lowest id. */
export interface OldestPending {
  readonly id: string
  readonly consumerName: string
  /** Milliseconds since it was published; left out where its id is ahead of the server's clock. */
  readonly ageMs?: number | undefined
  /**
   * Milliseconds since its last delivery, or since it was set aside; left out where nobody has it (XNACK).
   */
  readonly idleMs?: number | undefined
  readonly deliveryCount: number
  /** It was trimmed from the stream before it was done: a claimer counts it as `lost`. */
  readonly isTrimmed: boolean
  /** Its key, and whether it waits behind another of it; left out where it is in no lane. */
  readonly inOrder?: { readonly key: string; readonly isBehind: boolean } | undefined
}

/** How often pending entries were delivered, only of the oldest ones. */
export interface DeliveryCounts {
  /** Entries inspected: all that are pending, 100 at most. */
  readonly sampled: number
  /** Delivery count → entries. */
  readonly counts: Readonly<Record<string, number>>
}

/** A consumer name of a group. */
export interface ConsumerInspection {
  readonly name: string
  readonly pending: number
  /** Milliseconds since it last tried to read or claim; left out for a slot that is held and never read yet. */
  readonly idleMs?: number | undefined
  /** Whether an invocation holds this slot now; left out for names that are no slot of ours. */
  readonly isLeased?: boolean | undefined
  /** Milliseconds until the lease ends, at the latest. */
  readonly leaseMs?: number | undefined
}

/** A group's dead-letter stream. */
export interface DeadLettersInspection {
  readonly stream: string
  readonly length: number
  /** Letters that `deadLetters.maxLength` ever removed from it, by settlements of this group; those redriven and dropped are not among them. */
  readonly trimmed?: number | undefined
  /** Milliseconds since the oldest was written. */
  readonly oldestAgeMs?: number | undefined
  readonly newestAgeMs?: number | undefined
}

import type { SettleCounts } from '../core/counts.ts'
import type { Field } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { JoinedCommand, Outcome, ScriptQuestion } from '../core/outcome.ts'
import type { Pauses } from '../core/pauses.ts'
import type { PlainReply } from '../core/plain-reply.ts'
import type { Backlog } from '../report.ts'
import type { ClaimedEntry, Delivery, HeldEntry } from './delivery.ts'
import type { HealedPage } from './healed-page.ts'
import type { RedisCall } from './redis/sender.ts'

/**
 * A consumer group as a port. `group.contract.ts` is its test suite; every adapter passes it.
 *
 * - A delivery count rises when an entry is read and when it is started, at no other time.
 * - Whatever is not an ack is fenced: it is refused unless the slot's lease, the owner and the delivery count are still ours.
 * - A method rejects with `RedisConnectionError` when no reply came; one that settles says in `unanswered` what is not known, and what is.
 */
export interface Group {
  /** Requests sent so far. */
  readonly roundTrips: number

  /** The claimer's side; left out by an adapter that is smaller without it, whose claimer brings it along. */
  readonly claims?: ClaimerOperations

  /**
   * Takes the lowest free slot of a kind for at most `leaseMs`; `undefined` if none is free. When memory is full and no lease can be
   * written, the slot has a name of its own and no lease.
   */
  takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined>

  /**
   * Gives a slot back, if it is still ours.
   *
   * @param end How a poller's run ended. What is pending under the slot's name then, was read under its lease, and is not among `end.known`
   * never reached us, since its reply was lost: it is released.
   * @returns Whether there was a flag to take back: whoever it woke may have found every slot taken.
   */
  giveSlot(slot: Slot, end?: PollerRunEnd): Promise<boolean>

  /**
   * Gives entries their outcomes. Refusals are counted, never thrown.
   *
   * @param handBack The read before it was not answered: what is pending under the slot's name, was read under its lease, and is neither
   * settled here nor among `handBack.known`, never reached us. It is released.
   */
  settle(slot: Slot, settlements: readonly Settlement[], handBack?: HandBack): Promise<SettleResult>

  /**
   * Settles, and reads new entries, in one round trip. A missing group is made again, once. Nothing comes for a slot that went to another:
   * what was read under its name all the same is its new holder's to release.
   */
  settleAndRead(slot: Slot, settlements: readonly Settlement[], request: ReadRequest): Promise<ReadResult>

  /** What reads new entries when they come; left out by an adapter that is smaller without it, whose listening poller brings it along. */
  openWaiter?(): EntryWaiter

  /** Sets the idle time of entries that are still ours to 0; their counts stay. Best effort. */
  renew(slot: Slot, held: readonly HeldEntry[]): Promise<IdleRenewalResult>

  /**
   * Notes that a claimer comes for what is due in so many milliseconds.
   *
   * @returns Whether nobody comes in time otherwise: the caller wakes one.
   */
  planClaim(dueInMs: number): Promise<boolean>

  /** Sends commands of policies on keys beside the group. One round trip, in chunks where a service takes no more. @returns An answer each. */
  ask(commands: readonly (JoinedCommand | ScriptQuestion)[]): Promise<readonly PlainReply[]>

  /**
   * Inspects what the group has before it, and how many poller slots are taken; `undefined` where there is no group. One round trip, and a
   * bounded one however much is pending.
   *
   * @throws {RedisReplyError} The server refused.
   */
  measure(): Promise<GroupMeasurement | undefined>
}

/** Reads new entries when they come: one read at a time, on a connection of its own where requests can wait. */
export interface EntryWaiter {
  /** Milliseconds that a read may wait for the first entry; 0 where it answers at once, as over REST. */
  readonly maxWaitMs: number
  /** Reads as `settleAndRead` does, and settles nothing. A missing group is not made again. */
  read(slot: Slot, request: WaitRequest): Promise<WaitResult>
  /** Lets go of the connection. */
  end(): Promise<void>
}

export interface WaitRequest {
  readonly count: number
  /** Milliseconds to wait for the first entry, at most `maxWaitMs`. */
  readonly waitMs: number
  /** Asks when the next of what is set aside is due. */
  readonly asksDue: boolean
  /** Keeps publishers for that many milliseconds from waking others. Default: it does not. */
  readonly holdFlagMs?: number | undefined
  /** Commands that are carried out before it, in the same write. Default: none. */
  readonly riders?: readonly JoinedCommand[]
}

/** What came, and what else there is by then. */
export interface WaitResult extends ReadResult {
  readonly isGroupMissing: boolean
  /** Milliseconds until the next of what is set aside is due; left out where nothing waits for a time, or it was not asked. */
  readonly dueInMs?: number
}

/** What a claimer does to a group beside that. */
export interface ClaimerOperations {
  /** Takes a slot, and claims the first page under it, in one round trip; `undefined` if no slot is free. */
  takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<OpenedClaimerSlot | undefined>

  /**
   * Settles, and takes over up to `room` entries that have been idle for `minIdleMs`, from `cursor` on, consumer by consumer: their process died. What is set aside is not
   * inspected. Delivery counts stay; what finds no room is left as it was. One round trip. A missing group is made again, once.
   */
  settleAndClaim(slot: Slot, settlements: readonly Settlement[], request: ClaimRequest): Promise<ClaimResult>

  /**
   * Settles, and starts what was set aside and is due, or waits for a condition that holds by now: delivery counts rise by one and bodies come back. What is at its last delivery, or
   * has none left, is handed over as it is. Sent twice it takes the same. One round trip. Where the group is gone there is none. Two may be under way, where the answer before says `isMuchMore`.
   */
  settleAndTake(slot: Slot, settlements: readonly Settlement[], request: TakeDueRequest): Promise<TakeDueResult>

  /**
   * Reads entries as they are, and changes nothing. One round trip.
   *
   * @param field Only that field of each. Default: all.
   * @returns The fields of each, in the order of the ids; none where it is gone, or has no such field.
   * @throws {RedisConnectionError | RedisReplyError} No reply came, or the server refused.
   */
  peek(ids: readonly string[], field?: string): Promise<readonly (readonly Field[])[]>

  /** Settles, and gives back what the takes brought whose answers were lost, or else the last one: due at once, at no delivery. One round trip. */
  settleAndGiveBack(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult>

  /** Gives a group that was made again a page of what was set aside in its last life. One round trip. */
  heal(slot: Slot): Promise<HealedPage>

  /**
   * Settles, and starts claimed entries: their delivery counts rise by one and their bodies come back. One round trip. Where the group is
   * gone nothing starts, and the next claim makes it again.
   */
  settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    claimed: readonly ClaimedEntry[],
    bounds?: StartClaimedBounds,
  ): Promise<StartClaimedResult>

  /**
   * Ends a claimer's run: keeps the cursor (behind the fence), notes the mark, takes off what was trimmed while it was set aside, measures, gives the slot back, and removes
   * consumer names that nobody holds any more. One round trip, and another one where there are such names, or an index that differs from what is set aside.
   *
   * @param end How the run ended.
   */
  finishClaims(slot: Slot, cursor: string, minIdleMs: number, end?: ClaimsEnd): Promise<ClaimerRunEnd>
}

/** How a claimer's run ended, as it sees it. */
export interface ClaimsEnd {
  /** Something was acknowledged; when, is noted. Default false. */
  readonly hasAcked?: boolean
  /** Where others wake claimers: the claimer waits for what is due within so many milliseconds, which is noted. Default: nobody asks. */
  readonly waitsMs?: number | undefined
}

/** A slot, and the page that was claimed with it. */
export interface OpenedClaimerSlot {
  readonly slot: Slot
  readonly page: ClaimResult
}

/** A key while which there is nothing is started; or, of a set of values, nothing that has one of them in the field that `unless` names. */
export interface StartGuardKey {
  readonly key: string
  readonly holds: 'all' | 'values'
}

/** Which claimed entries are not started. */
export interface StartClaimedBounds {
  /** Bytes of names and values after which nothing more is started; the first few always are. Default: no bound. */
  readonly maxBytes?: number
  /** Entries that have one of those values in a field of that name are left alone. */
  readonly unless?: { readonly field: string; readonly values: readonly string[] } | undefined
  /** Inspected by the server in the same step. Default: none. */
  readonly guards?: readonly StartGuardKey[] | undefined
}

/** What is handed back: all that is pending under a slot's name and was read under its lease, but for what is known. */
export interface HandBack {
  /** Ids of what reached us and may still be pending under our name. */
  readonly known: readonly string[]
  /** From 1, higher each time: one that is carried out late does not know what was read since, and does nothing. */
  readonly turn: number
}

/** How a poller's run ended. */
export interface PollerRunEnd extends HandBack {
  /** A read was not answered, and may yet be carried out: what it reads then is nobody's, and is released by whoever finds it. */
  readonly isInDoubt: boolean
  /** A flag that publishers raised since the slot was taken is taken back. */
  readonly takesFlag: boolean
  /** Something was acknowledged; when, is noted. */
  readonly hasAcked: boolean
}

export interface GroupMeasurement {
  readonly backlog: Backlog
  /** Poller slots that are taken. */
  readonly pollers: number
}

export type SlotKind = 'poller' | 'claimer'

/** What is paused of a group, as a request saw it. What is over by then may be among it. */
export interface SeenPauses {
  readonly pauses: Pauses
  /** When it was seen, in milliseconds since 1970 on the server's clock; left out where the server was not asked. */
  readonly now?: number
}

/** When the next delayed event of the stream is due, as a request saw it. */
export interface SeenDelays {
  /** Milliseconds since 1970. */
  readonly nextAt: number
  /** When it was seen, on the server's clock; left out where the server was not asked. */
  readonly now?: number
}

/** What a request saw beside its answer. */
interface Seeing {
  /** Left out where nothing is paused. */
  readonly paused?: SeenPauses
  /** Left out where nothing is delayed, or nobody asks. */
  readonly delayed?: SeenDelays
}

/** A consumer name held under a lease. */
export interface Slot extends Seeing {
  readonly consumerName: string
  /** The lease's value; `''` for a slot without a lease. */
  readonly token: string
  readonly leaseMs: number
  /** When it was taken, in milliseconds since 1970 on the server's clock; there where the address asks for it. */
  readonly takenAt?: number
}

export interface Settlement {
  readonly id: string
  /** The count it was delivered with: part of the fence. */
  readonly deliveryCount: number
  readonly outcome: Outcome
  /** Of an entry whose event was read; nothing that is settled depends on it. */
  readonly eventType?: string | undefined
  /** The index may have it, and has to forget it. Default: it was read. */
  readonly isTaken?: boolean | undefined
  /** What its handler asked for, of an `ack-with`. Default: nothing. */
  readonly effects?: SettlementEffects | undefined
}

/** Effects of a handler: they take place with the acknowledgement of its entry, behind the fence, all or none. */
export interface SettlementEffects {
  readonly commands: readonly JoinedCommand[]
  /** Those that share it are settled all together, or none of them. Default: it is settled by itself. */
  readonly together?: object | undefined
  /** What settles it comes with effects: a function that uses none is deployed without. Memory needs none. */
  readonly joinCalls: SettleWithCommands
  /** The effects cannot take place, and nothing was written: its entry has failed, and gets another outcome. */
  refused(refusal: string): void
}

/** A settlement that sets an entry aside. */
export interface DeadLetterSettlement extends Settlement {
  readonly outcome: Extract<Outcome, { readonly kind: 'dead-letter' }>
}

export function isDeadLetterSettlement(settlement: Settlement): settlement is DeadLetterSettlement {
  return settlement.outcome.kind === 'dead-letter'
}

/** Duplicates apart from the others, which come first: a duplicate finds the marker that is written with another. */
export function splitDuplicates(settlements: readonly Settlement[]): [Settlement[], Settlement[]] {
  const isDuplicate = ({ outcome }: Settlement) => outcome.kind === 'duplicate'
  return [settlements.filter((one) => !isDuplicate(one)), settlements.filter(isDuplicate)]
}

export interface SettleResult {
  readonly counts: SettleCounts
  /** Commands that the server refused, one error per kind: going on would change nothing. Their entries are still pending. */
  readonly failures: readonly Error[]
  /** Dead letters that the server refused, one error per kind. Their entries are still pending, under the name `parked`. */
  readonly refusals: readonly Error[]
  /** The dead letters that were written. */
  readonly letters: readonly DeadLetterSettlement[]
  /** The dead letters that the server refused. */
  readonly refusedLetters: readonly DeadLetterSettlement[]
  /** The slot is no longer ours, so that nothing but acks is accepted from us. */
  readonly leaseLost: boolean
  /** Acknowledgements with what joins them, or for duplicates, that did not take place. Left out where there are none. */
  readonly notAcked?: readonly Settlement[]
  /** Those whose effects cannot take place, in no count: nothing of them has happened, and they are pending as before. Left out where there are none. */
  readonly failed?: readonly { readonly settlement: Settlement; readonly refusal: string }[]
  /** There where no reply came to all of a request: the counts are those of what was answered. */
  readonly unanswered?: Unanswered
}

/** What is not known of a request. */
interface Unanswered {
  /** A `RedisConnectionError`. */
  readonly error: Error
  /** Settlements that may have been carried out, or may yet be. Sent again they do no harm. */
  readonly settlements: readonly Settlement[]
}

export interface IdleRenewalResult extends Seeing {
  /** Entries that turned out to be trimmed and are pending no more, which settling would then take for superseded ones. */
  readonly lost: number
  readonly leaseLost: boolean
}

export interface ReadRequest {
  readonly count: number
  /** Read nothing while more entries than that are pending and not set aside. Default: do not look, which is cheaper. */
  readonly maxPending?: number | undefined
  /** Inspected with `maxPending`: read nothing while more entries than that are set aside. Default: any number. */
  readonly maxParked?: number
  /** Where `maxPending` is inspected and there is nothing to read, the slot is given back at once, with the flag of publishers or without. Default: it is kept. */
  readonly ifEmpty?: 'keep' | 'give' | 'giveWithFlag'
  /** Commands that are carried out before it, in the same write. Default: none. */
  readonly riders?: readonly JoinedCommand[]
}

/** A read; of a group that is paused as a whole it brings nothing, or what came in the moment before. */
export interface ReadResult extends SettleResult, Seeing {
  readonly entries: readonly Delivery[]
  /** Nothing was read, since more than `maxPending` entries are pending. */
  readonly pendingLimitReached: boolean
  /** Nothing was read, since more than `maxParked` entries are set aside. */
  readonly parkedLimitReached: boolean
  /** There was nothing to read, and the slot was given back. */
  readonly hasEnded: boolean
  readonly groupRecreated: boolean
  /** More may have been read under the slot's name than any answer says: what the reads that follow do not bring is handed back at the end. Default: it was not. */
  readonly isInDoubt?: boolean
  /** An answer for each rider; left out where there are none. */
  readonly answers?: readonly PlainReply[]
}

export interface ClaimRequest {
  readonly minIdleMs: number
  /** Where to go on, as `formatLapCursor` has it; `undefined`: where the last run stopped. */
  readonly cursor: string | undefined
  readonly room: number
  /** Commands that are carried out before it, in the same write. Default: none. */
  readonly riders?: readonly JoinedCommand[]
}

/** A page; of a group that is paused as a whole it is empty, and the next one starts where it did. */
export interface ClaimResult extends SettleResult, Seeing {
  /** Where this page started. */
  readonly from: string
  /** Where the next one starts; `0-0` once all names were inspected; `undefined` if nothing was claimed, the lease being gone. */
  readonly cursor: string | undefined
  readonly claimed: readonly ClaimedEntry[]
  /** Entries that were trimmed while pending; they are pending no more. */
  readonly lost: number
  readonly groupRecreated: boolean
  /** What else there is. */
  readonly aside: SetAsideSummary
  /** A group that was made again has yet to get back what was set aside. */
  readonly isHealing: boolean
  /** An answer for each rider; left out where there are none. */
  readonly answers?: readonly PlainReply[]
}

/** A condition of which only the next entries are taken. */
interface LimitedCondition {
  readonly condition: string
  /** How many, at most. */
  readonly most: number
  /** Those behind that entry, and from the start once there is none. Default: from the start. */
  readonly after?: string | undefined
}

/** How a group on Redis takes what is set aside. */
export interface TakeScripts {
  readonly plain: ScriptQuestion['script']
  /** The same where there are guards. */
  readonly guarded: ScriptQuestion['script']
  /** What says a condition. */
  readonly argumentOf: (condition: string | LimitedCondition) => string
}

/** What of what is set aside is taken. */
export interface TakeDueRequest {
  /** How many entries at most. */
  readonly room: number
  /** Bytes of names and values after which nothing more is started; the first few always are. Default: no bound. */
  readonly maxBytes?: number
  /** What has so many deliveries after its next one is handed over, not started. */
  readonly maxDeliveries: number
  /** Up to when it is due, in milliseconds since 1970; `undefined`: now, on the server's clock. */
  readonly till: number | undefined
  /** Conditions that hold by now; of some only the next entries that wait for them. */
  readonly conditions: readonly (string | LimitedCondition)[]
  /** Those that take some of a condition; by default all of each is taken. */
  readonly scripts?: TakeScripts | undefined
  /** Entries that have one of those values in a field of that name wait until they are no longer among them. */
  readonly unless?: StartClaimedBounds['unless']
  /** Inspected by the server in the same step. Default: none. */
  readonly guards?: StartClaimedBounds['guards']
}

/** What is set aside, as far as it was inspected. */
export interface SetAsideSummary {
  /** Milliseconds until the next entry is due; left out where none waits for a time. */
  readonly dueInMs?: number | undefined
  /** What entries wait for, at most a hundred conditions. */
  readonly conditions: readonly string[]
}

/** A delivery of what was set aside, and for how long that was, in milliseconds. */
export interface DeliveryFromSetAside extends Delivery {
  readonly idleMs: number
}

/** What was taken. */
export interface TakeDueResult extends SettleResult, Seeing {
  /** Up to when the index was inspected, in milliseconds since 1970. */
  readonly till: number
  readonly started: readonly DeliveryFromSetAside[]
  /** At their last delivery, or without one that is left: not started. */
  readonly handed: readonly ClaimedEntry[]
  /** Entries that were trimmed while they were set aside; they are pending no more. */
  readonly lost: number
  readonly left: SetAsideSummary
  /** There is more to take. */
  readonly isMore: boolean
  /** More is due than the next take of as many would bring, so that another may be under way beside it. Left out where it is not known, or takes must follow each other. */
  readonly isMuchMore?: boolean
}

/** How a claimer's run ended. */
export interface ClaimerRunEnd {
  /** What `measure` does, or how the server refused it. */
  readonly measured: GroupMeasurement | Error | undefined
  /** Entries that were trimmed while they were set aside. */
  readonly lost: number
  /** Milliseconds until the next of what is set aside is due; left out where nothing waits for a time, or the server refused to say. */
  readonly dueInMs?: number
}

/** The counts are those of the settlements and of the claimed entries that could not be started. */
export interface StartClaimedResult extends SettleResult, Seeing {
  readonly started: readonly Delivery[]
  /** Those that `StartClaimedBounds.unless` left alone, and those that `maxBytes` had no room for: they are under our name as before. */
  readonly leftAlone: readonly ClaimedEntry[]
  readonly noRoom: readonly ClaimedEntry[]
  /** Those of a paused type, or of a paused group: they are under our name as before. Left out where there are none. */
  readonly leftPaused?: readonly ClaimedEntry[]
}

/** Which group, and what its adapter must know of it. */
export interface GroupAddress {
  readonly stream: string
  readonly group: string
  readonly keys: ConsumerKeys
  /** Settles what is acknowledged with commands that join. There where policies are; memory needs none. */
  readonly joinCalls?: SettleWithCommands | undefined
  /** Somebody promotes delayed events: what reads, or takes a slot, sees when the next one is due. */
  readonly delays?: object | undefined
  /** The server is asked for its time with each slot, in the same write. Memory, which has its process's, is not. */
  readonly asksTime?: boolean | undefined
  readonly settings: {
    readonly startAt: string
    readonly maxDeadLetters: number
    readonly minIdleMs: number
    readonly maxPollers: number
  }
}

/** Settles acknowledgements with what joins them. Policies bring it along: a consumer without is deployed without. */
export type SettleWithCommands = (
  address: GroupAddress,
  slot: Slot,
  settlements: readonly Settlement[],
) => readonly JoinCall[]

/** A call, and what it settles. */
export interface JoinCall {
  readonly chunk: readonly Settlement[]
  /** Of what joins. */
  readonly bytes: number
  readonly call: RedisCall
}

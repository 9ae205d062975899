import type { SettleCounts } from '../core/counts.ts'
import type { Entry, Field } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { cannot } from '../core/options.ts'
import type { JoinedCommand, Outcome } from '../core/outcome.ts'
import type { PlainReply } from '../core/plain-reply.ts'
import type { Backlog } from '../report.ts'
import type { Call } from './redis/sender.ts'

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
  readonly claims?: Claims

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
  giveSlot(slot: Slot, end?: RunEnd): Promise<boolean>

  /**
   * Gives entries their outcomes. Refusals are counted, never thrown.
   *
   * @param known The read before it was not answered: what is pending under the slot's name, was read under its lease, and is neither
   * settled here nor among these ids, never reached us. It is released.
   */
  settle(slot: Slot, settlements: readonly Settlement[], known?: readonly string[]): Promise<SettleResult>

  /**
   * Settles, and reads new entries, in one round trip. A missing group is made again, once. Nothing comes for a slot that went to another:
   * what was read under its name all the same is its new holder's to release.
   */
  settleAndRead(slot: Slot, settlements: readonly Settlement[], request: ReadRequest): Promise<ReadResult>

  /** Sets the idle time of entries that are still ours to 0; their counts stay. Best effort. */
  renew(slot: Slot, held: readonly HeldEntry[]): Promise<RenewResult>

  /** Sends commands of policies on keys beside the group. One round trip, in chunks where a service takes no more. @returns An answer each. */
  ask(commands: readonly JoinedCommand[]): Promise<readonly PlainReply[]>

  /**
   * Inspects what the group has before it, and how many poller slots are taken; `undefined` where there is no group. One round trip, and a
   * bounded one however much is pending.
   *
   * @throws {RedisReplyError} The server refused.
   */
  measure(): Promise<Measured | undefined>
}

/** What a claimer does to a group beside that. */
export interface Claims {
  /** Takes a slot, and claims the first page under it, in one round trip; `undefined` if no slot is free. */
  takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<Opened | undefined>

  /**
   * Settles, and takes over up to `room` entries that have been idle for `minIdleMs` and are due, from `cursor` on; inspects 100 stale ones
   * at most. Delivery counts stay; entries that are not due, or find no room, are left as they were. One round trip. A missing group is made
   * again, once.
   */
  settleAndClaim(slot: Slot, settlements: readonly Settlement[], request: ClaimRequest): Promise<ClaimResult>

  /**
   * Settles, and takes over entries that are due by an index, earliest first. Their delivery counts stay; they stay in the index until they start. One
   * round trip. Where the group is gone there are none.
   */
  settleAndClaimDue(slot: Slot, settlements: readonly Settlement[], request: DueRequest): Promise<DueResult>

  /**
   * Settles, and starts claimed entries: their delivery counts rise by one and their bodies come back. One round trip. Where the group is
   * gone nothing starts, and the next claim makes it again.
   */
  settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    claimed: readonly Claimed[],
    bounds?: StartBounds,
  ): Promise<StartResult>

  /**
   * Ends a claimer's run: keeps the cursor (behind the fence), notes the mark, measures, gives the slot back, and removes consumer names that
   * nobody holds any more. One round trip, and another one where there are such names.
   *
   * @param hasAcked Something was acknowledged; when, is noted.
   * @returns What `measure` does, or how the server refused it.
   */
  finishClaims(slot: Slot, cursor: string, minIdleMs: number, hasAcked?: boolean): Promise<Measured | Error | undefined>
}

/** A slot, and the page that was claimed with it. */
export interface Opened {
  readonly slot: Slot
  readonly page: ClaimResult
}

/** A key while which there is nothing is started; or, of a set of values, nothing that has one of them in the field that `unless` names. */
export interface Guard {
  readonly key: string
  readonly holds: 'all' | 'values'
}

/** Which claimed entries are not started. */
export interface StartBounds {
  /** Bytes of names and values after which nothing more is started; the first few always are. Default: no bound. */
  readonly maxBytes?: number
  /** Entries that have one of those values in a field of that name are left alone. */
  readonly unless?: { readonly field: string; readonly values: readonly string[] } | undefined
  /** Inspected by the server in the same step. Default: none. */
  readonly guards?: readonly Guard[] | undefined
}

/** How a poller's run ended. */
export interface RunEnd {
  /** Ids of what reached us and may still be pending under our name. */
  readonly known: readonly string[]
  /** A read was not answered, and may yet be carried out: what it reads then is nobody's, and is released by whoever finds it. */
  readonly isInDoubt: boolean
  /** A flag that publishers raised since the slot was taken is taken back. */
  readonly takesFlag: boolean
  /** Something was acknowledged; when, is noted. */
  readonly hasAcked: boolean
}

export interface Measured {
  readonly backlog: Backlog
  /** Poller slots that are taken. */
  readonly pollers: number
}

export type SlotKind = 'poller' | 'claimer'

/** A consumer name held under a lease. */
export interface Slot {
  readonly consumerName: string
  /** The lease's value; `''` for a slot without a lease. */
  readonly token: string
  readonly leaseMs: number
  /** When it was taken, in milliseconds since 1970 on the server's clock; there where the address asks for it. */
  readonly takenAt?: number
}

/** An entry under our consumer name. */
export interface HeldEntry {
  readonly id: string
  readonly deliveryCount: number
}

/** An entry whose handler may run: its delivery counts. */
export interface Delivery extends Entry {
  /** This delivery's number, from 1. */
  readonly deliveryCount: number
  /** To whom the entry goes back if its handler never starts. */
  readonly returnTo: Owner
}

export interface Owner {
  readonly owner: string
  readonly idleMs: number
}

/** An entry that the claimer took over and has not started. */
export interface Claimed extends HeldEntry {
  /** Who had it, and for how long it had been idle. */
  readonly from: Owner
}

export interface Settlement {
  readonly id: string
  /** The count it was delivered with: part of the fence. */
  readonly deliveryCount: number
  readonly outcome: Outcome
  /** Of an entry whose event was read; nothing that is settled depends on it. */
  readonly eventType?: string | undefined
}

/** A settlement that sets an entry aside. */
export interface Letter extends Settlement {
  readonly outcome: Extract<Outcome, { readonly kind: 'dead-letter' }>
}

export function isLetter(settlement: Settlement): settlement is Letter {
  return settlement.outcome.kind === 'dead-letter'
}

export interface SettleResult {
  readonly counts: SettleCounts
  /** Commands that the server refused, one error per kind: going on would change nothing. Their entries are still pending. */
  readonly failures: readonly Error[]
  /** Dead letters that the server refused, one error per kind. Their entries are still pending, under the name `parked`. */
  readonly refusals: readonly Error[]
  /** The dead letters that were written. */
  readonly letters: readonly Letter[]
  /** The dead letters that the server refused. */
  readonly refusedLetters: readonly Letter[]
  /** The slot is no longer ours, so that nothing but acks is accepted from us. */
  readonly leaseLost: boolean
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

export interface RenewResult {
  /** Entries that turned out to be trimmed and are pending no more, which settling would then take for superseded ones. */
  readonly lost: number
  readonly leaseLost: boolean
}

export interface ReadRequest {
  readonly count: number
  /** Read nothing while more entries than that are pending. Default: do not look, which is cheaper. */
  readonly maxPending?: number | undefined
  /** Where `maxPending` is inspected and there is nothing to read, the slot is given back at once, with the flag of publishers or without. Default: it is kept. */
  readonly ifEmpty?: 'keep' | 'give' | 'giveWithFlag'
  /** Commands that are carried out before it, in the same write. Default: none. */
  readonly riders?: readonly JoinedCommand[]
}

export interface ReadResult extends SettleResult {
  readonly entries: readonly Delivery[]
  /** Nothing was read, since more than `maxPending` entries are pending. */
  readonly pendingLimitReached: boolean
  /** There was nothing to read, and the slot was given back. */
  readonly hasEnded: boolean
  readonly groupRecreated: boolean
  /** An answer for each rider; left out where there are none. */
  readonly answers?: readonly PlainReply[]
}

export interface ClaimRequest {
  readonly minIdleMs: number
  /** Entry id to go on from, inclusive; `undefined`: where the last run stopped. */
  readonly cursor: string | undefined
  readonly room: number
  /** Commands that are carried out before it, in the same write. Default: none. */
  readonly riders?: readonly JoinedCommand[]
}

export interface ClaimResult extends SettleResult {
  /** Where this page started. */
  readonly from: string
  /** Where the next one starts; `0-0` once every pending entry was inspected; `undefined` if nothing was claimed, the lease being gone. */
  readonly cursor: string | undefined
  readonly claimed: readonly Claimed[]
  /** Entries that were trimmed while pending; they are pending no more. */
  readonly lost: number
  readonly groupRecreated: boolean
  /** An answer for each rider; left out where there are none. */
  readonly answers?: readonly PlainReply[]
}

/** Which entries of an index. */
export interface DueRequest {
  readonly index: string
  /** How many at most. */
  readonly room: number
  /** Up to when they are due, in milliseconds since 1970; `undefined`: now, on the server's clock. */
  readonly till: number | undefined
  /** How many of the earliest to pass over. */
  readonly past: number
}

/** What is due by an index. */
export interface DueResult extends SettleResult {
  /** Up to when the index was inspected, in milliseconds since 1970. */
  readonly till: number
  readonly claimed: readonly Claimed[]
  /** Entries that were trimmed while they waited; they are pending no more. */
  readonly lost: number
}

/** The counts are those of the settlements and of the claimed entries that could not be started. */
export interface StartResult extends SettleResult {
  readonly started: readonly Delivery[]
  /** Those that `StartBounds.unless` left alone, and those that `maxBytes` had no room for: they are under our name as before. */
  readonly leftAlone: readonly Claimed[]
  readonly noRoom: readonly Claimed[]
}

/** Which group, and what its adapter must know of it. */
export interface GroupAddress {
  readonly stream: string
  readonly group: string
  readonly keys: ConsumerKeys
  /** Sorted sets of entries that were set aside, and come back only by them: id → milliseconds since 1970. Default: none. */
  readonly indexes?: readonly string[]
  /** Settles what is acknowledged with commands that join. There where policies are; memory needs none. */
  readonly joinCalls?: Joining | undefined
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
export type Joining = (address: GroupAddress, slot: Slot, settlements: readonly Settlement[]) => readonly JoinCall[]

/** A call, and what it settles. */
interface JoinCall {
  readonly chunk: readonly Settlement[]
  readonly call: Call
}

/** How a stream is bounded. */
export type Trim =
  | { readonly kind: 'length'; readonly maxLength: number; readonly exact: boolean }
  /** Entries that are older than that on the server's clock go. */
  | { readonly kind: 'age'; readonly retentionMs: number; readonly exact: boolean }
  | { readonly kind: 'none' }

/** A key that stands for `windowMs`, unless a poller deletes it before: who raises it wakes that poller, nobody else does. */
export interface WakeFlag {
  readonly key: string
  readonly windowMs: number
}

/** What became of entries and flags, in order. */
export interface Appended {
  /** An id or an error for each entry; an error also where it was not sent any more, or no reply came. */
  readonly answers: readonly (string | Error)[]
  /** Whether each flag was raised; false if it stood already. */
  readonly raised: readonly (boolean | Error)[]
}

/** Appends entries and then raises flags: in one round trip, or a bounded request after the other. */
export type Append = (
  stream: string,
  entries: readonly (readonly Field[])[],
  trim: Trim,
  flags?: readonly WakeFlag[],
) => Promise<Appended>

/** A server, or something that behaves like one. What the option `redis` takes. */
export interface Connection {
  /** Pending entries that the server lets one consumer name have. Default: any number. */
  readonly maxPendingPerName?: number | undefined
  /** @param remainingMs Milliseconds left to the invocation: no call waits for an answer beyond them. */
  group(address: GroupAddress, remainingMs?: () => number): Group
  /** Left out by connections to servers: see `appenderOf`. */
  readonly append?: Append
  /** @throws {TypeError} A policy of the consumer needs what is not there. Left out: all is there, or the server refuses it. */
  assertServes?(action: string, consumer: GroupAddress): void
  /** Lets go of the sockets. */
  close(): Promise<void>
}

/** @throws {TypeError} Not a connection: a client, a URL, or nothing. */
export function assertConnection(action: string, redis: Connection): void {
  if (typeof redis?.group === 'function') return
  throw cannot(action, 'redis must be a connection, as from connectIoredis(url) or connectUpstash(options)')
}

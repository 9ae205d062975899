import { formatCondition, LONGEST_CONDITION, parseCondition } from '../core/condition.ts'
import type { Entry } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { Outcome } from '../core/outcome.ts'
import { quotedValue } from '../errors.ts'
import type { Group, SettleResult, TakeDueRequest, TakeDueResult } from './group.ts'

/** How a group keeps the order of its keys. */
export interface Ordering {
  /** The lane of an entry: the same in every run. Of an entry without a key, one of its own. */
  laneOf(entry: Entry): string
  /** After a dead letter its key waits, until the letter is redriven, dropped or gone. */
  readonly waitsForLetters: boolean
  /** Whether a poller that finds the slot taken waits for it, if there is anything to do by then. Left out where it does not. */
  readonly waitsFor?: (taken: TakenSlot) => boolean
}

/** A slot that another poller holds, as somebody saw it who wanted it. */
export interface TakenSlot {
  /** Milliseconds until its lease ends. */
  readonly heldMs: number
  /** Milliseconds for which it was wanted. */
  readonly wantedMs: number
}

/** Where the lanes of a group are kept. */
export interface LaneKeys {
  /** Hash: lane → the id of its first member, the only one that may start; behind `#` that of a dead letter's entry, for which all wait. */
  readonly lanes: string
  /** Hash: entry id → its lane; behind `!` where its process died. */
  readonly laneOf: string
  /** Sorted set: the dead letters that keys wait for, by lane and entry id. */
  readonly awaited: string
}

const STATE = 'state'

/** The keys of a group's lanes: `{orders}:billing:lanes`, `{orders}:billing:lane-of` and `{orders}:billing:awaited`. */
export function laneKeys({ state }: ConsumerKeys): LaneKeys {
  const prefix = state.slice(0, -STATE.length)
  return { lanes: `${prefix}lanes`, laneOf: `${prefix}lane-of`, awaited: `${prefix}awaited` }
}

/** What KEYS of a script that knows lanes end with. */
export function namedLaneKeys(keys: ConsumerKeys): readonly string[] {
  const { lanes, laneOf, awaited } = laneKeys(keys)
  return [keys.state, lanes, laneOf, awaited]
}

/** The name of the policy, with which the condition of everything begins that waits in order. */
export const ORDER_POLICY = 'orderedBy'

/** All that waits in order, for whatever, stands between these in the index of conditions. */
export const IN_ORDER_FROM = `${ORDER_POLICY} `
export const IN_ORDER_TO = `${ORDER_POLICY}!`

/** All that waits behind another of its key stands between these in the index of conditions. */
export const LANES_FROM = `${ORDER_POLICY} =`
export const LANES_TO = `${ORDER_POLICY} >`

/** The lane of a key. */
export function laneOfKey(key: string): string {
  return formatCondition(ORDER_POLICY, `=${key}`)
}

/** The lane of what a dead letter has as its ordering key, which of a long one is its start and a hash. */
export function laneOfLetter(orderingKey: string): string {
  const [, start = '', hash] = /^(.*)(~[0-9a-f]{40})$/su.exec(orderingKey) ?? []
  if (hash === undefined) return laneOfKey(orderingKey)
  // an escaped character may have been cut
  const [cut = ''] = /%[0-9A-F]?$/u.exec(start) ?? []
  const lanes = [laneOfKey(start), `${laneOfKey(start.slice(0, start.length - cut.length))}${cut}`]
  const lane = lanes.find(({ length }) => length === CUT_LANE)
  return lane === undefined ? laneOfKey(orderingKey) : `${lane}${hash}`
}

/** Characters of a long key's lane before its hash. */
const CUT_LANE = ORDER_POLICY.length + 1 + LONGEST_CONDITION

/** The key that a lane is of, if it is of one; of a long one its start, and a hash. */
export function keyOfLane(lane: string): string | undefined {
  return lane.startsWith(LANES_FROM) ? parseCondition(lane).what.slice(1) : undefined
}

/** What first members wait for whose process died: a claimer takes them, as suspects. */
export const SUSPECTS_CONDITION = `${ORDER_POLICY} !`

/** What entries wait for whose key nobody knows yet, as after a redrive: the poller makes them members. */
export const UNPLACED_CONDITION = `${ORDER_POLICY} ?`

/** What a run hears of the order of its group. */
export interface OrderListener {
  /** That an entry was acknowledged with effects; or that it was not. */
  stored(entryId: string, isDone: boolean): void
  /** How many entries of a settlement were set aside behind others. */
  waiting(entries: number): void
  /** That what is due is taken now, once what is done is settled. @returns How many members of whole lanes may come beside their first ones; below 0, only these may. */
  taking(): number
  /** That a request was not answered: it may be carried out late. */
  unanswered(): void
}

/** Whether an entry is set aside since another of its key goes before it. */
export function waitsInOrder({ kind, ...outcome }: Outcome): boolean {
  return kind === 'park' && (outcome as { condition?: string }).condition?.startsWith(`${ORDER_POLICY} `) === true
}

/** Why a run reads nothing that could make no lanes of all that is pending. */
export function heldWithoutOrderError(group: string): Error {
  return new Error(
    `Cannot read in order: entries of group ${quotedValue(group)} are held by a run that keeps no order; it goes on once that has ended`,
  )
}

/** What a connection may give beside a group. */
export interface OrderableGroup {
  /** The same group, keeping order. Left out by groups on Redis: the policy brings along what keeps it there. */
  inOrder?(ordering: Ordering): Group
}

/** How soon is asked again what is due, by a run that has not read yet. */
const NOT_BEGUN_MS = 50

/** What a take brings before the first read of its run, which makes lanes of all that is pending. */
export function takenBeforeRead(settled: SettleResult, { till = 0 }: TakeDueRequest): TakeDueResult {
  const left = { conditions: [], dueInMs: NOT_BEGUN_MS }
  return { ...settled, till, started: [], handed: [], lost: 0, left, isMore: false }
}

/** A group that keeps order. */
export interface OrderedGroup {
  /** There may be lanes: keys of what was read have to be looked up. */
  mayHaveLanes: boolean
  listener: OrderListener | undefined
  /**
   * Which of some lanes there are, or have an entry of the ids beside them that is still under the slot's name.
   *
   * @throws {RedisConnectionError} No reply came.
   */
  readonly laneQuestion: (consumerName: string, asked: readonly LaneAsked[]) => LaneQuestion
}

/** A lane, and ids of entries of it that this run has not seen settled. */
export interface LaneAsked {
  readonly lane: string
  readonly undone: readonly string[]
}

export interface LaneQuestion {
  readonly script: { readonly lua: string; readonly keyCount: number | undefined }
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
}

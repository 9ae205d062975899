import type { Entry } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { Outcome } from '../core/outcome.ts'
import { quotedValue } from '../errors.ts'
import type { Group } from './group.ts'

/** How a group keeps the order of its keys. */
export interface Ordering {
  /** The lane of an entry: the same in every run. Of an entry without a key, one of its own. */
  laneOf(entry: Entry): string
}

/** Where the lanes of a group are kept. */
export interface LaneKeys {
  /** Hash: lane → the id of its first member, the only one that may start. */
  readonly lanes: string
  /** Hash: entry id → its lane; behind `!` where its process died. */
  readonly laneOf: string
}

const STATE = 'state'

/** The keys of a group's lanes: `{orders}:billing:lanes` and `{orders}:billing:lane-of`. */
export function laneKeys({ state }: ConsumerKeys): LaneKeys {
  const prefix = state.slice(0, -STATE.length)
  return { lanes: `${prefix}lanes`, laneOf: `${prefix}lane-of` }
}

/** The name of the policy, with which the condition of everything begins that waits in order. */
export const ORDER_POLICY = 'orderedBy'

/** All that waits in order, for whatever, stands between these in the index of conditions. */
export const IN_ORDER_FROM = `${ORDER_POLICY} `
export const IN_ORDER_TO = `${ORDER_POLICY}!`

/** All that waits behind another of its key stands between these in the index of conditions. */
export const LANES_FROM = `${ORDER_POLICY} =`
export const LANES_TO = `${ORDER_POLICY} >`

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
  /** That what is due is taken now, once what is done is settled. */
  taking(): void
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

import type { EntryWaiter, Group, Slot, WaitRequest, WaitResult } from '../group.ts'
import { Tally } from '../tally.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'

/** Reads a group's new entries when they come, in memory. */
export class MemoryEntryWaiter implements EntryWaiter {
  readonly maxWaitMs = 1_000
  readonly #calls: MemoryGroupBase
  readonly #group: Group

  constructor(calls: MemoryGroupBase, group: Group) {
    this.#calls = calls
    this.#group = group
  }

  async end(): Promise<void> {}

  async read(slot: Slot, { count, waitMs, asksDue, holdFlagMs, riders }: WaitRequest): Promise<WaitResult> {
    if (holdFlagMs !== undefined) {
      this.#calls.server.lower(this.#calls.address.keys.wake)
      this.#calls.server.raise({ key: this.#calls.address.keys.wake, windowMs: holdFlagMs })
    }
    if (waitMs > 0 && !this.#isThere) await this.#wait(Math.min(waitMs, this.maxWaitMs))
    if (!this.#calls.find()) return { ...NOTHING_READ, ...new Tally().result(), isGroupMissing: true }
    const read = await this.#group.settleAndRead(slot, [], { count, ...(riders && { riders }) })
    const { dueInMs } = this.#calls.left
    return { ...read, isGroupMissing: false, ...(asksDue && dueInMs !== undefined && { dueInMs }) }
  }

  /** There is something to read, or nothing that could be waited for. */
  get #isThere(): boolean {
    const group = this.#calls.find()
    return !group || this.#calls.stream.after(group.lastDeliveredId, 1).length > 0
  }

  async #wait(waitMs: number): Promise<void> {
    const { waiting } = this.#calls.stream
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#calls.server.clock.after(waitMs, resolve)
    waiting.add(resolve)
    await promise
    waiting.delete(resolve)
    cancel()
  }
}

const NOTHING_READ = {
  entries: [],
  pendingLimitReached: false,
  parkedLimitReached: false,
  hasEnded: false,
  groupRecreated: false,
}

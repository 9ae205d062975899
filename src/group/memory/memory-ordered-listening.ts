import type { Group, Settlement, Slot, TakeDueRequest, TakeDueResult, WaitRequest, WaitResult } from '../group.ts'
import { takenBeforeRead, UNPLACED_CONDITION } from '../ordering.ts'
import { MemoryClaimerOperations } from './memory-claimer-operations.ts'
import { MemoryEntryWaiter } from './memory-entry-waiter.ts'
import type { MemoryOrderedBase } from './memory-ordered-base.ts'
import { settleInMemory } from './memory-settling.ts'

/** As another; what was put back to work and is in no lane yet is the next run's first concern. */
export class MemoryOrderedEntryWaiter extends MemoryEntryWaiter {
  readonly #base: MemoryOrderedBase

  constructor(base: MemoryOrderedBase, group: Group) {
    super(base, group)
    this.#base = base
  }

  override async read(slot: Slot, request: WaitRequest): Promise<WaitResult> {
    const read = await super.read(slot, request)
    const inbox = this.#base.server.waits(this.#base.address.keys.waiting).get(UNPLACED_CONDITION)
    return read.entries.length === 0 && inbox?.size ? { ...read, leaseLost: true } : read
  }
}

/** As another; nothing is taken before all that is pending has its lane. */
export class MemoryOrderedClaims extends MemoryClaimerOperations {
  readonly #base: MemoryOrderedBase
  readonly #mayTake: (slot: Slot) => boolean

  constructor(base: MemoryOrderedBase, mayTake: (slot: Slot) => boolean) {
    super(base)
    this.#base = base
    this.#mayTake = mayTake
  }

  override async settleAndTake(
    slot: Slot,
    settlements: readonly Settlement[],
    request: TakeDueRequest,
  ): Promise<TakeDueResult> {
    if (this.#mayTake(slot)) return super.settleAndTake(slot, settlements, request)
    this.#base.roundTrips++
    return takenBeforeRead(settleInMemory(this.#base, slot, settlements), request)
  }
}

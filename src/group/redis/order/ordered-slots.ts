import { RedisConnectionError, RedisReplyError } from '../../../errors.ts'
import type { GroupMeasurement, PollerRunEnd, Slot, SlotKind } from '../../group.ts'
import { SlotWait } from '../../slot-wait.ts'
import { measureBacklogCall, parseBacklogMeasurement } from '../measuring.ts'
import { takeSlotCalls } from '../take-slot-calls.ts'
import type { OrderedCalls } from './ordered-calls.ts'
import { POLLER_NAMES } from './read-in-order.ts'

type GiveSlot = (slot: Slot, end?: PollerRunEnd) => Promise<boolean>

/**
 * Takes the one poller slot of a stream in order, for one run after the other of an invocation. A lease that one run could not give back, or does not know of, since an answer was lost, would keep
 * the next from the slot until the invocation's time is over: it is given back, or taken again, first.
 */
export class OrderedSlots {
  readonly #calls: OrderedCalls
  readonly #give: GiveSlot
  readonly #wait: SlotWait
  /** Of the last take, as long as it was not answered. */
  #token: string | undefined
  /** What could not be given back. */
  #owed: readonly [slot: Slot, end: PollerRunEnd | undefined] | undefined

  constructor(calls: OrderedCalls, give: GiveSlot) {
    this.#calls = calls
    this.#give = give
    this.#wait = new SlotWait(calls.ordering)
  }

  /** A poller found the slot taken, and looks again each second. */
  get isWorthWaiting(): boolean {
    return this.#wait.isWorthIt
  }

  /** @throws {RedisConnectionError} No reply came. */
  async take(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    const { address, sender } = this.#calls
    if (this.#owed) await this.#give(...this.#owed)
    const taking = takeSlotCalls(address, kind, slots, leaseMs, this.#token)
    this.#token = taking.token
    const [reply, told] = await sender.send([taking.call, ...taking.also])
    this.#token = undefined
    const slot = taking.slotOf(reply, told)
    if (kind === 'poller') await this.#wait.looked(slot, leaseMs, () => this.#asked())
    return slot
  }

  /** One request. */
  async #asked(): Promise<{ heldMs: number; measured: GroupMeasurement | undefined }> {
    const { address, sender } = this.#calls
    const lease = address.keys.slot(`${POLLER_NAMES}0`)
    const [heldMs, reply] = await sender.send([['pttl', lease], measureBacklogCall(address)])
    const measured = parseBacklogMeasurement(reply)
    return {
      heldMs: Math.max(0, Number(heldMs)),
      measured: measured instanceof RedisReplyError ? undefined : measured,
    }
  }

  /** @param giving Gives the slot back. @throws {RedisConnectionError} No reply came: the next take begins with it. */
  async give(slot: Slot, end: PollerRunEnd | undefined, giving: () => Promise<boolean>): Promise<boolean> {
    this.#owed = slot.token === '' ? undefined : [slot, end]
    try {
      const isWanted = await giving()
      this.#owed = undefined
      return isWanted
    } catch (error) {
      if (!(error instanceof RedisConnectionError)) this.#owed = undefined
      throw error
    }
  }
}

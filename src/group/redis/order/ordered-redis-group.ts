import type { Entry } from '../../../core/entry.ts'
import type {
  ClaimerOperations,
  EntryWaiter,
  HandBack,
  PollerRunEnd,
  ReadRequest,
  ReadResult,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
} from '../../group.ts'
import type { LaneAsked, LaneQuestion, OrderedGroup, Ordering, OrderListener } from '../../ordering.ts'
import { heldWithoutOrderError } from '../../ordering.ts'
import type { AwaitableSlots } from '../../slot-wait.ts'
import { replyAsFields, replyAsText, replyItems } from '../commands/reply.ts'
import { RedisGroup } from '../redis-group.ts'
import type { LuaScript } from '../scripts/script.ts'
import { isRequestTooLarge } from '../sender.ts'
import type { RedisReply } from '../transport.ts'
import { finishReadsInOrderScript } from './claim-in-order.ts'
import { waitNoMoreScript } from './go-on.ts'
import { OrderedCalls } from './ordered-calls.ts'
import { OrderedClaims } from './ordered-claims.ts'
import { OrderedEntryWaiter } from './ordered-entry-waiter.ts'
import { OrderedReads } from './ordered-reads.ts'
import { OrderedSlots } from './ordered-slots.ts'
import { MOST_UNPLACED, placeEntriesScript, sweepLanesScript, unplacedEntriesScript } from './place-entries.ts'
import { NOTHING } from './read-answers.ts'
import { lanesThereScript, POLLER_NAMES } from './read-in-order.ts'

/** How often a run tries to make members of all that is pending, before it leaves that to the next. */
const TRIES = 3

/** A group on Redis that keeps the order of its keys. */
export class OrderedRedisGroup extends RedisGroup implements OrderedGroup, AwaitableSlots {
  readonly claims: ClaimerOperations
  mayHaveLanes = true
  listener: OrderListener | undefined
  readonly #calls: OrderedCalls
  readonly #slots: OrderedSlots
  readonly #reads: OrderedReads

  constructor(group: RedisGroup, ordering: Ordering) {
    const calls = new OrderedCalls(group.calls, ordering)
    super(calls, { mostEntries: Infinity }, group.waiting)
    this.#calls = calls
    this.#reads = new OrderedReads(calls)
    this.claims = new OrderedClaims(calls, (slot) => {
      return !slot.consumerName.startsWith(POLLER_NAMES) || this.#reads.hasBegun(slot)
    })
    this.#slots = new OrderedSlots(calls, (slot, end) => this.giveSlot(slot, end))
    calls.order = this
  }

  override async settle(slot: Slot, settlements: readonly Settlement[], handBack?: HandBack): Promise<SettleResult> {
    const { settled } = await this.#calls.settleWith(slot, settlements, [])
    if (handBack) await this.#release(slot, [...handBack.known, ...settlements.map(({ id }) => id)])
    return settled
  }

  override async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    request: ReadRequest,
  ): Promise<ReadResult> {
    let read = await this.#reads.read(slot, settlements, request)
    for (let tries = 0; read === undefined && tries < TRIES; tries++) {
      await this.#placeAll(slot)
      read = await this.#reads.read(slot, [], request, true)
    }
    if (read) return read
    const failures = [heldWithoutOrderError(this.#calls.address.group)]
    return { ...(await this.#calls.settleWith(slot, [], [])).settled, ...NOTHING, failures }
  }

  /** No key waits for a letter any more, as one did before this deployment. */
  async #waitNoMore(slot: Slot): Promise<void> {
    while ((await this.#run(slot, waitNoMoreScript, [])) === 1);
  }

  /** Makes members of all that is pending and has no lane, and takes off what is pending no more. */
  async #placeAll(slot: Slot): Promise<void> {
    if (!this.#calls.ordering.waitsForLetters) await this.#waitNoMore(slot)
    await this.#place(slot)
    await this.#sweep(slot, 'members')
    await this.#sweep(slot, 'lanes')
  }

  /** Releases what was read under the slot and never reached the run. @param known Ids of what did. */
  async #release(slot: Slot, known: readonly string[]): Promise<void> {
    await this.#place(slot, new Set(known))
  }

  /** @param known Ids of what reached the run: all else under its name was read for it. Left out: it has read nothing. */
  async #place(slot: Slot, known?: ReadonlySet<string>): Promise<void> {
    const isReleased = known !== undefined
    let most = MOST_UNPLACED
    const held = new Set<string>()
    for (let after = ''; ; ) {
      let reply: RedisReply
      try {
        reply = await this.#run(slot, unplacedEntriesScript, [after, most])
      } catch (error) {
        if (!isRequestTooLarge(error as Error) || most === 1) throw error
        most = Math.ceil(most / 2)
        continue
      }
      const answer = replyItems(reply)
      if (answer.length === 0) return
      const [next, found, , isHealing] = answer
      if (isHealing === 1 && !isReleased) while (!(await this.claims.heal(slot)).isDone);
      const entries = replyItems(found)
        .map((item) => {
          const [id, fields] = replyItems(item)
          return { id: replyAsText(id), fields: replyAsFields(fields) }
        })
        .filter(({ id }) => !known?.has(id))
      if (entries.length > 0) await this.#makeMembers(slot, entries, isReleased, held)
      after = replyAsText(next)
      if (after === '') return
    }
  }

  /** @param held Lanes of which a living run has entries: what is behind these waits for its end. */
  async #makeMembers(slot: Slot, entries: readonly Entry[], isReleased: boolean, held: Set<string>): Promise<void> {
    const { keys, settings } = this.#calls.address
    const names = this.#calls.slotNames
    const placed = entries
      .map((entry) => [entry.id, this.#calls.ordering.laneOf(entry)] as const)
      .filter(([, lane]) => !held.has(lane))
    const leases = names.map((name) => keys.slot(name))
    // before its first read is answered some of what lies under the name may be of those who had it before
    const released = isReleased ? (this.#reads.hasBegun(slot) ? 1 : 2) : 0
    const args = [released, names.length, ...names, settings.minIdleMs, ...placed.flat()]
    const [, , lanes] = replyItems(await this.#run(slot, placeEntriesScript, args, leases))
    for (const lane of replyItems(lanes)) held.add(replyAsText(lane))
  }

  async #sweep(slot: Slot, which: 'members' | 'lanes'): Promise<void> {
    for (let cursor = '0'; ; ) {
      cursor = replyAsText(await this.#run(slot, sweepLanesScript, [which, cursor]))
      if (cursor === '0') return
    }
  }

  #run(slot: Slot, script: LuaScript, args: readonly (string | number)[], keys: readonly string[] = []) {
    const { stream, keys: own } = this.#calls.address
    return this.#calls.sender.call({
      script,
      keys: [stream, this.#calls.lease(slot), own.due, own.waiting, ...keys, ...this.#calls.laneKeys],
      args: [...this.#calls.fence(slot), ...args],
    })
  }

  override giveSlot(slot: Slot, end?: PollerRunEnd): Promise<boolean> {
    return this.#slots.give(slot, end, () => this.#giveSlot(slot, end))
  }

  async #giveSlot(slot: Slot, end?: PollerRunEnd): Promise<boolean> {
    if (slot.token === '' || !end) return super.giveSlot(slot, end)
    const { stream, keys, settings } = this.#calls.address
    if (end.isInDoubt) await this.#release(slot, end.known)
    const flag = end.takesFlag ? [keys.wake] : []
    const reply = await this.#calls.sender.call({
      script: finishReadsInOrderScript,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.state, ...flag],
      args: [
        ...this.#calls.fence(slot),
        slot.leaseMs,
        settings.minIdleMs,
        Number(end.hasAcked),
        Number(end.isInDoubt),
        '-',
      ],
    })
    return end.takesFlag && reply === 1
  }

  override takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    return this.#slots.take(kind, slots, leaseMs)
  }

  get looksAgain(): boolean {
    return this.#slots.isWorthWaiting
  }

  openWaiter(): EntryWaiter {
    return new OrderedEntryWaiter(this.#calls, this.waiting, this)
  }

  laneQuestion(consumerName: string, asked: readonly LaneAsked[]): LaneQuestion {
    const { stream, group } = this.#calls.address
    const { lanes } = this.#calls.lanes
    return {
      script: lanesThereScript,
      keys: [stream, lanes],
      args: [group, consumerName, ...asked.flatMap(({ lane, undone }) => [lane, undone.length, ...undone])],
    }
  }
}

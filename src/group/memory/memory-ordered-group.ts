import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import { isPlainAck, OUTCOME_KINDS } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
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
} from '../group.ts'
import type { LaneAsked, LaneQuestion, OrderedGroup, OrderListener } from '../ordering.ts'
import { heldWithoutOrderError, waitsInOrder } from '../ordering.ts'
import { lanesThereScript, POLLER_NAMES } from '../redis/order/read-in-order.ts'
import type { AwaitableSlots } from '../slot-wait.ts'
import { SlotWait } from '../slot-wait.ts'
import { MemoryGroup } from './memory-group.ts'
import { isScriptQuestion } from './memory-holding.ts'
import type { MemoryOrderedBase } from './memory-ordered-base.ts'
import { MemoryOrderedClaims, MemoryOrderedEntryWaiter } from './memory-ordered-listening.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'
import { settleInMemory } from './memory-settling.ts'

/** A group in memory that keeps the order of its keys. */
export class MemoryOrderedGroup extends MemoryGroup implements OrderedGroup, AwaitableSlots {
  override readonly claims: ClaimerOperations
  mayHaveLanes = true
  listener: OrderListener | undefined
  readonly #base: MemoryOrderedBase
  readonly #wait: SlotWait
  readonly #begun = new Set<string>()

  constructor(base: MemoryOrderedBase) {
    super(base)
    this.#base = base
    this.claims = new MemoryOrderedClaims(base, ({ consumerName, token }) => {
      return !consumerName.startsWith(POLLER_NAMES) || this.#begun.has(token)
    })
    this.#wait = new SlotWait(base.ordering)
    base.onTaking = () => this.listener?.taking() ?? -1
  }

  override openWaiter(): EntryWaiter {
    return new MemoryOrderedEntryWaiter(this.#base, this)
  }

  get looksAgain(): boolean {
    return this.#wait.isWorthIt
  }

  override async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    const slot = await super.takeSlot(kind, slots, leaseMs)
    const { server, now, address } = this.#base
    const asked = async () => {
      const { until = now } = server.leases.get(address.keys.slot(`${POLLER_NAMES}0`)) ?? {}
      return { heldMs: until - now, measured: await this.measure() }
    }
    if (kind === 'poller') await this.#wait.looked(slot, leaseMs, asked)
    return slot
  }

  override async settle(slot: Slot, settlements: readonly Settlement[], handBack?: HandBack): Promise<SettleResult> {
    if (settlements.length > 0 || handBack) this.#base.roundTrips++
    const settled = this.#settle(slot, settlements)
    const group = this.#base.find()
    if (handBack && group && this.#base.isLeased(slot) && this.#begun.has(slot.token))
      this.#base.placeAll(group, slot, new Set([...handBack.known, ...settlements.map(({ id }) => id)]))
    return settled
  }

  override async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    request: ReadRequest,
  ): Promise<ReadResult> {
    const settled = this.#settle(slot, settlements)
    const read = (asked: ReadRequest) => super.settleAndRead(slot, [], asked)
    const nothing = {
      ...settled,
      entries: [],
      pendingLimitReached: false,
      parkedLimitReached: false,
      hasEnded: false,
      groupRecreated: false,
      leaseLost: true,
    }
    if (slot.token === '' || !this.#base.isLeased(slot)) return nothing
    const { group, groupRecreated } = this.#base.open()
    if (groupRecreated) return { ...nothing, groupRecreated }
    const isFirst = !this.#begun.has(slot.token)
    if (isFirst) {
      const isWhole = this.#base.placeAll(group, slot, undefined)
      if (!isWhole)
        return { ...nothing, leaseLost: settled.leaseLost, failures: [heldWithoutOrderError(this.#base.address.group)] }
      this.#begun.add(slot.token)
      this.mayHaveLanes = this.#base.lanes.firsts.size > 0
    }
    const gone = isFirst ? this.#goOn(group) : 0
    const counts = gone > 0 ? { ...settled.counts, deadLettersGone: gone } : settled.counts
    if (this.#base.isAllPaused) return { ...nothing, counts, leaseLost: settled.leaseLost, ...this.#base.seenPauses }
    const { counts: _counts, ...came } = await read({ ...request, ifEmpty: 'keep' })
    return { ...came, ...settled, counts, leaseLost: settled.leaseLost || came.leaseLost }
  }

  override async giveSlot(slot: Slot, end?: PollerRunEnd): Promise<boolean> {
    const group = this.#base.find()
    if (end?.isInDoubt && group && this.#base.isLeased(slot) && this.#begun.has(slot.token))
      this.#base.placeAll(group, slot, new Set(end.known))
    // what is under its name is the next poller's to make members of
    const known = group ? [...group.pending.keys()] : []
    return super.giveSlot(slot, end && { ...end, known, isInDoubt: false })
  }

  override async ask(commands: readonly (JoinedCommand | ScriptQuestion)[]): Promise<readonly PlainReply[]> {
    const others = commands.filter((one) => !isLaneQuestion(one))
    const answers = [...(await super.ask(others))]
    if (others.length === 0) this.#base.roundTrips++
    return commands.map((one) => (isLaneQuestion(one) ? this.#lanesThere(one) : (answers.shift() as PlainReply)))
  }

  laneQuestion(consumerName: string, asked: readonly LaneAsked[]): LaneQuestion {
    const args = [consumerName, ...asked.flatMap(({ lane, undone }) => [lane, undone.length, ...undone])]
    return { script: lanesThereScript, keys: [], args }
  }

  /** Lanes go on whose letters are gone, or that no letter holds up any more. @returns How many letters are gone. */
  #goOn(group: MemoryConsumerGroup): number {
    if (this.#base.waitsForLetters) return this.#base.lookForLetters(group)
    this.#base.waitNoMore(group)
    return 0
  }

  #lanesThere({ args: [consumerName, ...args] }: LaneQuestion): PlainReply {
    const { firsts } = this.#base.lanes
    const pending = this.#base.find()?.pending
    const out: number[] = []
    for (let at = 0; at < args.length; ) {
      const ids = args.slice(at + 2, at + 2 + Number(args[at + 1])).map(String)
      const isUnderName = ids.some((id) => pending?.get(id)?.owner === consumerName)
      out.push(Number(firsts.has(String(args[at])) || isUnderName))
      at += 2 + ids.length
    }
    return [...out, Number(firsts.size > 0)]
  }

  #settle(slot: Slot, settlements: readonly Settlement[]): SettleResult {
    if (settlements.some(({ outcome }) => !isPlainAck(outcome))) this.mayHaveLanes = true
    const group = this.#base.find()
    const setAside = settlements.filter((one) => waitsInOrder(one.outcome) && group?.isHeldBy(slot.consumerName, one))
    const settled = settleInMemory(this.#base, slot, settlements)
    this.listener?.waiting(setAside.filter(({ id }) => group?.pending.get(id)?.owner === PARKED_CONSUMER).length)
    const notDone = new Set([
      ...(settled.notAcked ?? []),
      ...(settled.failed ?? []).map(({ settlement }) => settlement),
    ])
    if (notDone.size > 0) this.mayHaveLanes = true
    for (const one of settlements)
      if (OUTCOME_KINDS[one.outcome.kind].op === 'join') this.listener?.stored(one.id, !notDone.has(one))
    return settled
  }
}

function isLaneQuestion(one: JoinedCommand | ScriptQuestion): one is LaneQuestion {
  return isScriptQuestion(one) && one.script === lanesThereScript
}

import type { Field } from '../../core/entry.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { RedisReplyError } from '../../errors.ts'
import type { ClaimedEntry } from '../delivery.ts'
import type {
  ClaimerOperations,
  Group,
  Settlement,
  SettleResult,
  Slot,
  StartClaimedBounds,
  StartClaimedResult,
  TakeDueRequest,
  TakeDueResult,
  TakeScripts,
} from '../group.ts'
import { parseStartReply, parseTakeReply, together } from './claim-replies.ts'
import { replyAsFields, replyItems } from './commands/reply.ts'
import type { RedisGroup } from './redis-group.ts'
import type { RedisGroupCalls } from './redis-group-calls.ts'
import { heldEntryArguments } from './redis-group-calls.ts'
import { peekScript } from './scripts/peek.ts'
import { startClaimedScript, startGuardedScript } from './scripts/start.ts'
import { takeSetAsideGuardedScript, takeSetAsideScript } from './scripts/take.ts'
import { undoTakeScript } from './scripts/undo-take.ts'
import type { RedisCall, ScriptCall } from './sender.ts'
import { isRequestTooLarge, isUnanswered } from './sender.ts'

/** What of the claimer's side of a group starts entries: a poller that listens has it as well. */
export type RetryOperations = Pick<ClaimerOperations, 'settleAndTake' | 'settleAndGiveBack' | 'settleAndStart' | 'peek'>

const SECOND_PLACE = '+'

const TAKE_ALL: TakeScripts = {
  plain: takeSetAsideScript,
  guarded: takeSetAsideGuardedScript,
  argumentOf: String,
}

/** That side of a group. A group on Redis does not have it: who uses it brings it along. */
export function retryOperationsOf(group: Group): RetryOperations {
  return group.claims ?? new RedisRetries((group as RedisGroup).calls)
}

/** Takes and starts what comes back, on Redis. */
export class RedisRetries implements RetryOperations {
  protected readonly calls: RedisGroupCalls
  /** Of takes that were not answered yet. */
  readonly #unanswered = new Set<string>()
  /** Of the last take. */
  #nonce = ''

  constructor(calls: RedisGroupCalls) {
    this.calls = calls
  }

  async settleAndTake(slot: Slot, settlements: readonly Settlement[], request: TakeDueRequest): Promise<TakeDueResult> {
    const nonce = this.#newNonce()
    const { settled, replies } = await this.calls.settleWith(slot, settlements, [this.takeDue(slot, nonce, request)])
    const [reply = null] = replies
    if (!(reply instanceof RedisReplyError && isRequestTooLarge(reply) && request.room > 1)) {
      if (!isUnanswered(reply)) this.#unanswered.delete(nonce)
      return parseTakeReply(settled, reply, request)
    }
    await this.#giveBack(slot, [], [nonce])
    const again = await this.settleAndTake(slot, [], { ...request, room: Math.ceil(request.room / 2) })
    return { ...again, ...settled, failures: [...settled.failures, ...again.failures] }
  }

  /** With two takes under way, each is noted at a place of its own: the script goes by what is behind the UUID. */
  #newNonce(): string {
    const isPlaceTaken = [...this.#unanswered].some((other) => !other.endsWith(SECOND_PLACE))
    this.#nonce = `${crypto.randomUUID()}${isPlaceTaken ? SECOND_PLACE : ''}`
    this.#unanswered.add(this.#nonce)
    return this.#nonce
  }

  protected takeDue(slot: Slot, nonce: string, request: TakeDueRequest): ScriptCall {
    const { keys } = this.calls.address
    const { room, maxBytes = '', maxDeliveries, till = '', conditions, unless, guards = [] } = request
    const { field, values } = unless ?? { field: '', values: [] }
    const bounds = [nonce, room, maxBytes, maxDeliveries, till, field, values.length, ...values]
    const { plain, guarded, argumentOf } = request.scripts ?? TAKE_ALL
    return {
      script: guards.length > 0 ? guarded : plain,
      keys: [...this.asideKeys(slot), keys.state, keys.paused, ...guards.map(({ key }) => key)],
      args: [...this.calls.fence(slot), ...bounds, ...guards.map(({ holds }) => holds), ...conditions.map(argumentOf)],
    }
  }

  settleAndGiveBack(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult> {
    return this.#giveBack(slot, settlements, this.#unanswered.size > 0 ? [...this.#unanswered] : [this.#nonce])
  }

  async #giveBack(slot: Slot, settlements: readonly Settlement[], nonces: readonly string[]): Promise<SettleResult> {
    const keys = [...this.asideKeys(slot), this.calls.address.keys.state]
    const undo = (nonce: string) => ({ script: undoTakeScript, keys, args: [...this.calls.fence(slot), nonce] })
    const { settled } = await this.calls.settleWith(slot, settlements, nonces.map(undo))
    if (!settled.unanswered) for (const nonce of nonces) this.#unanswered.delete(nonce)
    return settled
  }

  async peek(ids: readonly string[], field = ''): Promise<readonly (readonly Field[])[]> {
    const [reply = null] = await this.calls.sender.send([
      { script: peekScript, keys: [this.calls.address.stream], args: [field, ...ids] },
    ])
    if (reply instanceof RedisReplyError) throw reply
    return replyItems(reply).map(replyAsFields)
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    given: readonly ClaimedEntry[],
    bounds: StartClaimedBounds = {},
  ): Promise<StartClaimedResult> {
    // consumer by consumer, and by their times, they came
    const claimed = given.toSorted((a, b) => compareEntryIds(a.id, b.id))
    const { settled, replies } = await this.calls.settleWith(slot, settlements, [this.#start(slot, claimed, bounds)])
    const [reply = null] = replies
    if (reply instanceof RedisReplyError && isRequestTooLarge(reply) && claimed.length > 1)
      return together(settled, await this.#startHalves(slot, claimed, bounds))
    return parseStartReply(slot, settled, reply, claimed)
  }

  #start(
    slot: Slot,
    claimed: readonly ClaimedEntry[],
    { maxBytes, unless, guards = [] }: StartClaimedBounds,
  ): RedisCall {
    const { stream, keys } = this.calls.address
    const { field, values } = unless ?? { field: '', values: [] }
    const kinds = guards.map(({ holds }) => holds)
    const fence = this.calls.fence(slot)
    return {
      script: guards.length > 0 ? startGuardedScript : startClaimedScript,
      keys: [stream, this.calls.lease(slot), keys.due, keys.paused, ...guards.map(({ key }) => key)],
      args: [...fence, maxBytes ?? '', field, values.length, ...values, ...kinds, ...heldEntryArguments(claimed)],
    }
  }

  /** Starts what was too much for one answer; sent again it counts no delivery twice. */
  async #startHalves(
    slot: Slot,
    claimed: readonly ClaimedEntry[],
    bounds: StartClaimedBounds,
  ): Promise<StartClaimedResult[]> {
    const middle = Math.ceil(claimed.length / 2)
    const first = await this.settleAndStart(slot, [], claimed.slice(0, middle), bounds)
    return [first, await this.settleAndStart(slot, [], claimed.slice(middle), bounds)]
  }

  /** What every script has that sets aside. */
  protected asideKeys(slot: Slot): string[] {
    const { stream, keys } = this.calls.address
    return [stream, this.calls.lease(slot), keys.due, keys.waiting]
  }
}

import { delayKeys } from '../../core/keys.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import type { HeldEntry } from '../delivery.ts'
import type { GroupAddress, Settlement, SettleResult, Slot } from '../group.ts'
import { getCommand } from './commands/get.ts'
import { toPlainReply } from './commands/reply.ts'
import { CREATE_GROUP_SCRIPT_ANSWERS, createGroupScript } from './scripts/create-group.ts'
import type { CallSender, RedisCall } from './sender.ts'
import { isReplyError, isUnanswered } from './sender.ts'
import { settleCalls } from './settling.ts'
import type { RedisReply, ReplyOrConnectionError } from './transport.ts'

/** What settles a batch, and what came back for the calls that travelled with it. */
export interface SettledWithReplies {
  readonly settled: SettleResult
  readonly replies: readonly ReplyOrConnectionError[]
  /** Of riders; left out where there are none. */
  readonly answers?: readonly PlainReply[]
}

/** What both sides of a group on Redis send their calls by. */
export class RedisGroupCalls {
  readonly address: GroupAddress
  readonly sender: CallSender
  /** Groups that this process has seen alive: they are made again where they were, never where a new one starts. */
  readonly lived: Set<string>
  readonly name: string

  constructor(address: GroupAddress, sender: CallSender, lived: Set<string>) {
    this.address = address
    this.sender = sender
    this.lived = lived
    this.name = JSON.stringify([address.stream, address.group])
  }

  /** What every fenced script gets of its caller: group, consumer, token. */
  fence(slot: Slot): string[] {
    return [this.address.group, slot.consumerName, slot.token]
  }

  lease(slot: Slot): string {
    return this.address.keys.slot(slot.consumerName)
  }

  /** Settles and makes more calls, in one round trip. @param riders Commands of policies, which go before these calls. */
  async settleWith(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders: readonly JoinedCommand[] = [],
  ): Promise<SettledWithReplies> {
    const settling = settleCalls(this.address, slot, settlements)
    const apart = settling.isLarge ? settling.calls : []
    // not awaited where there is nothing: a read ahead is sent before handlers start
    const before = apart.length > 0 ? await this.#askEach(apart) : []
    const rest = [...settling.calls.slice(apart.length), ...riders, ...calls]
    const lost = before.find(isUnanswered)
    const answers = [...before, ...(lost ? rest.map(() => lost) : await this.sender.ask(rest))]
    const at = settling.calls.length + riders.length
    return {
      settled: settling.result(answers),
      replies: answers.slice(at),
      ...(riders.length > 0 && { answers: answers.slice(settling.calls.length, at).map(toPlainReply) }),
    }
  }

  /** The same; where the first of the calls finds no group, makes it again and calls once more. */
  async settleAnd(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders?: readonly JoinedCommand[],
  ): Promise<SettledWithReplies & { readonly groupRecreated: boolean }> {
    const first = await this.settleWith(slot, settlements, calls, riders)
    const { answers } = first
    const [reply] = first.replies
    if (!isReplyError(reply, 'NOGROUP')) {
      this.seen(reply)
      return { ...first, groupRecreated: false }
    }
    const [created = null] = await this.sender.ask([this.#create()])
    const ridden = answers && { answers }
    if (created instanceof Error) return { ...withAnswers(first.settled, [created]), ...ridden, groupRecreated: false }
    this.lived.add(this.name)
    const again = withAnswers(first.settled, await this.sender.ask(calls))
    return { ...again, ...ridden, groupRecreated: created === CREATE_GROUP_SCRIPT_ANSWERS.recreated }
  }

  /** Each call by a request of its own; once one is not answered, none. */
  async #askEach(calls: readonly RedisCall[]): Promise<ReplyOrConnectionError[]> {
    const answers: ReplyOrConnectionError[] = []
    for (const call of calls) {
      const last = answers.at(-1)
      answers.push(isUnanswered(last) ? last : ((await this.sender.ask([call]))[0] as ReplyOrConnectionError))
    }
    return answers
  }

  /** Keys that are asked for with a read: the lease, what is paused, and where somebody promotes, when the next delayed event is due. */
  besideRead(slot: Slot): string[] {
    const { stream, keys, delays } = this.address
    return [this.lease(slot), keys.paused, ...(delays ? [delayKeys(stream).next] : [])]
  }

  /** What MGET answered for keys; a promise where they have to be asked for one by one. */
  texts(
    keys: readonly string[],
    reply: ReplyOrConnectionError = null,
  ): readonly ReplyOrConnectionError[] | Promise<readonly ReplyOrConnectionError[]> {
    if (isReplyError(reply, 'TRYAGAIN')) return this.sender.ask(keys.map(getCommand))
    return Array.isArray(reply) ? (reply as readonly RedisReply[]) : keys.map(() => reply)
  }

  /** Sends commands of policies. @throws {RedisConnectionError} No reply came, to one of them at least. */
  async ask(commands: readonly (JoinedCommand | ScriptQuestion)[]): Promise<readonly PlainReply[]> {
    return (await this.sender.send(commands)).map(toPlainReply)
  }

  /** A reply that is no error shows that the group is there. */
  seen(reply: ReplyOrConnectionError | undefined): void {
    if (!(reply instanceof Error)) this.lived.add(this.name)
  }

  #create(): RedisCall {
    const { stream, group, keys, settings } = this.address
    const args = [group, settings.startAt, this.lived.has(this.name) ? 1 : 0]
    return { script: createGroupScript, keys: [stream, keys.state], args }
  }
}

export function withAnswers(settled: SettleResult, replies: readonly ReplyOrConnectionError[]): SettledWithReplies {
  const error = replies.find(isUnanswered)
  return { settled: error ? { ...settled, unanswered: { error, settlements: [] } } : settled, replies }
}

/** What a result says of settlements, without what was read. */
export function settledOf(result: SettleResult): Omit<SettleResult, 'failures' | 'leaseLost'> {
  const { counts, refusals, letters, refusedLetters, notAcked, failed, unanswered } = result
  const kept = { counts, refusals, letters, refusedLetters }
  return { ...kept, ...(notAcked && { notAcked }), ...(failed && { failed }), ...(unanswered && { unanswered }) }
}

/** Entries as a fenced script takes them. */
export function heldEntryArguments(held: readonly HeldEntry[]): (string | number)[] {
  return held.flatMap(({ id, deliveryCount }) => [id, deliveryCount])
}

import type { ConsumerKeys } from '../../core/keys.ts'
import { consumerKeys, delayKeys } from '../../core/keys.ts'
import type { AppendEntries, Connection } from '../../group/connection.ts'
import type { Delivery } from '../../group/delivery.ts'
import type { ClaimerOperations, Group, GroupAddress, Slot } from '../../group/group.ts'
import { createAppender } from '../../group/redis/append.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { claimerOperationsOf } from '../../group/redis/redis-claims.ts'
import { createOperatorSender } from '../../group/redis/redis-connection.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'

const GROUP = 'try'
export const TRY_KEY_PREFIX = '{millrace-try-'
export const TRY_MIN_IDLE_MS = 600_000
const LEASE_MS = 120_000

/** Where one check happens: a stream and a group of its own on the server, which nobody else knows. */
export class TryCheckKeys {
  readonly redis: Connection
  readonly sender: CallSender
  readonly keys: ConsumerKeys
  readonly group: Group
  readonly claims: ClaimerOperations
  readonly append: AppendEntries

  constructor(redis: Connection) {
    const stream = `${TRY_KEY_PREFIX}${crypto.randomUUID()}}`
    this.redis = redis
    this.sender = createOperatorSender('try a server', redis)
    this.keys = consumerKeys(stream, GROUP)
    this.group = redis.group(this.address)
    this.claims = claimerOperationsOf(this.group)
    this.append = createAppender('try a server', redis)
  }

  get address(): GroupAddress {
    const settings = { startAt: '0', maxDeadLetters: Infinity, minIdleMs: TRY_MIN_IDLE_MS, maxPollers: 4 }
    return { stream: this.keys.stream, group: GROUP, keys: this.keys, settings }
  }

  /** Appends entries of one field each; answers their ids. */
  async add(...values: readonly string[]): Promise<string[]> {
    const { answers } = await this.append(
      this.keys.stream,
      values.map((value) => [['v', value]]),
      { kind: 'none' },
    )
    return answers.map((answer) => {
      if (answer instanceof Error) throw answer
      return String(answer)
    })
  }

  async slot(kind: 'poller' | 'claimer' = 'poller'): Promise<Slot> {
    const slot = await this.group.takeSlot(kind, 4, LEASE_MS)
    if (!slot) throw new Error('no slot is free')
    return slot
  }

  /** Reads what there is. */
  async read(slot: Slot, count = 100): Promise<readonly Delivery[]> {
    const { entries, failures } = await this.group.settleAndRead(slot, [], { count })
    if (failures[0]) throw failures[0]
    return entries
  }

  /** Pending entries as [id, owner, deliveries]. */
  async pending(): Promise<[string, string, number][]> {
    const reply = await this.sender.call(['xpending', this.keys.stream, GROUP, '-', '+', 10_000])
    return replyItems(reply).map((row) => {
      const [id, owner, , deliveries] = replyItems(row)
      return [replyAsText(id), replyAsText(owner), Number(deliveries)]
    })
  }

  /** Makes pending entries look idle for that long. */
  async age(slot: Slot, ids: readonly string[], idleMs: number): Promise<void> {
    const claim = ['xclaim', this.keys.stream, GROUP, slot.consumerName, 0, ...ids, 'IDLE', idleMs, 'JUSTID'] as const
    await this.sender.call(claim)
  }

  call(...command: readonly [string, ...(string | number)[]]): Promise<RedisReply> {
    return this.sender.call(command)
  }

  /**
   * Removes all that was made: by DEL, or by what comes to the same where that is refused.
   *
   * @throws {RedisReplyError} All of it is.
   */
  async remove(): Promise<void> {
    const { stream, deadLetters, due, waiting, paused, state, wake } = this.keys
    const slots = ['poller', 'claimer'].flatMap((kind) => [0, 1, 2, 3].map((n) => this.keys.slot(`${kind}-${n}`)))
    const { delayed, events, next, ended } = delayKeys(stream)
    const delays = [delayed, events, next, ...ended]
    for (const key of [stream, deadLetters, due, waiting, paused, state, wake, ...slots, ...delays])
      await this.call('del', key)
        .catch(() => this.call('unlink', key))
        .catch(() => this.call('pexpire', key, 1))
  }
}

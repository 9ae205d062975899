import type { ConsumerKeys } from '../../core/keys.ts'
import { consumerKeys } from '../../core/keys.ts'
import type { Append, Claims, Connection, Delivery, Group, GroupAddress, Slot } from '../../group/group.ts'
import { appenderOf } from '../../group/redis/append.ts'
import { asText, items } from '../../group/redis/commands/reply.ts'
import { claimsOf } from '../../group/redis/redis-claims.ts'
import { senderOf } from '../../group/redis/redis-connection.ts'
import type { Sender } from '../../group/redis/sender.ts'
import type { Reply } from '../../group/redis/transport.ts'

const GROUP = 'try'
export const KEYS_BEGIN_WITH = '{millrace-try-'
export const MIN_IDLE_MS = 600_000
const LEASE_MS = 120_000

/** Where one check happens: a stream and a group of its own on the server, which nobody else knows. */
export class TryArea {
  readonly redis: Connection
  readonly sender: Sender
  readonly keys: ConsumerKeys
  readonly group: Group
  readonly claims: Claims
  readonly append: Append

  constructor(redis: Connection) {
    const stream = `${KEYS_BEGIN_WITH}${crypto.randomUUID()}}`
    this.redis = redis
    this.sender = senderOf('try a server', redis)
    this.keys = consumerKeys(stream, GROUP)
    this.group = redis.group(this.address)
    this.claims = claimsOf(this.group)
    this.append = appenderOf('try a server', redis)
  }

  get address(): GroupAddress {
    const settings = { startAt: '0', maxDeadLetters: Infinity, minIdleMs: MIN_IDLE_MS, maxPollers: 4 }
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
      return answer
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
    return items(reply).map((row) => {
      const [id, owner, , deliveries] = items(row)
      return [asText(id), asText(owner), Number(deliveries)]
    })
  }

  /** Makes pending entries look idle for that long. */
  async age(slot: Slot, ids: readonly string[], idleMs: number): Promise<void> {
    const claim = ['xclaim', this.keys.stream, GROUP, slot.consumerName, 0, ...ids, 'IDLE', idleMs, 'JUSTID'] as const
    await this.sender.call(claim)
  }

  call(...command: readonly [string, ...(string | number)[]]): Promise<Reply> {
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
    for (const key of [stream, deadLetters, due, waiting, paused, state, wake, ...slots])
      await this.call('del', key)
        .catch(() => this.call('unlink', key))
        .catch(() => this.call('pexpire', key, 1))
  }
}

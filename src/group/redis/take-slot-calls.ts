import { delayKeys, isInOtherSlot } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import { slotConsumerNames } from '../consumer-names.ts'
import type { GroupAddress, Slot, SlotKind } from '../group.ts'
import { seenDelays } from '../seen-delays.ts'
import { seenPauses } from '../seen-pauses.ts'
import { replyAsText } from './commands/reply.ts'
import { parseTime, timeCommand } from './commands/time.ts'
import { explainOtherSlot } from './other-slot.ts'
import { giveSlotBackScript } from './scripts/give-slot.ts'
import { NO_LEASE_WRITTEN, takeSlotScript } from './scripts/take-slot.ts'
import type { RedisCall } from './sender.ts'
import { isReplyError } from './sender.ts'
import type { RedisReply } from './transport.ts'

/** Where the first script of a run meets a command that is unknown. */
const TOO_OLD =
  'ERR the server does not know the commands of Redis 6.2: Millrace needs Redis 6.2.2 or newer, or Valkey; see docs/servers.md'

function isUnknownCommand(reply: RedisReply | undefined): boolean {
  return reply instanceof RedisReplyError && /unknown (redis )?command/i.test(reply.message)
}

/** How a slot is taken: what to send, and what the answer means. */
export interface TakeSlotCalls {
  readonly call: RedisCall
  /** What is sent after it: TIME, where somebody needs it. */
  readonly also: readonly RedisCall[]
  /** Who takes it. */
  readonly token: string
  /** @throws {RedisReplyError} The server refused. @returns `undefined` if no slot is free. */
  slotOf(reply: RedisReply | undefined, told?: RedisReply): Slot | undefined
}

/** @param token Of one that was not answered: sent again it answers the same slot. Default: a new one. */
export function takeSlotCalls(
  { stream, group, keys, asksTime, delays }: GroupAddress,
  kind: SlotKind,
  slots: number,
  leaseMs: number,
  token: string = crypto.randomUUID(),
): TakeSlotCalls {
  const names = slotConsumerNames(kind, slots)
  const args = [token, Math.ceil(leaseMs), kind === 'poller' ? 1 : 0, group, ...names]
  return {
    call: {
      script: takeSlotScript,
      keys: [
        keys.wake,
        stream,
        keys.due,
        keys.state,
        keys.paused,
        ...names.map((name) => keys.slot(name)),
        // so that a cluster refuses them before anything is read
        ...(isInOtherSlot(keys) ? [keys.deadLetters] : []),
        ...(delays ? [delayKeys(stream).next] : []),
      ],
      args,
    },
    also: asksTime ? [timeCommand] : [],
    token,
    slotOf(first, told) {
      const answer = explainOtherSlot(first, keys)
      const [reply, text = '', time = '', next = ''] = Array.isArray(answer)
        ? (answer as readonly RedisReply[])
        : [answer]
      const now = Number(replyAsText(time))
      const seen = { ...seenPauses(replyAsText(text), now), ...seenDelays(replyAsText(next), now) }
      if (isUnknownCommand(reply)) throw new RedisReplyError(TOO_OLD, { cause: reply })
      if (reply === NO_LEASE_WRITTEN || isReplyError(reply, 'OOM'))
        return { consumerName: `${kind}-${token}`, token: '', leaseMs, ...takenAt(told), ...seen }
      if (reply instanceof RedisReplyError) throw reply
      const consumerName = names[Number(reply)]
      if (consumerName === undefined) return undefined
      return { consumerName, token, leaseMs: Math.ceil(leaseMs), ...takenAt(told), ...seen }
    },
  }
}

function takenAt(reply: RedisReply | undefined): Pick<Slot, 'takenAt'> {
  if (reply === undefined) return {}
  if (reply instanceof RedisReplyError) throw reply
  return { takenAt: parseTime(reply) }
}

/** What gives a slot back that nothing is left to be done under; nothing where there is no lease. */
export function giveSlotBackCalls({ keys }: GroupAddress, { consumerName, token }: Slot): RedisCall[] {
  return token === '' ? [] : [{ script: giveSlotBackScript, keys: [keys.slot(consumerName)], args: [token] }]
}

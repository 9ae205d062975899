import { type ConsumerKeys, isInOtherSlot } from '../../core/keys.ts'
import { quotedValue, RedisReplyError } from '../../errors.ts'
import type { RedisReply } from './transport.ts'

/** Makes a cluster's refusal of dead letters in another hash slot say what to change; any other reply is as it was. */
export function explainOtherSlot<Reply extends RedisReply | undefined>(
  reply: Reply,
  keys: ConsumerKeys,
): Reply | RedisReplyError {
  if (!(reply instanceof RedisReplyError && reply.is('CROSSSLOT') && isInOtherSlot(keys))) return reply
  return new RedisReplyError(
    `CROSSSLOT deadLetters.stream ${quotedValue(keys.deadLetters)} lies in another hash slot than stream ${quotedValue(keys.stream)}, which a cluster refuses: ` +
      "give it the stream's hash tag, and no allowOtherSlot",
    { cause: reply },
  )
}

import { RedisReplyError } from '../../errors.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { CallsWithReceiver } from '../ask.ts'
import { askServer } from '../ask.ts'

/**
 * Asks everything in one write.
 *
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The server refuses everything, and not for want of rights: a wrong password, or it is still loading.
 */
export async function askOrFail(sender: CallSender, askings: readonly CallsWithReceiver[]): Promise<void> {
  const replies = await askServer(sender, askings)
  if (replies.length > 0 && replies.every(isRefusedOutright)) throw replies[0]
}

function isRefusedOutright(reply: RedisReply): boolean {
  return reply instanceof RedisReplyError && !reply.is('NOPERM') && !reply.is('MOVED')
}

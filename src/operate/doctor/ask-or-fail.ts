import { RedisReplyError } from '../../errors.ts'
import type { Sender } from '../../group/redis/sender.ts'
import type { Reply } from '../../group/redis/transport.ts'
import type { Asking } from '../ask.ts'
import { ask } from '../ask.ts'

/**
 * Asks everything in one write.
 *
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The server refuses everything, and not for want of rights: a wrong password, or it is still loading.
 */
export async function askOrFail(sender: Sender, askings: readonly Asking[]): Promise<void> {
  const replies = await ask(sender, askings)
  if (replies.length > 0 && replies.every(isRefusedOutright)) throw replies[0]
}

function isRefusedOutright(reply: Reply): boolean {
  return reply instanceof RedisReplyError && !reply.is('NOPERM') && !reply.is('MOVED')
}

import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisConnectionError, RedisReplyError } from '../../errors.ts'
import { classifyReplyError } from './reply-errors.ts'
import type { RedisCommand, ReplyOrConnectionError, Transport } from './transport.ts'

const FIRST_WAIT_MS = 50
const LONGEST_WAIT_MS = 1_000
/** Of the time that is left, what belongs to the command itself. */
const KEPT_MS = 500

/**
 * Sends refused commands again, where the refusal passes: after 50 ms, doubling, for as long as such a refusal may take. What was answered is not sent again, and
 * what got no answer neither: it may have run.
 */
export function resendRefused(transport: Transport): Transport {
  return {
    scriptPrefix: transport.scriptPrefix,
    close: () => transport.close(),
    signIn: () => transport.signIn?.(),
    // what waits is asked again by whoever listens
    ...(transport.waiting && { waiting: () => (transport as Required<Transport>).waiting() }),
    masters: async (timeoutMs) =>
      (await transport.masters?.(timeoutMs))?.map(resendRefused) ?? [resendRefused(transport)],
    async send(commands, timeoutMs = Number.POSITIVE_INFINITY) {
      const startedAt = performance.now()
      const spent = () => performance.now() - startedAt
      const replies = await transport.send(commands, timeoutMs)
      if (!replies.some((reply, at) => passesWithinMs(reply, commands[at]) > 0)) return replies
      for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
        const refused = replies.flatMap((reply, at) => (passesWithinMs(reply, commands[at]) > 0 ? [at] : []))
        const mostMs = Math.max(0, ...refused.map((at) => passesWithinMs(replies[at])))
        if (spent() + waitMs > Math.min(mostMs, timeoutMs - KEPT_MS)) return replies
        await sleep(waitMs)
        const again = await transport
          .send(
            refused.map((at) => commands[at] as RedisCommand),
            timeoutMs - spent(),
          )
          // what was answered before stays answered; what was refused before may have run by now
          .catch((error: RedisConnectionError) => refused.map(() => error))
        for (const [n, at] of refused.entries()) replies[at] = again[n] as ReplyOrConnectionError
      }
    },
  }
}

function passesWithinMs(reply: ReplyOrConnectionError | undefined, command?: RedisCommand): number {
  if (!(reply instanceof RedisReplyError)) return 0
  // whoever asks for several keys asks for them one by one then
  if (command?.[0] === 'mget' && reply.is('TRYAGAIN')) return 0
  const { isPassing, passesWithinMs: ms } = classifyReplyError(reply.message)
  return isPassing ? ms : 0
}

import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisConnectionError, RedisReplyError } from '../../errors.ts'
import { judge } from './judge.ts'
import type { Answer, Command, Transport } from './transport.ts'

const FIRST_WAIT_MS = 50
/** How long refusals that pass may take in all. */
const MOST_MS = 2_000
/** Of the time that is left, what belongs to the command itself. */
const KEPT_MS = 500

/**
 * Sends refused commands again, where the refusal passes: after 50 ms, doubling, for at most 2 s. What was answered is not sent again, and
 * what got no answer neither: it may have run.
 */
export function steady(transport: Transport): Transport {
  return {
    scriptPrefix: transport.scriptPrefix,
    close: () => transport.close(),
    async send(commands, timeoutMs = Number.POSITIVE_INFINITY) {
      const startedAt = performance.now()
      const spent = () => performance.now() - startedAt
      const replies = await transport.send(commands, timeoutMs)
      for (let waitMs = FIRST_WAIT_MS; ; waitMs *= 2) {
        const refused = replies.flatMap((reply, at) => (isPassing(reply) ? [at] : []))
        if (refused.length === 0 || spent() + waitMs > Math.min(MOST_MS, timeoutMs - KEPT_MS)) return replies
        await sleep(waitMs)
        const again = await transport
          .send(
            refused.map((at) => commands[at] as Command),
            timeoutMs - spent(),
          )
          // what was answered before stays answered; what was refused before may have run by now
          .catch((error: RedisConnectionError) => refused.map(() => error))
        for (const [n, at] of refused.entries()) replies[at] = again[n] as Answer
      }
    },
  }
}

function isPassing(reply: Answer): boolean {
  return reply instanceof RedisReplyError && judge(reply.message).isPassing
}

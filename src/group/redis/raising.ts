import { type RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { WakeFlag } from '../connection.ts'
import { getCommand } from './commands/get.ts'
import { replyAsText } from './commands/reply.ts'
import { expireAfter, setIfAbsent } from './commands/set.ts'
import type { CallSender } from './sender.ts'
import { isUnanswered } from './sender.ts'
import type { RedisCommand, RedisReply, ReplyOrConnectionError } from './transport.ts'

/**
 * Flags of publishers, as they are raised: set with the entries, and given their end by whoever set them, in a request of its own before it
 * wakes anybody. A flag whose publisher died in between stands until the next poller takes it back.
 */
export class Raising {
  readonly commands: readonly RedisCommand[]
  readonly #flags: readonly WakeFlag[]
  /** A SETNX whose reply was lost is sent again, and finds the key then: its value says whose it is. */
  readonly #token = crypto.randomUUID()

  constructor(flags: readonly WakeFlag[]) {
    this.#flags = flags
    this.commands = flags.flatMap(({ key }) => [setIfAbsent(key, this.#token), getCommand(key)])
  }

  async finish(sender: CallSender, replies: readonly ReplyOrConnectionError[]): Promise<(boolean | Error)[]> {
    const raised = this.#flags.map((_flag, n) => {
      const [set = null, holder = null] = replies.slice(2 * n)
      return errorOr(
        set,
        (answer) => answer === 1 || (!(holder instanceof Error) && replyAsText(holder) === this.#token),
      )
    })
    const ours = this.#flags.filter((_flag, n) => raised[n] === true)
    // where no answer comes the entries are written, and the flag is up
    const unended = (await sender.ask(ours.map(({ key, windowMs }) => expireAfter(key, windowMs)))).find(isUnanswered)
    return raised.map((is) => (is === true && unended ? unended : is))
  }
}

/** An answer, read; an error as it is. */
export function errorOr<T>(
  answer: ReplyOrConnectionError,
  read: (reply: RedisReply) => T,
): T | RedisReplyError | RedisConnectionError {
  return answer instanceof RedisReplyError || isUnanswered(answer) ? answer : read(answer)
}

import { systemClock } from '../../clock.ts'
import type { Field } from '../../core/entry.ts'
import { entryBytes, entryBytesUpperBound } from '../../core/entry.ts'
import type { RedisConnectionError } from '../../errors.ts'
import { RedisReplyError } from '../../errors.ts'
import type { AppendEntries, AppendResult, Connection, StreamTrim, WakeFlag } from '../connection.ts'
import { getCommand } from './commands/get.ts'
import { replyAsText } from './commands/reply.ts'
import { expireAfter, setIfAbsent } from './commands/set.ts'
import { timeCommand } from './commands/time.ts'
import { xadd } from './commands/xadd.ts'
import { createOperatorSender } from './redis-connection.ts'
import type { CallSender } from './sender.ts'
import { isUnanswered } from './sender.ts'
import { ServerClock } from './server-clock.ts'
import type { RedisCommand, RedisReply, ReplyOrConnectionError } from './transport.ts'

/** What one request carries; a larger entry goes alone. */
const REQUEST = { entries: 1_000, bytes: 1_048_576 }

type Entries = readonly (readonly Field[])[]

/**
 * What appends over a connection. A connection to a server does not have it: the publisher brings it along, and what a poller is deployed with stays
 * small.
 */
export function createAppender(action: string, redis: Connection): AppendEntries {
  if (redis.append) return redis.append
  const sender = createOperatorSender(action, redis)
  const clock = new ServerClock(systemClock)
  return (stream, entries, trim, flags = []) => append(sender, clock, stream, entries, trim, flags)
}

/**
 * Appends entries in order and then raises flags, a bounded request after the other: for what fits into one, one round trip. Where an entry
 * is refused, or a reply does not come, what was not sent yet is not sent: an error stands in its place.
 *
 * @throws {RedisConnectionError} No reply came, and nothing is known to be written.
 */
async function append(
  sender: CallSender,
  clock: ServerClock,
  stream: string,
  entries: Entries,
  trim: StreamTrim,
  flags: readonly WakeFlag[],
): Promise<AppendResult> {
  // only at a publisher's first: later the answer travels with the entries
  if (trim.kind === 'age' && clock.now() === undefined) clock.learn((await sender.send([timeCommand]))[0] ?? null)
  const answers: (string | RedisReplyError | RedisConnectionError)[] = []
  let raised: AppendResult['raised'] = flags.map(() => false)
  for (let at = 0; at < entries.length; ) {
    const end = endOfRequest(entries, at)
    const ask = trim.kind === 'age' && clock.isStale ? [timeCommand] : []
    const appends = entries.slice(at, end).map((fields) => xadd(stream, fields, trim, clock.now()))
    const raise = end === entries.length ? new Raising(flags) : new Raising([])
    const replies = await sender.ask([...ask, ...appends, ...raise.commands])
    if (ask.length > 0) clock.learn(replies.shift() ?? null)
    for (const reply of replies.slice(0, appends.length)) answers.push(errorOr(reply, replyAsText))
    if (end === entries.length) raised = await raise.finish(sender, replies.slice(appends.length))
    const failure = answers.slice(at).findLast((answer) => answer instanceof Error)
    at = end
    if (failure) while (answers.length < entries.length) answers.push(failure)
    if (failure) break
  }
  const [first] = answers
  if (isUnanswered(first) && answers.every(isUnanswered)) throw first
  return { answers, raised }
}

function endOfRequest(entries: Entries, from: number): number {
  const most = Math.min(entries.length, from + REQUEST.entries)
  // most requests are small enough whatever their characters take
  return endWithin(entries, from, most, entryBytesUpperBound) === most
    ? most
    : endWithin(entries, from, most, entryBytes)
}

function endWithin(
  entries: Entries,
  from: number,
  most: number,
  bytesOf: (fields: readonly Field[]) => number,
): number {
  let bytes = bytesOf(entries[from] ?? [])
  let end = from + 1
  for (; end < most; end++) {
    bytes += bytesOf(entries[end] ?? [])
    if (bytes > REQUEST.bytes) break
  }
  return end
}

/**
 * Flags of publishers, as they are raised: set with the entries, and given their end by whoever set them, in a request of its own before it
 * wakes anybody. A flag whose publisher died in between stands until the next poller takes it back.
 */
class Raising {
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

function errorOr<T>(
  answer: ReplyOrConnectionError,
  read: (reply: RedisReply) => T,
): T | RedisReplyError | RedisConnectionError {
  return answer instanceof RedisReplyError || isUnanswered(answer) ? answer : read(answer)
}

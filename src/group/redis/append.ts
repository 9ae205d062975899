import { systemClock } from '../../clock.ts'
import type { Field } from '../../core/entry.ts'
import { entryBytes, entryBytesUpperBound } from '../../core/entry.ts'
import type { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { AppendEntries, AppendResult, Connection, OnceWithin, StreamTrim, WakeFlag } from '../connection.ts'
import type { DelayedEntries } from '../delays.ts'
import { askInOrder } from './ask-in-order.ts'
import { replyAsText } from './commands/reply.ts'
import { timeCommand } from './commands/time.ts'
import { xadd } from './commands/xadd.ts'
import { delayCall } from './delay-call.ts'
import { isDuplicateReply, publishOnceCall, readPlace } from './once-call.ts'
import { errorOr, Raising } from './raising.ts'
import { createOperatorSender } from './redis-connection.ts'
import type { CallSender, RedisCall } from './sender.ts'
import { isUnanswered } from './sender.ts'
import { ServerClock } from './server-clock.ts'
import type { ReplyOrConnectionError } from './transport.ts'

/** What one request carries; a larger entry goes alone. */
const REQUEST = { entries: 1_000, bytes: 1_048_576 }

type Entries = readonly (readonly Field[])[]

/** Where entries go. */
interface Destination {
  readonly stream: string
  readonly trim: StreamTrim
  readonly delayed: DelayedEntries
  readonly once: readonly (OnceWithin | undefined)[]
}

const NONE_DELAYED: DelayedEntries = { delays: [], groups: [] }

/**
 * What appends over a connection. A connection to a server does not have it: the publisher brings it along, and what a poller is deployed with stays
 * small.
 */
export function createAppender(action: string, redis: Connection): AppendEntries {
  if (redis.append) return redis.append
  const sender = createOperatorSender(action, redis)
  const clock = new ServerClock(systemClock)
  return (stream, entries, trim, flags = [], delayed = NONE_DELAYED, once = []) =>
    append(sender, clock, { stream, trim, delayed, once }, entries, flags)
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
  to: Destination,
  entries: Entries,
  flags: readonly WakeFlag[],
): Promise<AppendResult> {
  const { delays } = to.delayed
  const needsTime = to.trim.kind === 'age' && entries.some((_fields, n) => !delays[n])
  // only at a publisher's first: later the answer travels with the entries
  if (needsTime && clock.now() === undefined) clock.learn((await sender.send([timeCommand]))[0] ?? null)
  const answers: (string | number | RedisReplyError | RedisConnectionError)[] = []
  const duplicates = new Set<number>()
  let raised: AppendResult['raised'] = flags.map(() => false)
  for (let at = 0; at < entries.length; ) {
    const end = endOfRequest(entries, at)
    const ask = needsTime && clock.isStale ? [timeCommand] : []
    // what is refused because the server has forgotten a script is refused together, and comes in order
    const isOnce = to.once.slice(at, end).some(Boolean)
    const calls: RedisCall[] = [...ask]
    for (let n = at; n < end; n++) calls.push(appendCall(to, entries[n] as readonly Field[], n, clock, isOnce))
    const raise = end === entries.length ? new Raising(flags) : new Raising([])
    const replies = await (isOnce
      ? askInOrder(sender, calls, raise.commands)
      : sender.ask([...calls, ...raise.commands]))
    if (ask.length > 0) clock.learn(replies.shift() ?? null)
    for (let n = at; n < end; n++) {
      const reply = replies[n - at] as ReplyOrConnectionError
      answers.push(errorOr<string | number>(reply, isOnce || delays[n] ? readPlace : replyAsText))
      if (to.once[n] && isDuplicateReply(reply)) duplicates.add(n)
    }
    if (end === entries.length) raised = await raise.finish(sender, replies.slice(end - at))
    const failure = answers.slice(at).findLast((answer) => answer instanceof Error)
    at = end
    if (failure) while (answers.length < entries.length) answers.push(failure)
    if (failure) break
  }
  const [first] = answers
  if (isUnanswered(first) && answers.every(isUnanswered)) throw first
  return { answers, raised, ...(duplicates.size > 0 && { duplicates }) }
}

function appendCall(
  { stream, trim, delayed, once: windows }: Destination,
  fields: readonly Field[],
  n: number,
  clock: ServerClock,
  isOnce: boolean,
): RedisCall {
  const [delay, once] = [delayed.delays[n], windows[n]]
  if (delay) return delayCall(stream, fields, trim, delay, delayed.groups, once)
  const now = clock.now()
  return isOnce ? publishOnceCall(stream, fields, trim, once, now) : xadd(stream, fields, trim, now)
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

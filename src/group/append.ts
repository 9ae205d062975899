import type { Field } from '../core/entry.ts'
import { entryBytes } from '../core/entry.ts'
import { RedisConnectionError, RedisReplyError } from '../errors.ts'
import type { Command, Reply, Transport } from './clients/transport.ts'
import { get } from './commands/get.ts'
import { asText } from './commands/reply.ts'
import { setOnce } from './commands/set.ts'
import { time } from './commands/time.ts'
import { xadd } from './commands/xadd.ts'
import type { Appended, Trim, WakeFlag } from './group.ts'
import type { ServerClock } from './server-clock.ts'

/** What one request carries; a larger entry goes alone. */
const REQUEST = { entries: 1_000, bytes: 1_048_576 }

type Entries = readonly (readonly Field[])[]

/**
 * Appends entries in order and then raises flags, a bounded request after the other: for what fits into one, one round trip. Where an entry
 * is refused, or a reply does not come, what was not sent yet is not sent: an error stands in its place.
 *
 * @throws {RedisConnectionError} No reply came, and nothing is known to be written.
 */
export async function append(
  transport: Transport,
  clock: ServerClock,
  stream: string,
  entries: Entries,
  trim: Trim,
  flags: readonly WakeFlag[],
): Promise<Appended> {
  // only at a connection's first: later the answer travels with the entries
  if (trim.kind === 'age' && clock.now() === undefined) clock.learn((await transport.send([time]))[0] ?? null)
  const answers: (string | Error)[] = []
  let raised: Appended['raised'] = flags.map(() => false)
  for (let at = 0; at < entries.length; ) {
    const end = endOfRequest(entries, at)
    const ask = trim.kind === 'age' && clock.isStale ? [time] : []
    const appends = entries.slice(at, end).map((fields) => xadd(stream, fields, trim, clock.now()))
    const raise = end === entries.length ? new Raising(flags) : new Raising([])
    try {
      const replies = await transport.send([...ask, ...appends, ...raise.commands])
      if (ask.length > 0) clock.learn(replies.shift() ?? null)
      answers.push(...replies.slice(0, appends.length).map((reply) => errorOr(reply, asText)))
      if (end === entries.length) raised = raise.read(replies.slice(appends.length))
    } catch (error) {
      if (at === 0 || !(error instanceof RedisConnectionError)) throw error
      answers.push(error)
    }
    at = end
    const failure = answers.findLast((answer) => answer instanceof Error)
    if (failure) while (answers.length < entries.length) answers.push(failure)
    if (failure) break
  }
  return { answers, raised }
}

function endOfRequest(entries: Entries, from: number): number {
  let bytes = entryBytes(entries[from] ?? [])
  let end = from + 1
  for (; end < entries.length && end - from < REQUEST.entries; end++) {
    bytes += entryBytes(entries[end] ?? [])
    if (bytes > REQUEST.bytes) break
  }
  return end
}

/** Flags of publishers, as they are raised. */
class Raising {
  readonly commands: readonly Command[]
  readonly #count: number
  /** A SET whose reply was lost is sent again, and refused then: the flag's value says whose it is. */
  readonly #token = crypto.randomUUID()

  constructor(flags: readonly WakeFlag[]) {
    this.#count = flags.length
    this.commands = flags.flatMap(({ key, windowMs }) => [setOnce(key, this.#token, windowMs), get(key)])
  }

  read(replies: readonly Reply[]): (boolean | Error)[] {
    return Array.from({ length: this.#count }, (_, n) => {
      const [set = null, holder = null] = replies.slice(2 * n)
      return errorOr(set, (answer) => answer !== null || asText(holder) === this.#token)
    })
  }
}

function errorOr<T>(reply: Reply, read: (reply: Reply) => T): T | Error {
  return reply instanceof RedisReplyError ? reply : read(reply)
}

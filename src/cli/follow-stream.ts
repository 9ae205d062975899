import type { Entry } from '../core/entry.ts'
import { AdaptivePageSize } from '../core/page-size.ts'
import { MillraceError } from '../errors.ts'
import { parseXrange, xrange } from '../group/redis/commands/xrange.ts'
import type { CallSender } from '../group/redis/sender.ts'
import { askQuestions } from '../operate/ask.ts'
import { readStreamAbsence, streamInfoQuestion, timeQuestion } from '../operate/questions.ts'
import { sleepUnlessAborted, untilAborted } from '../operate/until-aborted.ts'

/** Where to start: at the end, that many milliseconds ago, or at an id, which is included. */
export type FollowStartPosition =
  | { readonly kind: 'end' }
  | { readonly kind: 'ago'; readonly ms: number }
  | { readonly kind: 'id'; readonly id: string }

export interface FollowOptions {
  readonly sender: CallSender
  readonly stream: string
  readonly start: FollowStartPosition
  /** Ends where the stream does. */
  readonly toEnd?: boolean
  readonly signal: AbortSignal
  /** Called with each failure after a first answer; reading goes on by itself. */
  readonly onTrouble: (error: MillraceError) => void
}

/** How often it looks where nothing comes: sooner, then more seldom. */
const INTERVAL = { minMs: 100, factor: 1.5, maxMs: 1_000 }

/**
 * Yields a stream's entries as they come, a read at a time, until the signal. It asks again and again rather than block a connection, touches no
 * group, and waits for whoever takes the entries. Entries trimmed before it came to them are not reported.
 *
 * @throws {RedisConnectionError} No reply came to the first read.
 * @throws {RedisReplyError} The key holds no stream, or the server refused the first read.
 */
export async function* followStream({
  sender,
  stream,
  start,
  toEnd = false,
  signal,
  onTrouble,
}: FollowOptions): AsyncGenerator<Entry[]> {
  let from = await untilAborted(firstId(sender, stream, start), signal)
  const size = new AdaptivePageSize()
  let hasRead = false
  let waitMs = INTERVAL.minMs
  while (from !== undefined && !signal.aborted) {
    const { count } = size
    const page = sender.call(xrange(stream, from, '+', count)).then(parseXrange)
    let isAnswered = true
    const entries = await untilAborted(page, signal).catch((error: unknown) => {
      if (!hasRead || !(error instanceof MillraceError)) throw error
      isAnswered = false
      onTrouble(error)
      return []
    })
    if (entries === undefined) return
    hasRead = true
    const last = entries.at(-1)
    if (last) {
      yield entries
      from = `(${last.id}`
      waitMs = INTERVAL.minMs
      size.saw(entries)
      if (entries.length === count) continue
    }
    if (toEnd && isAnswered) return
    await sleepUnlessAborted(waitMs, signal)
    waitMs = Math.min(INTERVAL.maxMs, waitMs * INTERVAL.factor)
  }
}

async function firstId(sender: CallSender, stream: string, start: FollowStartPosition): Promise<string> {
  if (start.kind === 'id') return start.id
  if (start.kind === 'ago') return String(Math.max(0, Math.floor((await now(sender)) - start.ms)))
  const { info } = await askQuestions(sender, { info: streamInfoQuestion(stream) })
  if ('value' in info) return `(${info.value.lastGeneratedId}`
  if (readStreamAbsence(info.refusal) === 'missing') return '-'
  throw info.refusal
}

async function now(sender: CallSender): Promise<number> {
  const { now } = await askQuestions(sender, { now: timeQuestion })
  return 'value' in now ? now.value : Date.now()
}

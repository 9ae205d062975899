import type { LuaScript } from './scripts/script.ts'
import type { CallSender, RedisCall, ScriptCall } from './sender.ts'
import { isReplyError, isScript, isUnanswered } from './sender.ts'
import type { RedisCommand, ReplyOrConnectionError } from './transport.ts'

/** Calls that go with their texts in one request. */
const MAX_TEXTS = 100

/**
 * Asks for calls in order, and for commands behind them. A server that does not know a script refuses its calls, and carries out what stands beside them; so the first call of a
 * script goes with its text. Where the server forgets scripts meanwhile, all that comes later of a script is refused together, and is sent again in order, with the commands
 * behind it: what they do comes after every call. At the second time each call goes with its text.
 *
 * @returns One answer per call, then those of the commands.
 */
export async function askInOrder(
  sender: CallSender,
  calls: readonly RedisCall[],
  behind: readonly RedisCommand[],
): Promise<ReplyOrConnectionError[]> {
  // what is alone has no order to keep
  const first = calls.length === 1 ? calls.map((call) => withDigest(sender, call)) : firstWithText(sender, calls)
  let replies = await sender.ask([...first, ...behind])
  for (const sendAgain of [sendFirstWithText, sendAllWithText]) {
    const refused = calls.flatMap((call, at) =>
      isScript(call) && isReplyError(replies[at], 'NOSCRIPT') ? [{ call, at }] : [],
    )
    if (refused.length === 0) break
    const again = await sendAgain(
      sender,
      refused.map(({ call }) => call),
      behind,
    )
    const kept = replies.slice(0, calls.length)
    for (const [n, { at }] of refused.entries()) kept[at] = again[n] as ReplyOrConnectionError
    replies = [...kept, ...again.slice(refused.length)]
  }
  return replies
}

function sendFirstWithText(sender: CallSender, calls: readonly ScriptCall[], behind: readonly RedisCommand[]) {
  return sender.ask([...firstWithText(sender, calls), ...behind])
}

async function sendAllWithText(sender: CallSender, calls: readonly ScriptCall[], behind: readonly RedisCommand[]) {
  const answers: ReplyOrConnectionError[] = []
  for (let at = 0; at < calls.length; at += MAX_TEXTS) {
    const unanswered = answers.find(isUnanswered)
    if (unanswered) return [...answers, ...[...calls.slice(at), ...behind].map(() => unanswered)]
    const isLast = at + MAX_TEXTS >= calls.length
    const texts = calls.slice(at, at + MAX_TEXTS).map((call) => sender.withText(call))
    answers.push(...(await sender.ask([...texts, ...(isLast ? behind : [])])))
  }
  return answers
}

function firstWithText(sender: CallSender, calls: readonly RedisCall[]): readonly RedisCommand[] {
  const known = new Set<LuaScript>()
  return calls.map((call) => {
    if (!isScript(call) || known.has(call.script)) return withDigest(sender, call)
    known.add(call.script)
    return sender.withText(call)
  })
}

function withDigest(sender: CallSender, call: RedisCall): RedisCommand {
  return isScript(call) ? sender.withDigest(call) : call
}

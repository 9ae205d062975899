import type { Connection, Consumer } from 'millrace'

export type Command = readonly [name: string, ...args: (string | number)[]]
export type Reply = null | number | string | readonly Reply[]
/** Sends commands in one round trip, in order. @throws {Error} The server refuses one of them. */
export type Ask = (commands: readonly Command[]) => Promise<readonly Reply[]>

/** Plain commands on what a consumer's effects keep, over the connection that consumers use: its URL, sign-in and time limits hold. */
export function createAsk(redis: Connection, consumer: Consumer): Ask {
  const group = redis.group(consumer)
  return async (commands) => {
    const replies = await group.ask(commands)
    const refusal = replies.find((reply) => reply instanceof Error)
    if (refusal) throw refusal
    return replies as readonly Reply[]
  }
}

/** A hash as Redis answers it, or a sorted set with its scores. */
export function pairsOf(reply: Reply | undefined): [name: string, value: string][] {
  const flat = (reply ?? []) as readonly string[]
  return flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1] as string] as [string, string]]))
}

import { hash } from 'node:crypto'
import type { CommandArgument, RedisCommand } from '../transport.ts'

/** A Lua script: plain text that runs on Redis 6.2 to 8 and on Valkey; every key it touches is in KEYS. */
export interface LuaScript {
  readonly lua: string
  /** `undefined`: as many as it is given. */
  readonly keyCount: number | undefined
}

/** Entries that one call of a script deals with: more would keep others waiting. */
export const MAX_ENTRIES_PER_SCRIPT_CALL = 100

/** Calls a script by its digest; a server that does not know it answers NOSCRIPT. */
export function evalsha(
  script: LuaScript,
  prefix: string,
  keys: readonly string[],
  args: readonly CommandArgument[],
): RedisCommand {
  return ['evalsha', digest(script, prefix), keys.length, ...keys, ...args]
}

/** Calls a script by its text, which the server then remembers. */
export function evalScriptText(
  script: LuaScript,
  prefix: string,
  keys: readonly string[],
  args: readonly CommandArgument[],
): RedisCommand {
  return ['eval', prefix + script.lua, keys.length, ...keys, ...args]
}

const digests = new Map<string, string>()

function digest(script: LuaScript, prefix: string): string {
  const text = prefix + script.lua
  let sha = digests.get(text)
  if (sha === undefined) {
    sha = hash('sha1', text)
    digests.set(text, sha)
  }
  return sha
}

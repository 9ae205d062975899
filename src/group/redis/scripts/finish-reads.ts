import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import { LUA_RELEASE_UNRECEIVED } from './hand-back.ts'
import type { LuaScript } from './script.ts'

/**
 * Ends a poller's run: releases what never reached it, and gives its lease back. A read that was not answered may still be carried out after that, if
 * the server stalls; the time is noted, so that what it reads is known to be nobody's.
 *
 * KEYS stream, lease, due, state, the flag of publishers if it is to be taken back. ARGV group, consumer, token, the lease's length in ms, min-idle ms, 1 if the run
 * acknowledged something, whose time is noted, 1 if a read is in doubt, from which id on what never reached it
 * is handed back, then ids beyond that did reach it. Answers 1 if the flag was up.
 */
export const finishPollerRunScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, lease, due, state, flag = unpack(KEYS)
local group, consumer, token, length, idle, acked, doubt, from = unpack(ARGV, 1, 8)
${LUA_RELEASE_UNRECEIVED}
${LUA_DELETE_TEXT_KEY}
if redis.pcall('GET', lease) ~= token then return 0 end
handBack(from, '+', 9)
if acked == '1' or doubt == '1' then
  ${LUA_NOW_MS}
  if acked == '1' then redis.pcall('HSET', state, 'acked', num(now)) end
  if doubt == '1' then redis.pcall('HSET', state, 'doubt:' .. consumer, num(now)) end
end
drop(lease)
return flag and drop(flag) and 1 or 0
`,
}

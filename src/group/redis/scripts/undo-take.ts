import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'
import { LUA_NOTED } from './take.ts'

/**
 * Gives back what a take brought whose answer was lost: due at once, its delivery given back. A take of that nonce that comes late finds it used.
 *
 * KEYS stream, lease, due, waiting, state. ARGV group, consumer, token, nonce. Answers how many.
 */
export const undoTakeScript: LuaScript = {
  keyCount: 5,
  lua: `
local stream, lease, due, waiting, state = unpack(KEYS)
local group, consumer, token, nonce = unpack(ARGV)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
if not leased() then return 0 end
${LUA_NOTED}
local took, given = beside('HGET', state, noted()), 0
if type(took) == 'string' and took:sub(1, #nonce + 1) == nonce .. ' ' then
  for id, count, isStarted in took:gmatch('(%d+%-%d+)=(%d+)=([01])\\n') do
    if mine(id, count) then
      local left = count - isStarted
      aside(id, left, due, score(0, left), id)
      given = given + 1
    end
  end
end
-- a group that never was has nothing beside it
if redis.call('EXISTS', state) == 1 then beside('HSET', state, noted(), nonce .. ' ') end
return given
`,
}

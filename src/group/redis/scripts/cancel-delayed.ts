import { LUA_REMOVE_DELAYED } from './delayed-remove.ts'
import { ENDED, LUA_CALL_OF_BODY, LUA_DELAYS, LUA_TRIED } from './delays.ts'
import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import type { LuaScript } from './script.ts'

/** What the script answers. */
export const CANCEL_SCRIPT_ANSWERS = { cancelled: 1, alreadyCancelled: 2, tooLate: 3, unknown: 0 } as const

/**
 * Cancels a delayed event, and its marker, so that the event may be published again. A call that is sent again answers the same, and cancels nothing that was published
 * meanwhile: the nonces of the last MAX_CANCELLATIONS calls are remembered, each with that of the call that had delayed the event, in case that one is sent again. A marker of another call stands for another event.
 * The first write, which is refused by no full server, takes off a page called x, which there never is; then the others are not refused.
 *
 * KEYS stream, delayed, events, next, ended 0, ended 1, marker. ARGV event id, nonce, then the nonces of calls whose answers were lost. Answers a number of CANCEL_SCRIPT_ANSWERS.
 */
export const cancelDelayedScript: LuaScript = {
  keyCount: 7,
  lua: `
${LUA_NOW_MS}
${LUA_DELETE_TEXT_KEY}
${LUA_DELAYS}
${LUA_CALL_OF_BODY}
${LUA_TRIED}
${LUA_REMOVE_DELAYED}
local key, nonce = keyOf(ARGV[1]), ARGV[2]
local refused = nonce:find('%s') and 'ERR a nonce must be without white space' or refusal({
  {'ZREM', delayed, ''}, {'ZADD', delayed, 0, ''}, {'HDEL', events, ''}, {'HSET', events, '#', ''}, {'UNLINK', events}, {'HSET', endedNow, '', ''}, {'PEXPIREAT', endedNow, 1}, {'UNLINK', endedNow},
  {'GETDEL', flag}, {'SETNX', flag, ''}, {'GETDEL', marker},
})
if refused then return redis.error_reply(refused) end

readCounts()
local ended = endedAs(key)
local cancelled = callsOf(ended)
if nonce ~= '' and cancelled[nonce] then return ${CANCEL_SCRIPT_ANSWERS.cancelled} end
local found = find(key)
if found then
  local opened = redis.pcall('ZREM', delayed, 'x')
  refused = type(opened) == 'table' and opened.err or tried({{'HDEL', events, 'x'}}) or tried({{'HSET', events, '#', '', 'x'}}, 'wrong number')
    or tried({{'ZADD', delayed, 'x', ''}}, 'float')
  if refused then return redis.error_reply(refused) end
  local by = callOf(found.body)
  remove(found, key)
  noteEnded(key, '${ENDED.cancelled}' .. nonce .. ' ' .. by)
  keepFlag()
  if (redis.call('GET', marker) or ''):match('^%d+ (%S*)$') == by then redis.call('GETDEL', marker) end
  return ${CANCEL_SCRIPT_ANSWERS.cancelled}
end
if not ended then return ${CANCEL_SCRIPT_ANSWERS.unknown} end
if ended:sub(1, 1) == '${ENDED.promoted}' then return ${CANCEL_SCRIPT_ANSWERS.tooLate} end
for n = 3, #ARGV do
  if cancelled[ARGV[n]] then return ${CANCEL_SCRIPT_ANSWERS.cancelled} end
end
return ${CANCEL_SCRIPT_ANSWERS.alreadyCancelled}
`,
}

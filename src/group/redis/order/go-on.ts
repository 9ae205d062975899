import { LUA_SET_ASIDE } from '../scripts/aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from '../scripts/fence.ts'
import type { LuaScript } from '../scripts/script.ts'
import { LUA_LANE_KEYS, LUA_LANES } from './lanes.ts'
import { DROPPED_LETTER } from './letters-in-order.ts'

/** Letters that one call searches for: a few milliseconds. */
export const LETTERS_AT_ONCE = 1_000

const BEGIN = `
local group, consumer, token = unpack(ARGV, 1, 3)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_LANES}
if not leased() then return 0 end
-- a group that is gone ends it here: what nobody waits for any more by then would stand
redis.call('XPENDING', stream, group, '-', '+', 1)
local function goesOn(text)
  redis.call('ZREM', awaited, text)
  local lane, id = awaitedParts(text)
  if lane and beside('HGET', lanes, lane) == '#' .. id then handOn(lane) end
end
`

/**
 * Searches for the letters that keys wait for, a page a call: where one is gone, as one that was trimmed or deleted by hand, its lane goes on. The next call goes on behind them.
 *
 * KEYS stream, lease, due, waiting, dead letters, state, the keys of lanes. ARGV group, consumer, token. Answers how many are gone, none of which somebody dropped.
 */
export const lookForLettersScript: LuaScript = {
  keyCount: 9,
  lua: `
${LUA_LANE_KEYS}
local stream, lease, due, waiting, letters = unpack(KEYS)
if redis.pcall('EXISTS', awaited) == 0 then return 0 end
${BEGIN}
local from, gone = beside('HGET', orderState, 'lookedFor'), 0
local function pageFrom(min) return beside('ZRANGEBYLEX', awaited, min, '+', 'LIMIT', 0, ${LETTERS_AT_ONCE}) or {} end
local page = pageFrom(from and '(' .. from or '-')
if #page == 0 then page = pageFrom('-') end
for _, text in ipairs(page) do
  local _, _, letter = awaitedParts(text)
  -- where the key holds no stream nobody knows
  local found = letter and letter ~= '${DROPPED_LETTER}' and beside('XRANGE', letters, letter, letter)
  if not letter then redis.call('ZREM', awaited, text)
  elseif letter == '${DROPPED_LETTER}' then goesOn(text)
  elseif found and #found == 0 then
    goesOn(text)
    gone = gone + 1
  end
end
if #page == ${LETTERS_AT_ONCE} then beside('HSET', orderState, 'lookedFor', page[#page])
elseif from then beside('HDEL', orderState, 'lookedFor') end
return gone
`,
}

/**
 * Has all lanes go on that wait for a letter, a page a call: their consumer waits for none any more.
 *
 * KEYS stream, lease, due, waiting, state, the keys of lanes. ARGV group, consumer, token. Answers 1 if there are more.
 */
export const waitNoMoreScript: LuaScript = {
  keyCount: 8,
  lua: `
${LUA_LANE_KEYS}
local stream, lease, due, waiting = unpack(KEYS)
${BEGIN}
for _, text in ipairs(beside('ZRANGEBYLEX', awaited, '-', '+', 'LIMIT', 0, ${LETTERS_AT_ONCE}) or {}) do goesOn(text) end
return beside('EXISTS', awaited) == 1 and 1 or 0
`,
}

import { LUA_SET_ASIDE } from '../scripts/aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from '../scripts/fence.ts'
import { redriveScript } from '../scripts/redrive.ts'
import type { LuaScript } from '../scripts/script.ts'
import { editedScript } from './edited.ts'
import { LUA_LANE_KEYS, LUA_LANES } from './lanes.ts'
import { DROPPED_LETTER } from './letters-in-order.ts'
import { POLLER_NAMES } from './read-in-order.ts'

/**
 * `isInHand(lane, id)` says whether a poller may hold entries of a lane that are in none, as those before what became a dead letter before its turn: nothing of it may start beside them.
 * `letGo(lane, id, letter)` has a lane go on that waits for a letter: at once, or with the next run of a poller.
 */
const LUA_LETTERS_OF_LANES = `
local function isInHand(lane, id)
  local highest = id
  local function note(other) if other and less(highest, other) then highest = other:gsub('^#', '') end end
  note(beside('HGET', lanes, lane))
  local last = (beside('ZREVRANGEBYLEX', awaited, '(' .. lane .. '\\11', '[' .. lane .. '\\n', 'LIMIT', 0, 1) or {})[1]
  note(last and select(2, awaitedParts(last)))
  for _, c in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
    if c[1]:sub(1, ${POLLER_NAMES.length}) == '${POLLER_NAMES}' and redis.call('XPENDING', stream, group, '-', highest, 1, c[1])[1] then return true end
  end
  return false
end
local function letGo(lane, id, letter)
  if redis.call('ZREM', awaited, awaitedPlace(lane, id, letter)) == 0 or beside('HGET', lanes, lane) ~= '#' .. id then return end
  local isThere = not redis.pcall('XPENDING', stream, group).err
  if isThere and not isInHand(lane, id) then return handOn(lane) end
  beside('ZADD', awaited, 0, awaitedPlace(lane, id, '${DROPPED_LETTER}'))
  beside('HSET', orderState, 'lookedFor', lane .. '\\n')
end
`

/**
 * As `redriveScript`, for letters of an ordering key: the entry goes before all that is undone of it. Where the key has a lane it takes its place there, unless a poller may hold entries of the key that
 * are in none; else the poller's next run gives it one.
 *
 * KEYS, after those: waiting, state, the keys of lanes. ARGV, after those: the lane.
 */
export const redriveInOrderScript = editedScript(redriveScript, [
  [
    'local stream, state, due, letters = unpack(KEYS)',
    `${LUA_LANE_KEYS}\nlocal stream, state, due, letters, waiting = unpack(KEYS)`,
  ],
  [
    'local name, group, letter, id, append, dry = unpack(ARGV)',
    "local name, group, letter, id, append, dry, lane = unpack(ARGV)\nlocal lease, consumer, token = '', '', ''",
  ],
  [
    'local found = redis.call(',
    `${LUA_FENCE}${LUA_LANES}${LUA_LETTERS_OF_LANES}
local found = redis.call(`,
  ],
  [
    '  aside(id, 0, due, score(now, 0), id)\n',
    `  aside(id, 0, due, score(now, 0), id)
  if beside('HEXISTS', lanes, lane) == 1 and not isInHand(lane, id) then place(id, 0, lane, false) end
`,
  ],
  [
    "beside('ZREM', due, id)\nredis.call('XDEL', letters, letter)\n",
    "beside('ZREM', due, id)\nredis.call('XDEL', letters, letter)\nletGo(lane, id, letter)\n",
  ],
])

/**
 * Drops a letter of an ordering key: what waits for it goes on.
 *
 * KEYS stream, dead letters, due, waiting, state, the keys of lanes. ARGV group, id of the letter, id of its entry, the lane. Answers how many were dropped.
 */
export const dropInOrderScript: LuaScript = {
  keyCount: 9,
  lua: `
${LUA_LANE_KEYS}
local stream, letters, due, waiting = unpack(KEYS)
local group, letter, id, lane = unpack(ARGV)
local lease, consumer, token = '', '', ''
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_LANES}
${LUA_LETTERS_OF_LANES}
local dropped = redis.call('XDEL', letters, letter)
letGo(lane, id, letter)
return dropped
`,
}

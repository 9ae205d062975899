import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LAST_ERROR_FIELDS } from '../../last-error.ts'
import { undoTakeScript } from '../scripts/undo-take.ts'
import type { ScriptEdit } from './edited.ts'
import { editedScript } from './edited.ts'
import { LUA_LANE_KEYS, LUA_LANES } from './lanes.ts'

/** The first of a lane is followed by all that waits behind it, if all of it may start after it: at no delivery so far, no suspects, of no type that is closed, with no dead letter between. */
const FOLLOWERS = `
local taken, rows = {}, {}
local function followers(lane, first, most)
  local page = beside('ZRANGEBYLEX', waiting, '[' .. lane .. '\\n', '(' .. lane .. '\\11', 'LIMIT', 0, most + 1) or {}
  if #page > most or awaitedIn(lane) or #redis.call('XRANGE', stream, first, first) == 0 then return nil end
  local ids = {}
  for n, text in ipairs(page) do
    ids[n] = select(2, parts(text))
    if not isId(ids[n]) then return nil end
  end
  if #ids == 0 then return ids, page end
  local own, marks = lookUp(ids), beside('HMGET', laneOf, unpack(ids)) or {}
  for n, id in ipairs(ids) do
    local p = marks[n] == lane and (own[id] or pendingOf(id, 0))
    if not p or saturated(p[4]) > 0 or closedFor(id) or #redis.call('XRANGE', stream, id, id) == 0 then return nil end
  end
  return ids, page
end
if ofLanes >= 0 and tonumber(max) > 1 then
  local firsts = found
  found = {}
  for _, f in ipairs(firsts) do
    found[#found + 1] = f
    local lane, ids, page = f[4] == 0 and laneOfEntry(f[1]), nil, nil
    if lane then ids, page = followers(lane, f[1], ofLanes) end
    if ids then
      f[6], taken[#taken + 1], ofLanes = lane, {lane, f[1], ids, page}, ofLanes - #ids
      for _, id in ipairs(ids) do found[#found + 1] = {id, '${PARKED_CONSUMER}', 0, 0, false, lane} end
    end
  end
end
`

/** A lane of which all was taken is none any more; where there was no room for all, only its first is. */
const ENDED = `
local isBack = {}
for _, one in ipairs(taken) do
  local lane, first, ids, page = unpack(one)
  local isWhole = rows[first] ~= nil
  for _, id in ipairs(ids) do isWhole = isWhole and rows[id] ~= nil end
  if isWhole then
    if #page > 0 then beside('ZREM', waiting, unpack(page)) end
    beside('HDEL', lanes, lane)
    beside('HDEL', laneOf, first, unpack(ids))
    local fields = {'${LAST_ERROR_FIELDS}' .. first}
    for _, id in ipairs(ids) do fields[#fields + 1] = '${LAST_ERROR_FIELDS}' .. id end
    beside('HDEL', orderState, unpack(fields))
    rows[first][5] = 1
    for _, id in ipairs(ids) do rows[id][5] = 1 end
  else
    for _, id in ipairs(ids) do
      if rows[id] then isBack[id] = hand('${PARKED_CONSUMER}', id, 0) and true end
    end
  end
end
if next(isBack) then
  local all, scored, noted = entries, places, note
  entries, places, note = {}, {'ZADD', due}, {noted[1]}
  for n, row in ipairs(all) do
    if not isBack[row[1]] then
      entries[#entries + 1], note[#note + 1] = row, noted[n + 1]
      places[#places + 1], places[#places + 2] = scored[2 * n + 1], scored[2 * n + 2]
    end
  end
end
`

const NOTED_ROWS = "for id, count, isStarted in took:gmatch('(%d+%-%d+)=(%d+)=([01])\\n') do"
const NOTED_LANES = "for id, count, isStarted, noted in took:gmatch('(%d+%-%d+)=(%d+)=([01])=?([^\\n]*)\\n') do"

/**
 * Edits of a script that takes what is set aside: the holder of the poller's slot takes lanes whole, or only their first. Taking one whole ends it: its entries are as if they were just read, but for the index,
 * which has them as taken. What was taken so has 1 behind the others. Needs the local ofLanes, how many may come beside first ones; below 0, only these.
 */
export const TAKES_LANES: readonly ScriptEdit[] = [
  ['local entries, bytes, chunk, places, note =', `${FOLLOWERS}local entries, bytes, chunk, places, note =`],
  [
    "  note[#note + 1] = id .. '=' .. texts[count] .. (body and '=1\\n' or '=0\\n')",
    "  rows[id] = entries[#entries]\n  note[#note + 1] = id .. '=' .. texts[count] .. (body and '=1' or '=0') .. (f[6] and '=' .. f[6] or '') .. '\\n'",
  ],
  ['if #places > 2 then beside(unpack(places)) end', `${ENDED}if #places > 2 then beside(unpack(places)) end`],
  [NOTED_ROWS, NOTED_LANES],
  [
    "again[#again + 1] = {id, count, isStarted == '1' and entry[2], 0}",
    "again[#again + 1] = {id, count, isStarted == '1' and entry[2], 0, noted ~= '' and not laneOfEntry(id) and 1 or nil}",
  ],
]

/** As `undoTakeScript`; what was taken of lanes goes back into them. KEYS end with state, the keys of lanes. */
export const undoTakeInOrderScript = editedScript(undoTakeScript, [
  [
    'local stream, lease, due, waiting, state = unpack(KEYS)',
    `${LUA_LANE_KEYS}\nlocal stream, lease, due, waiting, state = unpack(KEYS)`,
  ],
  ['if not leased() then return 0 end', `${LUA_LANES}\nif not leased() then return 0 end`],
  [NOTED_ROWS, NOTED_LANES],
  [
    '      aside(id, left, due, score(0, left), id)',
    `      if noted == '' or laneOfEntry(id) then aside(id, left, due, score(0, left), id)
      else putInLane(id, left, due, score(0, left), id, noted) end`,
  ],
])

import { LANES_FROM } from '../../ordering.ts'
import type { ScriptEdit } from './edited.ts'

/** In place of the id of a letter that is waited for no more: the next run of a poller has its lane go on. */
export const DROPPED_LETTER = '0-0'

/**
 * A dead letter that its key waits for is a place in a sorted set, by its lane and the id of its entry. While it is the first of its lane, the hash of lanes has `#` and that id, which nobody starts.
 *
 * `awaitedIn(lane)` is the entry of the first letter that a lane waits for, `awaitNoMore(lane, id)` forgets those of an entry, `keyOfLane(lane)` the key that a lane is of, if it is of one. Needs
 * ASIDE and the locals lanes, awaited.
 */
export const LUA_AWAITED_LETTERS = `
local hasAwaited
local function isLetter(first) return first:sub(1, 1) == '#' end
local function awaitedPlace(lane, id, letter) return lane .. '\\n' .. sortable(id) .. ':' .. letter end
local function awaitedParts(text)
  local lane, ms, seq, letter = text:match('^(.*)\\n[A-T](%d+)[A-T](%d+):(%d+%-%d+)$')
  return lane, ms and ms .. '-' .. seq, letter
end
local function awaitedIn(lane)
  if hasAwaited == nil then hasAwaited = beside('EXISTS', awaited) == 1 end
  if not hasAwaited then return nil end
  local text = (beside('ZRANGEBYLEX', awaited, '[' .. lane .. '\\n', '(' .. lane .. '\\11', 'LIMIT', 0, 1) or {})[1]
  if not text then return nil end
  local _, id = awaitedParts(text)
  return id
end
local function awaitNoMore(lane, id)
  if not awaitedIn(lane) then return end
  local place = lane .. '\\n' .. sortable(id)
  beside('ZREMRANGEBYLEX', awaited, '[' .. place .. ':', '(' .. place .. ';')
end
local function keyOfLane(lane)
  if not lane or lane:sub(1, ${LANES_FROM.length}) ~= '${LANES_FROM}' then return nil end
  return (lane:sub(${LANES_FROM.length + 1}):gsub('%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end))
end
`

/** Lanes wait for the letters of their entries, which say their key. Needs the local waitsForLetters. */
export const WAITS_FOR_LETTERS: readonly ScriptEdit[] = [
  [
    "  add[#add + 1] = 'fieldCount'",
    "  if orderingKey then add[#add + 1], add[#add + 2] = 'orderingKey', orderingKey end\n  add[#add + 1] = 'fieldCount'",
  ],
  [
    '  local fields, added = entry[2], nil\n',
    `  local fields, added = entry[2], nil
  local lane = laneOfEntry(id) or laneFor[id]
  orderingKey = keyOfLane(lane)
`,
  ],
  [
    '  ack(id)\n  written = written + 1',
    `  if waitsForLetters and orderingKey then
    awaitNoMore(lane, id)
    beside('ZADD', awaited, 0, awaitedPlace(lane, id, added))
    hasAwaited = true
  end
  ack(id)
  if waitsForLetters and orderingKey then
    local first = beside('HGET', lanes, lane)
    if not first or less(id, first) and yields(first, lane) then beside('HSET', lanes, lane, '#' .. id) end
  end
  written = written + 1`,
  ],
]

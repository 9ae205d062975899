import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_FENCE, LUA_HELD_ENTRIES, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** What the script answers for an entry; a text in its place is the server's refusal. */
export const SETTLE_SCRIPT_ANSWERS = {
  done: 1,
  superseded: 0,
  leaseLost: 2,
  lost: 3,
  duplicate: 4,
  postponed: 5,
} as const

/** Field pairs that one XADD can take from Lua (its stack ends near 8,000 values); an entry with more is written packed. */
export const MAX_XADD_FIELD_PAIRS = 3_900

/**
 * Field pairs that every server takes so. What has more is written packed where the server refuses it: ElastiCache Serverless takes 3,999 arguments per
 * command, and where Lua is GopherLua, as at Upstash, a call has room for some five thousand values in all.
 */
const SURE_PAIRS = 1_000

/** Dead letters that one call takes off: a stream that had no bound before shrinks in steps, and holds up no other client. */
const MOST_TRIMMED = 10_000

/** Milliseconds after which a dead letter that was refused is tried again. */
export const REFUSED_DEAD_LETTER_RETRY_MS = 60_000

/**
 * Gives entries their outcomes, each behind the fence. An ack is no business of this script.
 *
 * What is set aside lies under the name `parked`, and comes back by an index: at a time, or by a condition. What goes back to another owner keeps its count, and
 * has been idle for no time. A dead letter is added before the entry is acknowledged: nothing can fail between the two, and where the add is refused nothing
 * has happened. The refused entry is set aside, so that it does not pass for one whose process died.
 *
 * Above what is kept, the oldest letters go; the group's state counts them, for whoever asks later.
 *
 * KEYS stream, lease, due, waiting, and the dead letters and the group's state if there are any letters to write.
 * ARGV group, consumer, token, dead letters kept (or ''), then for each entry, lowest id first
 *   'aside', id, count, 1 if it may have one delivery more, new count, delay in ms ('' before all else), condition ('' comes back at its time)
 *   'back', id, count, 1 if it may have one delivery more, new count, owner
 *   'dead', id, count, number of head values, the head's names and values
 * Answers the number of dead letters trimmed away, then for each entry a number of SETTLED or the refusal's text.
 */
export const settleEntriesScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, lease, due, waiting, letters, state = unpack(KEYS, 1, 6)
local group, consumer, token, keep = unpack(ARGV, 1, 4)
${LUA_FENCE}
${LUA_HELD_ENTRIES}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
local ours, written, out = leased(), 0, {}

local function ack(id, status)
  redis.call('XACK', stream, group, id)
  beside('ZREM', due, id)
  return status
end

local function setAside(id, count, delay, condition)
  local isHere
  if condition == '' then isHere = aside(id, count, due, score(delay == '' and 0 or now + delay, count), id)
  else isHere = aside(id, count, waiting, 0, member(condition, id, count)) end
  return isHere and ${SETTLE_SCRIPT_ANSWERS.done} or ack(id, ${SETTLE_SCRIPT_ANSWERS.lost})
end

local function giveBack(id, count, owner)
  -- an index that it ran from keeps it: the mark may be above it
  return hand(owner, id, count) and ${SETTLE_SCRIPT_ANSWERS.done} or ack(id, ${SETTLE_SCRIPT_ANSWERS.lost})
end

local function pack(fields)
  local parts = {}
  for _, value in ipairs(fields) do parts[#parts + 1] = #value .. ':' .. value end
  return table.concat(parts)
end

-- adds a letter of that head; the server's refusal, or Lua's, is an error in place of its id
local function write(first, last, count, fields)
  local add = {'XADD', letters, '*'}
  for i = first, last do add[#add + 1] = ARGV[i] end
  add[#add + 1] = 'fieldCount'
  add[#add + 1] = ('%d'):format(count) -- where Lua is 5.4, tostring says 5.0
  for i = 1, #fields do add[#add + 1] = fields[i] end
  local ok, added = pcall(function() return redis.pcall(unpack(add)) end)
  return ok and added or redis.error_reply('ERR ' .. tostring(added))
end

local function deadLetter(id, count, first, last)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return ack(id, ${SETTLE_SCRIPT_ANSWERS.lost}) end
  local fields, added = entry[2], nil
  if #fields <= ${2 * MAX_XADD_FIELD_PAIRS} then added = write(first, last, #fields / 2, fields) end
  if not added or added.err and #fields > ${2 * SURE_PAIRS} then added = write(first, last, #fields / 2, {'packed', pack(fields)}) end
  if added.err then
    aside(id, count, due, score(now + ${REFUSED_DEAD_LETTER_RETRY_MS}, count), id)
    return added.err
  end
  ack(id)
  written = written + 1
  return ${SETTLE_SCRIPT_ANSWERS.done}
end

-- how many letters are too many, and were taken off
local function trim()
  local over = written > 0 and keep ~= '' and redis.call('XLEN', letters) - keep or 0
  if over <= 0 then return 0 end
  local trimmed = over > ${MOST_TRIMMED} and redis.call('XTRIM', letters, 'MAXLEN', '~', keep, 'LIMIT', ${MOST_TRIMMED})
    or redis.call('XTRIM', letters, 'MAXLEN', '=', keep)
  local before = msOr(beside('HGET', state, 'lettersTrimmed'), 0)
  redis.pcall('HSET', state, 'lettersTrimmed', num(before + trimmed))
  return trimmed
end

local places = {}
local at = 5
while at <= #ARGV do
  places[#places + 1] = at
  local op = ARGV[at]
  at = at + (op == 'aside' and 7 or op == 'back' and 6 or 4 + ARGV[at + 3])
end
local counts = ours and held(ARGV[places[1] + 1], ARGV[places[#places] + 1])
for n, at in ipairs(places) do
  local op, id, count, more, new, a, b = unpack(ARGV, at, at + 6)
  local has = ours and counts(id)
  if not ours then out[n] = ${SETTLE_SCRIPT_ANSWERS.leaseLost}
  elseif not (has == tonumber(count) or op ~= 'dead' and more == '1' and has == count + 1) then out[n] = ${SETTLE_SCRIPT_ANSWERS.superseded}
  elseif op == 'aside' then out[n] = setAside(id, tonumber(new), a, b)
  elseif op == 'back' then out[n] = giveBack(id, tonumber(new), a)
  else out[n] = deadLetter(id, tonumber(count), at + 4, at + 3 + more) end
end
table.insert(out, 1, trim())
return out
`,
}

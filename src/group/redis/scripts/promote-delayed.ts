import { LUA_READ_BODY } from './delayed-body.ts'
import { UNREADABLE_SCORE } from './delayed-counts.ts'
import { APART } from './delayed-pieces.ts'
import { ENDED, LUA_DELAYS, LUA_TRIED } from './delays.ts'
import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import { type LuaScript, MAX_ENTRIES_PER_SCRIPT_CALL } from './script.ts'

/** Bytes of bodies after which a call ends; it has one in any case. */
const MAX_CALL_BYTES = 1_048_576

/** Pages that were set aside that a call reads, of as many names as it reads. */
const MAX_TAKEN_BACK = 10
const MAX_SET_ASIDE_NAMES = 1_000

/**
 * Promotes a page of the events that are due, in due order: each is appended to the stream, trimmed as its publisher trims, and taken off in one step. Where the
 * server refuses one, it and what comes after it stay delayed. An event that cannot be read, or that Lua has no room for, is set aside above all that is
 * due, with its time.
 *
 * KEYS stream, delayed, events, next, ended 0, ended 1. No ARGV.
 * Answers how many were promoted, the server's time, when the next one is due ('' none is left), how many cannot be read, the refusal ('' none), then the
 * groups to wake.
 */
export const promoteDelayedScript: LuaScript = {
  keyCount: 6,
  lua: `
${LUA_NOW_MS}
${LUA_DELETE_TEXT_KEY}
${LUA_DELAYS}
${LUA_TRIED}
${LUA_READ_BODY}
-- the server's refusal, or false; an error where Lua has no room for so many fields, or the record is one that is refused for ever
local function append(add)
  local reply = redis.pcall(unpack(add))
  local err = type(reply) == 'table' and reply.err or false
  if err and (err:find('wrong number', 1, true) or err:find('Wrong number', 1, true) or err:find('integer', 1, true) or err:find('syntax', 1, true)) then error(err) end
  return err
end

local promoted, unreadable, bytes, refused, groups, isNamed = 0, 0, 0, false, {}, {}
local function take(event, page)
  local isRead, add, toWake, left = pcall(read, event.body, event.key)
  local hasRoom, refusedBy = true, false
  if isRead then hasRoom, refusedBy = pcall(append, add) end
  if not isRead or not hasRoom then
    local before, name = pages, newPage()
    local written, err = pcall(writePage, name, {{due = math.max(0, event.due) + ${UNREADABLE_SCORE}, key = event.key, body = event.body}})
    if not written then
      pages = before
      return type(err) == 'table' and err.err or err
    end
    place(event.key, name, page)
    unreadable = unreadable + 1
    return false
  end
  if refusedBy then return refusedBy end
  event.isGone, promoted, total = true, promoted + 1, math.max(0, total - 1)
  place(event.key, nil, page)
  for field, text in pairs(left) do put(field, text) end
  noteEnded(event.key, '${ENDED.promoted}' .. ms(event.due))
  for _, group in ipairs(toWake) do
    if not isNamed[group] then groups[#groups + 1], isNamed[group] = group, true end
  end
  return false
end

-- of a page those that are due before the next page begins; whether there may be more
local function takeFrom(list, page, limit)
  for _, event in ipairs(list) do
    if event.due > limit then return true end
    bytes = bytes + sizeOf(event.body)
    local taken = promoted + unreadable
    if taken >= ${MAX_ENTRIES_PER_SCRIPT_CALL} or taken > 0 and bytes > ${MAX_CALL_BYTES} then return false end
    refused = take(event, page)
    if refused then return false end
    event.isGone = true
  end
  return true
end

local function takePage()
  local first = redis.call('ZRANGEBYSCORE', delayed, '-inf', ms(now), 'WITHSCORES', 'LIMIT', 0, 2)
  local name = first[1]
  if not name then return false end
  local list = pageOf(name, first[2])
  if not list then
    local moved = redis.pcall('ZADD', delayed, ms(${UNREADABLE_SCORE} + math.max(0, timeOf(first[2]))), name)
    refused = type(moved) == 'table' and moved.err
    unreadable = unreadable + 1
    return not refused and promoted + unreadable < ${MAX_ENTRIES_PER_SCRIPT_CALL}
  end
  table.sort(list, byDue)
  -- whatever happens, what was appended does not stay
  local isDone, more = pcall(takeFrom, list, name, first[4] and timeOf(first[4]) or now)
  local left = {}
  for _, event in ipairs(list) do
    if not event.isGone then left[#left + 1] = event end
  end
  -- also where its score says too little, or this would go on for ever
  if #left < #list or list[1].due > timeOf(first[2]) then writePage(name, left) end
  if not isDone then error(more) end
  return more
end

-- what an older version set aside, which does not know bodies that are kept apart; from another place each time, or those that stay unreadable would keep the others there. Whether there may be more
local function takeBack()
  local aside = redis.call('ZRANGEBYSCORE', delayed, ${UNREADABLE_SCORE}, ms(${UNREADABLE_SCORE} + now), 'WITHSCORES', 'LIMIT', 0, ${MAX_SET_ASIDE_NAMES})
  local count = #aside / 2
  local from, isAny = count > ${MAX_TAKEN_BACK} and time[2] % count or 0, false
  for at = from, from + math.min(count, ${MAX_TAKEN_BACK}) - 1 do
    local n = at % count * 2 + 1
    local list = pageOf(aside[n], aside[n + 1]) or {}
    local event = #list == 1 and list[1]
    if event and event.body:byte(2) == ${APART} and pcall(read, event.body, event.key) then
      local moved = redis.pcall('ZADD', delayed, ms(event.due - ${UNREADABLE_SCORE}), aside[n])
      refused = type(moved) == 'table' and moved.err
      if refused then return false end
      isAny = true
    end
  end
  return isAny and count > ${MAX_TAKEN_BACK}
end

refused = refusal({
  {'XADD', stream, '*', 'a', ''}, {'ZADD', delayed, 0, ''}, {'ZREM', delayed, ''}, {'HDEL', events, ''}, {'HSET', events, '#', ''}, {'UNLINK', events}, {'HSET', endedNow, '', ''}, {'PEXPIREAT', endedNow, 1}, {'UNLINK', endedNow},
  {'GETDEL', flag}, {'SETNX', flag, ''},
}) or false
-- before 7.0 rights cannot be asked for: what follows an append must not be what is refused, or it would be appended again. No page is called x
refused = refused or tried({{'HSET', events, '#', '', 'x'}}, 'wrong number') or tried({{'ZADD', delayed, 'x', ''}}, 'float')
  or tried({{'ZSCORE', delayed, ''}, {'ZREM', delayed, 'x'}, {'HDEL', events, 'x'}}) or false
if refused then return {0, ms(now), '', 0, refused} end
readCounts()
local isMore = takeBack()
while not refused and takePage() do end
local due = keepFlag()
-- asked again at once, unless some were set aside again: that might go on for ever
if isMore and unreadable == 0 and not refused then due = ms(now) end
local answer = {promoted, ms(now), due or '', unreadable, refused or ''}
for _, group in ipairs(groups) do answer[#answer + 1] = group end
return answer
`,
}

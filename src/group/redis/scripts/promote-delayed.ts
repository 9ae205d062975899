import { UNREADABLE_SCORE } from './delayed-counts.ts'
import { ENDED, LUA_BODY_NAMES, LUA_BODY_TRIMS, LUA_DELAYS, LUA_TRIED } from './delays.ts'
import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import { type LuaScript, MAX_ENTRIES_PER_SCRIPT_CALL } from './script.ts'

/** Bytes of bodies after which a call ends; it has one in any case. */
const MAX_CALL_BYTES = 1_048_576

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
${LUA_BODY_NAMES}
${LUA_BODY_TRIMS}
local function idOf(key)
  if key:sub(1, 1) == 't' then return key:sub(2) end
  local hex = ('%02x'):rep(16):format(key:byte(2, 17))
  return table.concat({hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 16), hex:sub(17, 20), hex:sub(21)}, '-')
end

-- an XADD of what a body says, and its groups; an error if that is not to be read
local function read(body, key)
  local at = 3
  local function count()
    local n
    n, at = numberAt(body, at)
    return n
  end
  local function text()
    local length = count()
    at = at + length
    if at > #body + 1 then error('cut off') end
    return body:sub(at - length, at - 1)
  end
  if body:sub(1, 1) ~= '1' then error('of another version') end
  local add, kind, groups = {'XADD', stream}, body:sub(2, 2), {}
  if kind ~= '-' then
    local trim, exact = TRIMS[kind]:match('^(%u+) ([~=])$')
    local bound = count()
    add[3], add[4], add[5] = trim, exact, ms(trim == 'MINID' and math.max(0, now - bound) or bound)
  end
  add[#add + 1] = '*'
  local heads = #add
  text()
  for n = 1, count() do groups[n] = text() end
  while at <= #body do
    local letter = body:sub(at, at)
    at = at + 1
    local name = letter == 'i' and 'eventId' or letter == '=' and text() or NAMES[letter] or error('of an unknown field')
    add[#add + 1] = name
    add[#add + 1] = letter == 'i' and idOf(key) or text()
  end
  if #add == heads then error('of no fields') end
  return add, groups
end

-- the server's refusal, or false; an error where Lua has no room for so many fields, or the record is one that is refused for ever
local function append(add)
  local reply = redis.pcall(unpack(add))
  local err = type(reply) == 'table' and reply.err or false
  if err and (err:find('wrong number', 1, true) or err:find('Wrong number', 1, true) or err:find('integer', 1, true) or err:find('syntax', 1, true)) then error(err) end
  return err
end

local promoted, unreadable, bytes, refused, groups, isNamed = 0, 0, 0, false, {}, {}
local function take(event, page)
  local isRead, add, toWake = pcall(read, event.body, event.key)
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
    bytes = bytes + #event.body
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

refused = refusal({
  {'XADD', stream, '*', 'a', ''}, {'ZADD', delayed, 0, ''}, {'ZREM', delayed, ''}, {'HDEL', events, ''}, {'HSET', events, '#', ''}, {'UNLINK', events}, {'HSET', endedNow, '', ''}, {'PEXPIREAT', endedNow, 1}, {'UNLINK', endedNow},
  {'GETDEL', flag}, {'SETNX', flag, ''},
}) or false
-- before 7.0 rights cannot be asked for: what follows an append must not be what is refused, or it would be appended again. No page is called x
refused = refused or tried({{'HSET', events, '#', '', 'x'}}, 'wrong number') or tried({{'ZADD', delayed, 'x', ''}}, 'float')
  or tried({{'ZSCORE', delayed, ''}, {'ZREM', delayed, 'x'}, {'HDEL', events, 'x'}}) or false
if refused then return {0, ms(now), '', 0, refused} end
readCounts()
while takePage() do end
local answer = {promoted, ms(now), keepFlag() or '', unreadable, refused or ''}
for _, group in ipairs(groups) do answer[#answer + 1] = group end
return answer
`,
}

import { ENDED, LUA_DELAYS, LUA_RECORD_NAMES, UNREADABLE_SCORE } from './delays.ts'
import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import { type LuaScript, MAX_ENTRIES_PER_SCRIPT_CALL } from './script.ts'

/** Bytes of records after which a page ends; it has one record in any case. */
const MAX_PAGE_BYTES = 1_048_576

/**
 * Promotes a page of the events that are due, in due order: each is appended to the stream, trimmed as its publisher trims, and taken off in one step. Where the
 * server refuses one, it and what comes after it stay delayed. A record that cannot be read, or that Lua has no room for, is set aside above all that is
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
${LUA_RECORD_NAMES}
local function idOf(member)
  if member:sub(1, 1) == 't' then return member:sub(2) end
  local hex = ('%02x'):rep(16):format(member:byte(2, 17))
  return table.concat({hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 16), hex:sub(17, 20), hex:sub(21)}, '-')
end

-- an XADD of what a record says, and its groups; an error if that is not to be read
local function read(record, member)
  local at, groups = 2, {}
  local function text()
    local length, from = record:match('^(%d+):()', at)
    at = from + length
    if at > #record + 1 then error('cut off') end
    return record:sub(from, at - 1)
  end
  if record:sub(1, 1) ~= '1' then error('of another version') end
  local add, trim = {'XADD', stream}, text()
  local kind, how, bound = trim:match('^(%u+) ([~=]) (%d+)$')
  if trim ~= '' and not (bound and #bound < 16 and (kind == 'MAXLEN' or kind == 'MINID')) then error('of no trim') end
  if kind == 'MINID' then bound = ms(math.max(0, now - bound)) end
  if kind then add[3], add[4], add[5] = kind, how, bound end
  add[#add + 1] = '*'
  local heads = #add
  if record:sub(at, at) == 'c' then
    at = at + 1
    text()
  end
  while record:sub(at, at) == 'g' do
    at = at + 1
    groups[#groups + 1] = text()
  end
  while at <= #record do
    local letter = record:match('^%l', at)
    if letter then at = at + 1 end
    add[#add + 1] = letter == 'i' and 'eventId' or letter and NAMES[letter] or text()
    add[#add + 1] = letter == 'i' and idOf(member) or text()
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
local function take(member, due, record)
  local isRead, add, toWake = pcall(read, record, member)
  local hasRoom, refusedBy = true, false
  if isRead then hasRoom, refusedBy = pcall(append, add) end
  if not isRead or not hasRoom then
    local moved = redis.pcall('ZADD', delayed, ms(${UNREADABLE_SCORE} + due), member)
    if type(moved) == 'table' then return moved.err end
    unreadable = unreadable + 1
    return false
  end
  if refusedBy then return refusedBy end
  redis.call('ZREM', delayed, member)
  redis.call('HDEL', events, member)
  noteEnded(member, '${ENDED.promoted}' .. ms(due))
  promoted = promoted + 1
  for _, group in ipairs(toWake) do
    if not isNamed[group] then groups[#groups + 1], isNamed[group] = group, true end
  end
  return false
end

refused = refusal({
  {'XADD', stream, '*', 'a', ''}, {'ZADD', delayed, 0, ''}, {'ZREM', delayed, ''}, {'HDEL', events, ''}, {'HSET', endedNow, '', ''}, {'PEXPIREAT', endedNow, 1}, {'UNLINK', endedNow},
  {'GETDEL', flag}, {'SETNX', flag, ''},
}) or false
-- before 7.0 rights cannot be asked for: what follows an append must not be what is refused, or it would be appended again. No member is called x
for _, command in ipairs(not refused and not redis.acl_check_cmd and {{'ZREM', delayed, 'x'}, {'HDEL', events, 'x'}} or {}) do
  local reply = redis.pcall(unpack(command))
  refused = refused or type(reply) == 'table' and reply.err
end
if refused then return {0, ms(now), '', 0, refused} end
local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', ms(now), 'WITHSCORES', 'LIMIT', 0, ${MAX_ENTRIES_PER_SCRIPT_CALL})
for n = 1, #due, 2 do
  local record = redis.call('HGET', events, due[n])
  bytes = bytes + (record and #record or 0)
  if n > 1 and bytes > ${MAX_PAGE_BYTES} then break end
  refused = take(due[n], due[n + 1], record)
  if refused then break end
end
local answer = {promoted, ms(now), keepFlag() or '', unreadable, refused or ''}
for _, group in ipairs(groups) do answer[#answer + 1] = group end
return answer
`,
}

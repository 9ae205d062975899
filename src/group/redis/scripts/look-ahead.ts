/**
 * Integers of 64 bits, which Lua's numbers are not: two doubles, `high * 1e9 + low`, both of one sign. `integer(text)` is one, nil where Redis takes the text for none;
 * `sum(a, b)` is nil where it overflows.
 */
const LUA_INTEGERS = `
local BILLION, TOP = 1e9, {9223372036, 854775807}
local function integer(text)
  if #text > 20 then return nil end
  local sign, digits = text:match('^(%-?)(%d+)$')
  if not digits or #digits > 1 and digits:sub(1, 1) == '0' or sign == '-' and digits == '0' then return nil end
  local low = tonumber(digits:sub(-9))
  local high = #digits > 9 and tonumber(digits:sub(1, -10)) or 0
  if high > TOP[1] or high == TOP[1] and low > TOP[2] + (sign == '-' and 1 or 0) then return nil end
  if sign == '-' then return {-high, -low} end
  return {high, low}
end
local function sum(a, b)
  local high, low = a[1] + b[1], a[2] + b[2]
  if low >= BILLION then high, low = high + 1, low - BILLION elseif low <= -BILLION then high, low = high - 1, low + BILLION end
  if high > 0 and low < 0 then high, low = high - 1, low + BILLION elseif high < 0 and low > 0 then high, low = high + 1, low - BILLION end
  if high > TOP[1] or high == TOP[1] and low > TOP[2] or high < -TOP[1] or high == -TOP[1] and low < -TOP[2] - 1 then return nil end
  return {high, low}
end
`

/** `isHyperLogLog(text)`: PFADD checks no more than its header and, of a sparse one, the runs up to where it writes; here all runs together must be its registers. */
const LUA_IS_HYPER_LOG_LOG = `
local function isHyperLogLog(text)
  if #text < 16 or text:sub(1, 4) ~= 'HYLL' then return false end
  local encoding = text:byte(5)
  if encoding == 0 then return #text == 12304 end
  if encoding ~= 1 then return false end
  local registers, at = 0, 17
  while at <= #text do
    local op = text:byte(at)
    if op >= 128 then registers = registers + op % 4 + 1
    elseif op < 64 then registers = registers + op + 1
    else
      local more = text:byte(at + 1)
      if not more then return false end
      registers, at = registers + (op - 64) * 256 + more + 1, at + 1
    end
    at = at + 1
  end
  return registers == 16384
end
`

/**
 * Before 7.0 a script cannot ask for a right. A call that the command itself refuses, or that changes nothing, is refused for a missing right before; and on a replica, or where
 * memory is full.
 */
const LUA_RIGHTS = `
local PROBES = {
  INCRBY = {stream, '1'}, HINCRBY = {stream, 'f', '1'}, HSET = {stream, 'f', 'v'}, HDEL = {stream, 'f'}, SADD = {stream, 'm'}, SREM = {stream, 'm'},
  ZADD = {stream, '1', 'm'}, ZINCRBY = {stream, '1', 'm'}, ZREM = {stream, 'm'}, ZREMRANGEBYRANK = {stream, 'x', 'x'}, PFADD = {stream, 'e'}, SET = {stream, 'v', 'NX', 'XX'}, XADD = {stream, 'x', 'f', 'v'},
  PEXPIRE = {stream, 'x'}, DEL = {lease .. ':none'}, XACK = {stream, group, 'x'},
}
local DENIALS = {'NOPERM', "can't run this command", "can't access", 'OOM', 'READONLY', "can't write against a read only", 'NOREPLICAS', 'MISCONF'}
local function denialBefore7(name)
  local reply = redis.pcall(name, unpack(PROBES[name]))
  for _, word in ipairs(DENIALS) do
    if type(reply) == 'table' and reply.err and reply.err:find(word, 1, true) then return reply.err end
  end
end
local denials = {}
local function denialOf(command)
  local name = command[1]
  local what = redis.acl_check_cmd and name .. ' ' .. command[2] or name
  if denials[what] == nil then
    local denial
    if redis.acl_check_cmd then denial = not redis.acl_check_cmd(unpack(command)) and 'NOPERM no permission to run ' .. name .. ' on its key'
    else denial = denialBefore7(name) end
    denials[what] = denial or false
  end
  return denials[what]
end
`

/**
 * `objectionTo(entries)` is why not all commands of some entries could be carried out in sequence, found without a write; nil if nothing speaks against any. A script's first writes stay when a later one fails.
 * What the handler asked for is wrong is a table of one text, anything else (a right, a policy's command, a server that refuses to say) a text.
 *
 * `SEES` has what each command needs, and what its key will be after it, as if it were never emptied (a call may not take a key for two types): its type (`kind`), the integer in it (`value`; false what is none), those of its `fields`. What is not known is
 * asked for, unless the key is `new` by then. Needs the locals stream, lease, group.
 */
export const LUA_LOOK_AHEAD = `
${LUA_INTEGERS}
${LUA_IS_HYPER_LOG_LOG}
${LUA_RIGHTS}
local seen, isEffect, at, objection
local function object(text)
  objection = isEffect and {text .. ': ' .. at} or text
  error(text, 0)
end
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    objection = reply.err
    error(reply.err, 0)
  end
  return reply
end
local function new(key, kind, value)
  seen[key] = {kind = kind, value = value, fields = {}, new = true}
end
local function become(key, kind, name)
  local is = seen[key].kind
  if is ~= 'none' and is ~= kind then object('WRONGTYPE ' .. name .. ' needs a ' .. kind .. ', the key is a ' .. is) end
  if is == 'none' then new(key, kind) end
  return seen[key]
end
local function added(was, by, name)
  if not was then object('ERR ' .. name .. ' needs an integer of 64 bits where it adds') end
  return sum(was, integer(by)) or object('ERR ' .. name .. ' would overflow 64 bits')
end
local function takes(kind, name) return function(key) become(key, kind, name) end end

local SEES = {
  SADD = takes('set', 'SADD'), SREM = takes('set', 'SREM'), ZADD = takes('zset', 'ZADD'), ZREM = takes('zset', 'ZREM'),
  ZINCRBY = takes('zset', 'ZINCRBY'),
  ZREMRANGEBYRANK = takes('zset', 'ZREMRANGEBYRANK'),
  DEL = function(key) new(key, 'none') end,
  PEXPIRE = function(key, ms) if tonumber(ms) <= 0 then new(key, 'none') end end,
}
function SEES.SET(key, value, ...)
  local is = seen[key].kind
  for _, option in ipairs({...}) do
    if option:upper() == 'NX' and is ~= 'none' or option:upper() == 'XX' and is == 'none' then return end
  end
  new(key, 'string', integer(value) or false)
end
function SEES.INCRBY(key, by)
  local at = become(key, 'string', 'INCRBY')
  if at.value == nil then
    local text = not at.new and (ask('STRLEN', key) <= 20 and ask('GET', key) or 'long') or '0'
    at.value = integer(text) or false
  end
  at.value = added(at.value, by, 'INCRBY')
end
function SEES.HSET(key, ...)
  local at, pairs = become(key, 'hash', 'HSET'), {...}
  for i = 1, #pairs, 2 do at.fields[pairs[i]] = integer(pairs[i + 1]) or false end
end
function SEES.HINCRBY(key, field, by)
  local at = become(key, 'hash', 'HINCRBY')
  if at.fields[field] == nil then
    local text = not at.new and ask('HGET', key, field) or '0'
    at.fields[field] = integer(text) or false
  end
  at.fields[field] = added(at.fields[field], by, 'HINCRBY')
end
function SEES.HDEL(key, ...)
  local at = become(key, 'hash', 'HDEL')
  for _, field in ipairs({...}) do at.fields[field] = {0, 0} end
end
function SEES.XADD(key)
  local at = become(key, 'stream', 'XADD')
  if at.new or at.value then return end
  local info = ask('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and info[i + 1]:find('18446744073709551615-', 1, true) == 1 then object('ERR the ids of the stream are used up') end
  end
  at.value = true
end
function SEES.PFADD(key)
  local at = become(key, 'string', 'PFADD')
  if at.isHyperLogLog == nil then
    if at.new then at.isHyperLogLog = at.value == nil
    else at.isHyperLogLog = at.value == nil and ask('STRLEN', key) <= 65536 and isHyperLogLog(ask('GETRANGE', key, 0, -1)) end
  end
  if not at.isHyperLogLog then object('ERR PFADD needs a HyperLogLog that is whole') end
  at.value = false
end

local function mayRun(command)
  local denial = denialOf(command)
  if denial then
    objection = denial
    error(denial, 0)
  end
end

local function look(command, kind)
  local name, key = command[1], command[2]
  isEffect, at = kind == '*', key
  seen[key] = seen[key] or {kind = ask('TYPE', key).ok, fields = {}}
  SEES[name](unpack(command, 2))
  mayRun(command)
end
local function objectionTo(entries)
  seen, objection = {}, nil
  local isFine, why = pcall(function()
    for _, entry in ipairs(entries) do
      for n, command in ipairs(entry.commands) do look(command, entry.kinds[n]) end
      -- last: once a script has tried a write that needs no memory, the server asks for none any more
      mayRun({'XACK', stream, group, entry.id})
    end
  end)
  return not isFine and (objection or 'ERR ' .. tostring(why)) or nil
end
`

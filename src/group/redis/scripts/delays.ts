import { DELAYED_COUNTS_FIELD, UNREADABLE_SCORE } from './delayed-counts.ts'
import { LUA_CHANGE_DELAYED, LUA_FIND_DELAYED } from './delayed-pages.ts'

/** Milliseconds for which an event may be delayed: 366 days. */
export const MAX_EVENT_DELAY_MS = 366 * 86_400_000

/**
 * What `ended` holds of an event: the first letter says how it ended. `p` and when it was due, if it was promoted; then, newest first, of each cancellation `c`, the nonce of its call, a
 * space, and the nonce of the call that had delayed the event: so each of these calls answers the same when it is sent again.
 */
export const ENDED = { promoted: 'p', cancelled: 'c' } as const

/** Cancellations that are remembered of an event id: a call that is sent again after more is a new one. */
export const MAX_CANCELLATIONS = 8

/** How a body abbreviates the way in which its stream is trimmed. */
export const LUA_BODY_TRIMS = `
local TRIMS = {l = 'MAXLEN ~', L = 'MAXLEN =', a = 'MINID ~', A = 'MINID ='}
`

/** Field names that a body abbreviates; `i` is the field eventId where it holds the event's own id, and `=` any other name. */
export const LUA_BODY_NAMES = `
local NAMES = {
  t = 'eventType', v = 'schemaVersion', k = 'aggregateType', a = 'aggregateId', n = 'tenantId',
  p = 'producer', o = 'occurredAt', r = 'traceparent', d = 'payload',
}
`

/** `callOf(body)` is the nonce of the call that delayed an event; '' if it had none, or that cannot be read. Needs LUA_FIND_DELAYED. */
export const LUA_CALL_OF_BODY = `
local function callOf(body)
  local _, nonce = pcall(function()
    local at, length = 3, 0
    if body:sub(2, 2) ~= '-' then length, at = numberAt(body, 3) end
    length, at = numberAt(body, at)
    return body:sub(1, 1) == '1' and body:sub(at, at + length - 1) or ''
  end)
  return nonce:find('%s') and '' or nonce
end
`

/** `denied(commands)` is the refusal of the first one that the user may not run, from 7.0 on: before, rights cannot be asked for. */
export const LUA_DENIED = `
local function denied(commands)
  for _, command in ipairs(commands) do
    if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(command)) then
      return 'NOPERM no permission to run ' .. command[1] .. ' on ' .. command[2]
    end
  end
end
`

/**
 * `tried(commands)` is the refusal of the first one that is refused, before 7.0: `denied` cannot be asked there. Their effects must do no harm. A command that adds is given what it cannot
 * read, and has no effect: `faulty` says by what words of its answer it was let in, and it must be the first, since a server that is full refuses only the first write of a script.
 */
export const LUA_TRIED = `
local function tried(commands, faulty)
  for _, command in ipairs(redis.acl_check_cmd and {} or commands) do
    local reply = command and redis.pcall(unpack(command))
    local err = type(reply) == 'table' and reply.err
    if err and not (faulty and err:find(faulty, 1, true)) then return err end
  end
end
`

/** `ms(number)` is a number of milliseconds as text, to the last digit. */
export const LUA_MS_TEXT = `
local function ms(number) return ('%.0f'):format(tonumber(number)) end
`

/**
 * What all scripts of delayed events have in common. Before anything is written, `refusal(writes)` is why something could not be: a key of another type,
 * keys that belong to another stream, and from 7.0 on a missing right, to read as well as to write. `endedAs(member)` is how an event ended within the last hour or two, or false;
 * `callsOf(ended)` are two sets: nonces of calls that cancelled an event of that id, and of calls that had delayed it. `noteEnded(member, how)` remembers it, beside earlier cancellations, in the hash of this hour, which is named under `''`: what was there two hours ago is unlinked, since a large hash that expires would keep
 * others waiting; streams orders and {orders} share them. What is set aside is on a page of its own, and a time below 0, which anybody may have written, is due. `keepFlag()` keeps the time of the first one right and returns it, and what counts the events.
 *
 * Needs now, and `drop`. KEYS stream, delayed, events, next, ended 0, ended 1, and, where an id is published once, its marker.
 */
export const LUA_DELAYS = `
local stream, delayed, events, flag, ended0, ended1, marker = unpack(KEYS)
local hour = math.floor(now / 3600000)
local endedNow, endedBefore = ended0, ended1
if hour % 2 == 1 then endedNow, endedBefore = ended1, ended0 end
${LUA_MS_TEXT}
local TYPES = {'stream', 'zset', 'hash', 'string', 'hash', 'hash', 'string'}
local READS = {
  {'TYPE', stream}, {'TYPE', delayed}, {'HGET', events, ''}, {'HGET', endedNow, ''}, {'ZCARD', delayed},
  {'ZRANGEBYSCORE', delayed, 0, 1}, {'ZSCORE', delayed, ''}, {'GET', flag}, marker and {'GET', marker},
}
${LUA_DENIED}
local function refusal(writes)
  local without = denied(READS) or denied(writes)
  if without then return without end
  for n, key in ipairs(KEYS) do
    local is = redis.call('TYPE', key).ok
    if is ~= 'none' and is ~= TYPES[n] then return 'WRONGTYPE ' .. key .. ' must be a ' .. TYPES[n] .. ', and is a ' .. is end
  end
  local owner = redis.call('HGET', events, '')
  if owner and owner ~= stream then return 'ERR the keys of delayed events belong to stream ' .. owner end
end
${LUA_FIND_DELAYED}
${LUA_CHANGE_DELAYED}
local function isOf(key, of) return redis.call('HGET', key, '') == ms(of) end
local own = stream:sub(-1) == '}' and '}' or ''
local function endedAs(member)
  return isOf(endedNow, hour) and redis.call('HGET', endedNow, own .. member) or isOf(endedBefore, hour - 1) and redis.call('HGET', endedBefore, own .. member)
end
local function callsOf(ended)
  local cancelled, delayedBy = {}, {}
  for cancel, delay in (ended or ''):gmatch('c(%S*) (%S*)') do cancelled[cancel], delayedBy[delay] = true, true end
  return cancelled, delayedBy
end
local function noteEnded(member, how)
  local kept, most = {how}, how:sub(1, 1) == '${ENDED.cancelled}' and ${MAX_CANCELLATIONS} or ${MAX_CANCELLATIONS + 1}
  for call in (endedAs(member) or ''):gmatch('c%S* %S*') do
    if #kept < most then kept[#kept + 1] = call end
  end
  if not isOf(endedNow, hour) then
    redis.call('UNLINK', endedNow)
    redis.call('HSET', endedNow, '', ms(hour))
    redis.call('PEXPIREAT', endedNow, ms((hour + 3) * 3600000))
  end
  redis.call('HSET', endedNow, own .. member, table.concat(kept, ' '))
end

local function keepFlag()
  local first = redis.call('ZRANGEBYSCORE', delayed, '-inf', '(${UNREADABLE_SCORE}', 'WITHSCORES', 'LIMIT', 0, 1)
  local due = first[2] and ms(math.max(0, timeOf(first[2]))) or false
  if due ~= redis.call('GET', flag) then
    drop(flag)
    if due then redis.call('SETNX', flag, due) end
  end
  local held = redis.call('ZCARD', delayed)
  if not due then total = held end
  local are = ('%.0f %.0f %.0f'):format(total, pages, buckets)
  if held == 0 then redis.call('UNLINK', events)
  elseif are ~= counts then put('${DELAYED_COUNTS_FIELD}', are) end
  return due
end
`

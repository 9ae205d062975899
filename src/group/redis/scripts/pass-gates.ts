import { BREAKER_FIELDS, GATE_ANSWERS, LONGEST_LINE_MS, PROBE_WAIT_MS, UNKNOWN_HOLD_MS } from '../../../core/gates.ts'
import { LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { LUA_LIMITS } from './limits.ts'
import type { LuaScript } from './script.ts'

/** Circuit breakers, by the hash of all that are open. */
const BREAKERS = `
local function fields(kind, ...)
  local names = {}
  for _, name in ipairs({...}) do names[#names + 1] = name .. ' ' .. kind end
  return names
end
local function breakerOf(kind)
  local at, probe, held = unpack(redis.call('HMGET', breakers, unpack(fields(kind, 'until', 'probe', 'held'))))
  return tonumber(at or ''), probe, tonumber(held or '') or 0
end
local function close(kind, failures)
  redis.call('HDEL', breakers, unpack(fields(kind, ${BREAKER_FIELDS.map((name) => `'${name}'`).join(', ')})))
  redis.call('ZREMRANGEBYRANK', failures, 0, -1)
end
-- an entry of that type has succeeded
local function works(kind)
  redis.call('HDEL', breakers, 'fails ' .. kind)
  redis.call('HSET', breakers, 'worked ' .. kind, num(now))
end
-- whether one is known to have succeeded within the window, and none to have failed since; notes that one fails now
local function hasWorked(kind, per)
  local fails, worked = unpack(redis.call('HMGET', breakers, unpack(fields(kind, 'fails', 'worked'))))
  fails, worked = tonumber(fails or '') or 0, tonumber(worked or '') or 0
  if fails <= now - per then
    fails = 0
    redis.call('HSET', breakers, 'fails ' .. kind, num(now))
  end
  return fails == 0 and worked > now - per
end
local function endProbe(kind, id, at)
  redis.call('HDEL', breakers, unpack(fields(kind, 'probe', 'held')))
  redis.call('HSET', breakers, 'until ' .. kind, at, 'last ' .. kind, id)
end
local function failed(kind, failures, member, id, most, per, after, name, last)
  local at, probe = breakerOf(kind)
  if at and probe == id then
    at = now + after
    endProbe(kind, id, num(at))
    redis.call('HSET', breakers, 'error ' .. kind, name)
  end
  if at then return '${GATE_ANSWERS.breaker}' .. num(at) end
  redis.call('ZADD', failures, num(now), member)
  redis.call('ZREMRANGEBYSCORE', failures, '-inf', num(now - per))
  redis.call('PEXPIRE', failures, per)
  local isSpared = not hasWorked(kind, per) and last == '1'
  if redis.call('ZCARD', failures) < tonumber(most) and not isSpared then return '${GATE_ANSWERS.noted}' end
  redis.call('ZREMRANGEBYRANK', failures, 0, -1)
  redis.call('HSET', breakers, 'opened ' .. kind, num(now), 'until ' .. kind, num(now + after), 'error ' .. kind, name)
  return '${GATE_ANSWERS.breaker}' .. num(now + after)
end
-- why an entry may not start, and whether it would be the probe
local function byBreaker(kind, id)
  local at, probe, held = breakerOf(kind)
  if not at then return nil, false end
  if probe == id then return nil, true end
  if probe and held > now then return '${GATE_ANSWERS.breaker}' .. num(now + ${PROBE_WAIT_MS}), false end
  if now < at then return '${GATE_ANSWERS.breaker}' .. num(at), false end
  return nil, true
end
`

/**
 * Asks for all that entries need before they start: that their circuit breaker is closed, or probed by them, places of concurrency limits, and turns of rate limits. Each entry gets
 * all or none of it. Before that, it takes note of calls that ended.
 *
 * A rate limit is GCRA: `free` is when the next turn is, turns are `(perMs + late + slack) / max` apart, and one may come `slack` before. Since each starts no more than `late`
 * after its turn, no window of perMs has more than max starts; the longest `late` counts until a window after it was last asked for. A place ends with its holder's lease. Who has
 * to ask again for a place stands in its line: until then, what was not set aside yet has to stand behind. Who has no turn yet stands in the queue of each limit that refused it, in the order of entry ids. None waits longer than an hour without asking.
 *
 * Sent twice, it answers the same: the last answer is noted with the nonce, which ends in the number of the request; an earlier one is refused. Where the lease is gone nothing is given.
 *
 * KEYS lease, state, breakers, then those that ARGV names by their numbers. ARGV consumer, token, nonce, ms of a lease that is not there, how far ahead a turn may be in ms, how many may
 * pass, then operations:
 *   'left', the holder, held ms, number of places, their keys
 *   'failed', event type, key of its failures, member, entry id, failures, perMs, probeAfterMs, name of the error, 1 if it
 *     was the last delivery: that opens the breaker unless an entry is known to have succeeded since one failed
 *   'worked', event type, key of its failures, entry id: a probe succeeded, or, where the breaker is closed, any entry
 *   'void', event type, entry id: a probe has said nothing
 *   'pass', entry id, the holder, 1 if it was set aside or waits in line already, event type of its breaker (''), number of places, key and max of each, number of
 *     rates, key, max, perMs, late and slack of each
 * Answers the server's time and, for each operation, one of GATE_ANSWERS with a time; or the time alone if the lease is gone.
 */
export const passGatesScript: LuaScript = {
  keyCount: undefined,
  lua: `
local lease, state, breakers = unpack(KEYS, 1, 3)
local consumer, token, nonce, length, ahead, most = unpack(ARGV, 1, 6)
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
ahead, most = tonumber(ahead), tonumber(most)
local function num(n) return ('%.3f'):format(n) end
${LUA_READ_KEYS_BESIDE_GROUP}
if token ~= '' and redis.pcall('GET', lease) ~= token then return {num(now)} end
local asked = beside('HGET', state, 'asked:' .. consumer)
if asked and asked:sub(1, #nonce + 1) == nonce .. ' ' then return {num(now), asked:sub(#nonce + 2)} end
-- a request that the server got late: who sent it went on without it
local by, number = nonce:match('^(.*):(%d+)$')
local lastBy, last = (asked or ''):match('^(%S*):(%d+) ')
if by and by == lastBy and tonumber(number) < tonumber(last) then return {num(now)} end
local lasts = token ~= '' and redis.call('PTTL', lease) or -1
local ends = now + (lasts >= 0 and lasts or tonumber(length))
${BREAKERS}
${LUA_LIMITS}

local function pass(id, holder, isKnown, kind, places, rates)
  local isProbe = false
  -- what waits for something else keeps nobody waiting for a turn
  local function leaveRates(stands)
    for _, rate in ipairs(isKnown and rates or {}) do
      rate.limit = limitOf(rate.key)
      rate.limit.per = rate.per
      if rate ~= stands then leave(rate.limit, id) end
    end
  end
  if kind ~= '' then
    local refused
    refused, isProbe = byBreaker(kind, id)
    if refused then
      leaveRates()
      return refused
    end
  end
  for _, place in ipairs(places) do
    local limit = limitOf(place.key)
    if not limit.holders['@' .. holder] and (limit.count >= place.max or not isKnown and hasLine(limit)) then
      -- nobody knows how long places are held: no wait is longer than that
      leaveRates()
      local step = math.min((limit.avg or ${UNKNOWN_HOLD_MS}) / place.max, math.max(0, now + ${LONGEST_LINE_MS} - limit.line))
      return '${GATE_ANSWERS.place}' .. num(standInLine(limit, now, step))
    end
  end
  if most < 1 and #rates == 0 then return '${GATE_ANSWERS.none}' end
  local turn, again, isRefused, isWaste = now, false, false, false
  for _, rate in ipairs(rates) do
    rate.limit = limitOf(rate.key)
    ruleOf(rate.limit, rate)
    turn = math.max(turn, rate.from)
  end
  local furthest = now + ((isProbe or #places > 0) and 0 or ahead)
  for _, rate in ipairs(rates) do
    rate.isBehind = isBehind(rate, id) or rate.from > furthest
    isRefused = isRefused or rate.isBehind
    -- a turn that one limit has later would have others go by
    isWaste = isWaste or turn > math.max(now, rate.limit.free) + rate.apart / 4
  end
  if most < 1 or isRefused or isWaste then
    -- of several it stands for the one that it waits for longest
    local stands
    for _, rate in ipairs(rates) do
      if rate.isBehind or not isRefused and rate.from == turn then
        local at = comesAt(rate)
        if not again or at > again then stands, again = rate, at end
      end
    end
    if again then
      standForTurn(stands, again, id, isKnown)
      leaveRates(stands)
      return '${GATE_ANSWERS.turn}' .. num(again)
    end
  end
  most = most - 1
  for _, rate in ipairs(rates) do takeTurn(rate, turn, id, isKnown) end
  for _, place in ipairs(places) do
    local limit = limitOf(place.key)
    if not limit.holders['@' .. holder] then limit.holders['@' .. holder], limit.count = true, limit.count + 1 end
    limit.ends, limit.used, limit.moved, limit.changed = math.max(limit.ends or 0, ends), now, now, true
    redis.call('HSET', place.key, '@' .. holder, num(ends))
  end
  if isProbe then redis.call('HSET', breakers, 'probe ' .. kind, id, 'held ' .. kind, num(ends)) end
  return (isProbe and '${GATE_ANSWERS.probe}' or '${GATE_ANSWERS.pass}') .. num(turn)
end

-- who waits holds nothing, also not what it was given before
local function giveBack(id, holder, kind, places)
  for _, place in ipairs(places) do
    local limit = limitOf(place.key)
    if limit.holders['@' .. holder] then
      limit.holders['@' .. holder], limit.count, limit.changed = nil, limit.count - 1, true
      redis.call('HDEL', place.key, '@' .. holder)
    end
  end
  if kind == '' then return end
  local _, probe = breakerOf(kind)
  if probe == id then redis.call('HDEL', breakers, unpack(fields(kind, 'probe', 'held'))) end
end

local at, out = 7, {}
local function take(count)
  at = at + count
  return unpack(ARGV, at - count, at - 1)
end
local function key() return KEYS[tonumber((take(1)))] end
while at <= #ARGV do
  local op, answer = take(1), '${GATE_ANSWERS.noted}'
  if op == 'left' then
    local holder, held, count = take(3)
    for _ = 1, count do left(key(), holder, tonumber(held)) end
  elseif op == 'failed' then
    local kind, failures = take(1), key()
    answer = failed(kind, failures, take(7))
  elseif op == 'worked' then
    local kind, failures, id = take(1), key(), take(1)
    local open, probe = breakerOf(kind)
    if probe == id then close(kind, failures) end
    if probe == id or not open then works(kind) end
  elseif op == 'void' then
    local kind, id = take(2)
    local _, probe = breakerOf(kind)
    if probe == id then endProbe(kind, id, num(now)) end
  else
    local id, holder, known, kind, count = take(5)
    local places, rates = {}, {}
    for n = 1, count do places[n] = {key = key(), max = tonumber((take(1)))} end
    for n = 1, take(1) do
      local rate = {key = key()}
      local max, per, late, slack = take(4)
      rate.max, rate.per, rate.late, rate.slack = tonumber(max), tonumber(per), tonumber(late), tonumber(slack)
      rates[n] = rate
    end
    answer = pass(id, holder, known == '1', kind, places, rates)
    if answer:sub(1, 1):lower() ~= '${GATE_ANSWERS.pass}' then giveBack(id, holder, kind, places) end
  end
  out[#out + 1] = answer
end
for _, limit in pairs(limits) do if limit.changed then save(limit) end end
local text = table.concat(out, ' ')
redis.call('HSET', state, 'asked:' .. consumer, nonce .. ' ' .. text)
return {num(now), text}
`,
}

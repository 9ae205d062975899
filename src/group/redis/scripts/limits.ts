import { CLOCK_STEP_MS, LINE_IS_STALE_MS, LONGEST_TURN_MS } from '../../../core/gates.ts'

/** Places of concurrency limits, and turns of rate limits, each read once in a call. `line` is the time at which the last of those that wait asks again. Needs the locals now, ahead, most, num. */
export const LUA_LIMITS = `
local limits = {}
local function limitOf(key)
  local known = limits[key]
  if known then return known end
  known = {key = key, holders = {}, count = 0, numbers = {}}
  local flat, gone = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    local name, value = flat[i], tonumber(flat[i + 1]) or 0
    if name:sub(1, 1) ~= '@' then known.numbers[name] = value
    elseif value <= now then gone[#gone + 1] = name
    else known.holders[name], known.count, known.ends = true, known.count + 1, math.max(known.ends or 0, value) end
  end
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
  for _, name in ipairs({'line', 'back', 'used', 'free', 'late', 'peak', 'since', 'mark', 'waits', 'asked', 'woke'}) do known[name] = known.numbers[name] or 0 end
  if known.used > now + ${CLOCK_STEP_MS} then known.line, known.back, known.waits, known.asked = 0, 0, 0, 0 end
  known.avg, known.gap = known.numbers.avg, known.numbers.gap
  limits[key] = known
  return known
end
-- others wait in line, and get their turn
local function hasLine(limit)
  return math.max(limit.line, limit.back) > now and math.max(limit.used, limit.free) > now - ${LINE_IS_STALE_MS}
end
local function left(key, member, heldMs)
  local limit = limitOf(key)
  if not limit.holders['@' .. member] then return end
  limit.holders['@' .. member], limit.count = nil, limit.count - 1
  limit.avg = limit.avg and limit.avg * 0.8 + heldMs * 0.2 or heldMs
  redis.call('HDEL', key, '@' .. member)
  limit.changed = true
end
local function standInLine(limit, from, step)
  if limit.line <= now then limit.used = now end
  limit.line = math.max(limit.line, from) + step
  limit.changed = true
  return limit.line
end
-- what a rate limit is by now: another deployment may allow more or less, and handlers that start late are forgotten a window after the last
local function ruleOf(limit, rate)
  local gap = rate.per / rate.max
  if now - limit.since > rate.per + limit.late + ahead then limit.late, limit.peak, limit.since = limit.peak, 0, now end
  limit.peak = math.max(limit.peak, rate.late)
  rate.apart = (rate.per + math.max(limit.late, limit.peak) + rate.slack) / rate.max
  if limit.gap and math.abs(limit.gap - gap) > 0.001 then
    limit.free, limit.line, limit.back = limit.free - limit.gap + rate.apart, 0, 0
  end
  -- nobody is given a turn later than that: the server's clock was set back
  if limit.free > now + ahead + rate.slack + 2 * rate.apart then limit.free = now + rate.apart end
  limit.per, limit.gap = rate.per, gap
  if now - limit.asked > ${LINE_IS_STALE_MS} then limit.woke = now end
  -- turns that nobody took although somebody asked: who stood in line is gone
  if math.max(limit.woke, limit.free) < now - ${LINE_IS_STALE_MS} then limit.waits = 0 end
  limit.asked, limit.changed = now, true
  rate.from = math.max(now, limit.free - rate.slack)
end
-- an entry id as a number, by which those that come back stand in order
local function orderOf(id)
  local ms, seq = id:match('(%d+)%-(%d+)$')
  return (tonumber(ms or '') or 0) + math.min(tonumber(seq or '') or 0, 999) / 1000
end
-- others that came before it have their turn first
local function isBehind(limit, id, isKnown)
  if isKnown then return limit.back > now and hasLine(limit) and orderOf(id) > limit.mark end
  return limit.waits > 0 or hasLine(limit)
end
-- when it asks for its turn again
local function standForTurn(limit, rate, id, isKnown)
  local from = most < 1 and rate.from + rate.apart or rate.from
  local soon = math.max((limit.soon or 0) + rate.apart, from)
  -- who stood in line already, and is near its turn, keeps its place
  if isKnown and soon - now <= ahead and not isBehind(limit, id, true) then
    limit.soon = soon
    return soon
  end
  if limit.line <= now then limit.used = now end
  -- what comes back stands before what comes new
  local last = isKnown and limit.back or math.max(limit.line, limit.back)
  -- those whose turn passed while nobody asked come first, if they are still there
  if not isKnown and last <= now then last = now + math.min(limit.waits * rate.apart, ${LINE_IS_STALE_MS}) end
  local at = math.min(math.max(last > now and last + rate.apart or 0, from), now + ${LONGEST_TURN_MS})
  limit[isKnown and 'back' or 'line'], limit.changed = at, true
  if isKnown then limit.mark = math.max(limit.mark, orderOf(id))
  else limit.waits = limit.waits + 1 end
  return at
end
local function save(limit)
  local fields = {'line', 'used', unpack(limit.gap and {'back', 'free', 'late', 'peak', 'since', 'gap', 'mark', 'waits', 'asked', 'woke'} or {})}
  if limit.avg then fields[#fields + 1] = 'avg' end
  local flat = {}
  for _, name in ipairs(fields) do flat[#flat + 1], flat[#flat + 2] = name, num(limit[name]) end
  redis.call('HSET', limit.key, unpack(flat))
  local lasts = math.max(limit.line, limit.back, limit.free, limit.ends or 0) - now + math.max(limit.per or 0, ${LINE_IS_STALE_MS})
  -- who comes back after a time in which nobody ran finds who came before
  if limit.gap and limit.waits > 0 then lasts = lasts + ${LONGEST_TURN_MS} end
  redis.call('PEXPIRE', limit.key, ('%.0f'):format(math.ceil(lasts)))
end
`

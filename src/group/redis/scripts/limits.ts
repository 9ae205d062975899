import {
  CLOCK_STEP_MS,
  KEPT_TURN_MS,
  LINE_IS_STALE_MS,
  LONGEST_TURN_MS,
  RUNS_PER_QUEUE,
  STUCK_PLACE_MS,
} from '../../../core/gates.ts'

/**
 * Places of concurrency limits, and turns of rate limits, each read once in a call. `line` is the time at which the last of those that wait asks again. Needs the locals now, ahead, most, num.
 *
 * Who waits for a place asks again at its time in line; later, once no place was taken or given back for long (`moved`): the next may be as far away, however short calls were. All that wait so ask at the same times, multiples of a power of two.
 *
 * Who waits for a turn stands in the limit's queue, in the order of entry ids, whatever the order in which they ask: a number for each, or, far behind, the first and the last of some with
 * how many they are, and when it comes back. Others that stand before, and are due by then, have a turn first, unless they let it pass.
 */
export const LUA_LIMITS = `
local limits = {}
local function limitOf(key)
  local known = limits[key]
  if known then return known end
  known = {key = key, holders = {}, count = 0, numbers = {}}
  local flat, gone = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    local name, value = flat[i], tonumber(flat[i + 1]) or 0
    if name == 'queue' then known.runs = flat[i + 1]
    elseif name:sub(1, 1) ~= '@' then known.numbers[name] = value
    elseif value <= now then gone[#gone + 1] = name
    else known.holders[name], known.count, known.ends = true, known.count + 1, math.max(known.ends or 0, value) end
  end
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
  for _, name in ipairs({'line', 'used', 'free', 'late', 'peak', 'since', 'asked', 'woke'}) do known[name] = known.numbers[name] or 0 end
  if known.used > now + ${CLOCK_STEP_MS} then known.line, known.asked, known.runs = 0, 0, '' end
  known.queue, known.waiting = {}, 0
  for text in (known.runs or ''):gmatch('%S+') do
    local first, last, count, at, latest = text:match('^(%d+):(%d+):(%d+)@(%d+):(%d+)$')
    if not first then first, at = text:match('^(%d+)@(%d+)$') end
    first, count = tonumber(first or '') or 0, tonumber(count or '') or 1
    known.queue[#known.queue + 1] = {first = first, last = tonumber(last or '') or first, count = count, at = tonumber(at or '') or 0, latest = tonumber(latest or at or '') or 0}
    known.waiting = known.waiting + count
  end
  known.avg, known.gap, known.moved = known.numbers.avg, known.numbers.gap, known.numbers.moved
  limits[key] = known
  return known
end
-- others wait in line, and get their place
local function hasLine(limit)
  return limit.line > now and limit.used > now - ${LINE_IS_STALE_MS}
end
local function left(key, member, heldMs)
  local limit = limitOf(key)
  if not limit.holders['@' .. member] then return end
  limit.holders['@' .. member], limit.count = nil, limit.count - 1
  limit.avg, limit.moved = limit.avg and limit.avg * 0.8 + heldMs * 0.2 or heldMs, now
  redis.call('HDEL', key, '@' .. member)
  limit.changed = true
end
local function standInLine(limit, from, step)
  if limit.line <= now then limit.used = now end
  limit.line = math.max(limit.line, from) + step
  limit.changed = true
  if not limit.moved or limit.moved > now then limit.moved = now end
  local _, exponent = math.frexp((now - limit.moved) / 2)
  local wait = math.min(${STUCK_PLACE_MS}, 2 ^ (exponent - 1))
  if wait <= step then return limit.line end
  return math.ceil(math.max(limit.line, now + wait) / wait) * wait
end
-- what a rate limit is by now: another deployment may allow more or less, and handlers that start late are forgotten a window after the last
local function ruleOf(limit, rate)
  local gap = rate.per / rate.max
  if now - limit.since > rate.per + limit.late + ahead then limit.late, limit.peak, limit.since = limit.peak, 0, now end
  limit.peak = math.max(limit.peak, rate.late)
  rate.apart = (rate.per + math.max(limit.late, limit.peak) + rate.slack) / rate.max
  if limit.gap and math.abs(limit.gap - gap) > 0.001 then
    limit.free, limit.line = limit.free - limit.gap + rate.apart, 0
  end
  -- nobody is given a turn later than that: the server's clock was set back
  if limit.free > now + ahead + rate.slack + 2 * rate.apart then limit.free = now + rate.apart end
  limit.per, limit.gap = rate.per, gap
  if now - limit.asked > ${LINE_IS_STALE_MS} then limit.woke = now end
  limit.asked, limit.changed = now, true
  rate.from = math.max(now, limit.free - rate.slack)
end
-- an entry id as a number
local function orderOf(id)
  local ms, seq = id:match('(%d+)%-(%d+)$')
  return math.min(tonumber(ms or '') or 0, 9000000000000) * 1000 + math.min(tonumber(seq or '') or 0, 999)
end
-- how many stand before it, its place among them, and whether it stands there
local function standing(limit, id)
  local queue, order, before = limit.queue, orderOf(id), 0
  if #queue > 0 and order > queue[#queue].last then return limit.waiting, #queue + 1, false, order end
  for i, run in ipairs(queue) do
    if order <= run.last then return before, i, order >= run.first, order end
    before = before + run.count
  end
  return before, #queue + 1, false, order
end
-- of the neighbours that are far behind, those with the fewest entries
local function mergeTwo(queue)
  local best, fewest = 0, math.huge
  for i = ${RUNS_PER_QUEUE / 2}, #queue - 1 do
    local count = queue[i].count + queue[i + 1].count
    if count < fewest then best, fewest = i, count end
  end
  local one, other = queue[best], table.remove(queue, best + 1)
  one.last, one.count, one.at, one.latest = other.last, fewest, math.min(one.at, other.at), math.max(one.latest, other.latest)
end
local function join(limit, id, isKnown, comesAt)
  local _, at, isIn, order = standing(limit, id)
  local run = isIn and limit.queue[at]
  if run and (run.first == run.last or run.at < now) then run.at = comesAt end
  if run then run.latest = run.first == run.last and comesAt or math.max(run.latest, comesAt) end
  if run and isKnown then return end
  if run then run.count = run.count + 1
  else table.insert(limit.queue, at, {first = order, last = order, count = 1, at = comesAt, latest = comesAt}) end
  limit.waiting = limit.waiting + 1
  if #limit.queue > ${RUNS_PER_QUEUE} then mergeTwo(limit.queue) end
end
-- who has its turn, or waits for something else
local function leave(limit, id)
  local _, at, isIn = standing(limit, id)
  if not isIn then return end
  local run = limit.queue[at]
  run.count, limit.waiting, limit.changed = run.count - 1, limit.waiting - 1, true
  -- of several, the next comes back a turn later
  run.at = run.at + (limit.gap or 0)
  if run.count < 1 then table.remove(limit.queue, at) end
end
-- when the turns of so many have passed that nobody took: who stood there is gone
local function passedAt(rate) return math.max(rate.limit.woke, rate.limit.free) + math.min(rate.due * rate.apart, ${KEPT_TURN_MS}) end
-- others that came before it have their turn first
local function isBehind(rate, id)
  local place, isIn
  rate.before, place, isIn = standing(rate.limit, id)
  rate.due, rate.run = 0, isIn and rate.limit.queue[place] or nil
  for i = 1, place - 1 do
    local run = rate.limit.queue[i]
    if run.at <= rate.from + rate.apart / 2 then rate.due = rate.due + run.count end
  end
  return rate.due > 0 and now < passedAt(rate)
end
-- when it asks for its turn again
local function comesAt(rate)
  local at = rate.from + math.max(rate.before, most < 1 and 1 or 0) * rate.apart
  if rate.isBehind and rate.due > 0 and rate.from <= now then at = math.max(now, passedAt(rate)) end
  -- of those that are taken together, each comes after the one that asked before
  local run = rate.run
  if run and run.first ~= run.last and run.latest > now then at = math.max(at, run.latest + rate.apart) end
  return math.min(math.max(at, (rate.limit.soon or 0) + rate.apart), now + ${LONGEST_TURN_MS})
end
local function standForTurn(rate, at, id, isKnown)
  local limit = rate.limit
  -- what there is no room for keeps nobody waiting, as long as it asks
  join(limit, id, isKnown, (most > 0 or rate.isBehind) and at or at + ${LINE_IS_STALE_MS})
  limit.soon, limit.line, limit.changed = at, math.max(limit.line, at), true
end
local function takeTurn(rate, turn, id, isKnown)
  local limit = rate.limit
  limit.free, limit.used, limit.changed = math.max(limit.free, turn) + rate.apart, now, true
  -- whose turn has passed: where it is still there, it comes back before the others
  if isKnown then leave(limit, id) end
  if rate.due < 1 then return end
  local _, place = standing(limit, id)
  for i = place - 1, 1, -1 do
    local run = limit.queue[i]
    if run.at <= rate.from + rate.apart / 2 then limit.waiting = limit.waiting - table.remove(limit.queue, i).count end
  end
end
local function save(limit)
  local fields = {'line', 'used', unpack(limit.gap and {'free', 'late', 'peak', 'since', 'gap', 'asked', 'woke'} or {})}
  for _, name in ipairs({'avg', 'moved'}) do if limit[name] then fields[#fields + 1] = name end end
  local flat = {}
  for _, name in ipairs(fields) do flat[#flat + 1], flat[#flat + 2] = name, num(limit[name]) end
  if limit.gap then
    local runs = {}
    for i, run in ipairs(limit.queue) do
      if run.first == run.last and run.count == 1 then runs[i] = ('%.0f@%.0f'):format(run.first, run.at)
      else runs[i] = ('%.0f:%.0f:%.0f@%.0f:%.0f'):format(run.first, run.last, run.count, run.at, run.latest) end
    end
    flat[#flat + 1], flat[#flat + 2] = 'queue', table.concat(runs, ' ')
  end
  redis.call('HSET', limit.key, unpack(flat))
  local lasts = math.max(limit.line, limit.free, limit.ends or 0) - now + math.max(limit.per or 0, ${LINE_IS_STALE_MS})
  -- who comes back after a time in which nobody ran finds who came before
  if #limit.queue > 0 then lasts = lasts + ${LONGEST_TURN_MS} end
  redis.call('PEXPIRE', limit.key, ('%.0f'):format(math.ceil(lasts)))
end
`

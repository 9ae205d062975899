import { COUNTS, RUNNING } from '../../../core/due-score.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../../core/keys.ts'

/** `running(count)` is the place of what was taken. */
export const LUA_TAKEN_SCORE = `
local RUNNING = ${RUNNING}
local function num(n) return ('%.0f'):format(n) end
local function running(count) return num(RUNNING + math.min(count, ${COUNTS - 1})) end
`

/** `sortable(id)` is a text that sorts as the id does. */
export const LUA_SORTABLE_ID = `local function sortable(id)
  local ms, seq = id:match('^(%d+)%-(%d+)$')
  return string.char(64 + #ms) .. ms .. string.char(64 + #seq) .. seq
end
`

/**
 * What is set aside comes back by an index only. `score(ms, count)` is a place in the sorted set of due times, `countOf(score)` the count in it,
 * `member(condition, id, count)` a place in the set of those that wait for a condition: a condition is one range there, in the order of ids.
 *
 * `aside(id, count, key, score, member)` hands an entry to `parked` and writes its place; false if it is gone. XCLAIM comes first: it works with memory full, and what
 * follows a write is not refused. What an index refuses otherwise, as a key of another type, is handed to `aging`, and comes back by its age.
 *
 * Needs GONE, BESIDE and the locals stream, group, due.
 */
export const LUA_SET_ASIDE = `
${LUA_TAKEN_SCORE}
local function score(ms, count) return num(ms * ${COUNTS} + math.min(count, ${COUNTS - 1})) end
-- anybody may have written the score: what has no count has none
local function countOf(text)
  local score = tonumber(text) or 0
  if score >= RUNNING and score < RUNNING + ${COUNTS} then return score - RUNNING end
  return score >= 0 and score < RUNNING and math.floor(score) % ${COUNTS} or 0
end
${LUA_SORTABLE_ID}
-- what the server would take for another spelling of an id is none: it would be dealt with twice
local function isId(text)
  return text and text:match('^%d+%-%d+$') and not text:match('^0%d') and not text:match('%-0%d') and idOr(text, nil) ~= nil
end
local function member(condition, id, count) return condition .. '\\n' .. sortable(id) .. ':' .. num(count) end
local function parts(text)
  local condition, ms, seq, count = text:match('^(.-)\\n[A-T](%d+)[A-T](%d+):(%d+)$')
  return condition, ms and ms .. '-' .. seq, tonumber(count)
end
local function hand(owner, id, count)
  return not gone(id) and redis.call('XCLAIM', stream, group, owner, 0, id, 'IDLE', 0, 'RETRYCOUNT', num(count), 'JUSTID')[1]
end
local function refuses(...)
  local reply = redis.pcall(...)
  return type(reply) == 'table' and reply.err
end
local function aside(id, count, key, score, member)
  if not hand('${PARKED_CONSUMER}', id, count) then return false end
  local isRefused = refuses('ZADD', key, score, member)
  if key ~= due or isRefused then redis.pcall('ZREM', due, id) end
  if isRefused then hand('${AGING_CONSUMER}', id, count) end
  return true
end
`

/** Conditions that one answer names, at most. */
const NAMED = 100

/**
 * `conditionsFrom(from, to, found, most)` adds the conditions of a range that something waits for, in order, until there are so many; what is no place in the set is removed.
 * `conditions()` names up to a hundred, from where the last run stopped, and from the start again: with more of them, each run has others in view. `moveOn()` says where the next run begins: by chance,
 * since runs that take turns, as of two deployments, would each have the same in view for ever. Needs ASIDE and the locals waiting, state; `moveOn` the local now, too.
 */
export const LUA_WAITING_CONDITIONS = `
local function conditionsFrom(from, to, found, most)
  local looks = most + ${10 * NAMED}
  while #found < most and looks > 0 do
    looks = looks - 1
    local first = beside('ZRANGEBYLEX', waiting, from, to, 'LIMIT', 0, 1)
    if not first or not first[1] then return found end
    local condition = parts(first[1])
    if condition then found[#found + 1], from = condition, '[' .. condition .. '\\11'
    else beside('ZREM', waiting, first[1]) end
  end
  return found
end
local function conditions()
  local found = conditionsFrom('-', '+', {}, ${NAMED})
  local last = #found == ${NAMED} and beside('HGET', state, 'conditions')
  if not last then return found end
  local place = '[' .. last .. '\\11'
  found = conditionsFrom(place, '+', {}, ${NAMED})
  return conditionsFrom('-', '(' .. last .. '\\11', found, ${NAMED})
end
local function moveOn()
  local there = conditions()
  if #there == ${NAMED} then refuses('HSET', state, 'conditions', there[1 + now % ${NAMED}]) end
end
`

/** `nextDue()` is in how many milliseconds the earliest of the index is due; '' where there is none. Needs ASIDE and the local now. */
export const LUA_NEXT_DUE_MS = `
local function nextDue()
  local first = beside('ZRANGEBYSCORE', due, '-inf', '(' .. num(RUNNING), 'WITHSCORES', 'LIMIT', 0, 1)
  return first and first[2] and num(math.max(0, math.floor(first[2] / ${COUNTS}) - now)) or ''
end
`

/** `dueBy(ms)` is the highest score of what is due by then. Needs ASIDE. */
export const LUA_HIGHEST_DUE_SCORE = `
local function dueBy(ms) return num(ms * ${COUNTS} + ${COUNTS - 1}) end
`

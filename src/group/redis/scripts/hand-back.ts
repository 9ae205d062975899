import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Entries that a poller may have under its name: those of two of the largest reads, and some more. */
const MOST = 30_000

/**
 * `doubtOf(consumer)` gives the time, in ms since 1970, at which a poller of that name gave its slot back though a read of its was not answered;
 * what is read under the name after that, until somebody takes it again, is nobody's. Needs the local state.
 */
export const LUA_READ_DOUBT_TIME = `
local function doubtOf(consumer)
  local since = redis.pcall('HGET', state, 'doubt:' .. consumer)
  -- anybody may have written it: what is no time is absent
  return type(since) == 'string' and since:match('^%d+$') and #since < 16 and tonumber(since)
end
`

/**
 * `noted(field)` is what a script noted in the state for this holder of the name: what another holder's did is absent. `note(field, text)` notes it. HDEL comes first:
 * it works with memory full, and what follows a write is not refused. Needs the locals state, consumer, token.
 */
export const LUA_HOLDER_NOTES = `
local function noted(field)
  local text = redis.pcall('HGET', state, field .. ':' .. consumer)
  return type(text) == 'string' and text:sub(1, #token + 1) == token .. ' ' and text:sub(#token + 2)
end
local function note(field, text)
  redis.pcall('HDEL', state, field .. ':' .. consumer)
  redis.pcall('HSET', state, field .. ':' .. consumer, token .. ' ' .. text)
end
`

/**
 * `noteBefore()` notes the highest id that is pending under the name as its holder takes it: a read under the new lease brings none up to it. Times cannot show that: the former
 * holder may have read, or renewed, an entry in the millisecond in which the slot is taken. Needs NOTES and the locals stream, group, consumer.
 */
export const LUA_NOTE_BEFORE = `
local function noteBefore()
  local from, last = '-', nil
  repeat
    local rows = redis.pcall('XPENDING', stream, group, from, '+', 10000, consumer)
    if #rows > 0 then
      last = rows[#rows][1]
      from = '(' .. last
    end
  until #rows < 10000
  if last then note('before', last) end
end
`

/**
 * `handBack(from, to, first)` releases what was read under our lease and never reached us, because no reply came: the entries of our name between
 * two ids with one delivery that were not there when we took the name and are no more idle than the lease is old, but for the ids of `ARGV` from `first` on. Older ones are
 * a dead process's, and suspects. They wait for the min-idle time, in case the lease was lost once and another runs them under our name.
 *
 * Needs the locals stream, lease, due, state, group, consumer, token, length, idle.
 */
export const LUA_RELEASE_UNRECEIVED = `
${LUA_HOLDER_NOTES}
${LUA_IS_TRIMMED}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
local function handBack(from, to, first)
  -- where it is an error, as in a lost group, it has no entries. Before PTTL: up to 7.0 each reads the clock, so that what was read in the first
  -- moment of the lease would seem older than it
  local pending = redis.pcall('XPENDING', stream, group, from, to, ${MOST}, consumer)
  if #pending == 0 then return end
  ${LUA_NOW_MS}
  local known, age, last = {}, length - redis.call('PTTL', lease), idOr(noted('before') or '', nil)
  for i = first, #ARGV do known[ARGV[i]] = true end
  for _, p in ipairs(pending) do
    local isOlder = last and sortable(p[1]) <= sortable(last)
    if p[4] == 1 and p[3] <= age and not isOlder and not known[p[1]] then
      aside(p[1], 0, due, score(now + idle, 0), p[1])
    end
  end
end
`

/**
 * Releases what never reached a poller whose read was not answered, while it goes on holding its slot. It is carried out once for its number, and not after a higher one: what comes
 * late does not know what was read since.
 *
 * KEYS stream, lease, due, state. ARGV group, consumer, token, the lease's length in ms, min-idle ms, the number, the first and the last id of a range, then
 * its ids that did reach it. Answers 1 if the lease is still ours.
 */
export const releaseUnreceivedScript: LuaScript = {
  keyCount: 4,
  lua: `
local stream, lease, due, state = unpack(KEYS)
local group, consumer, token, length, idle, number, from, to = unpack(ARGV, 1, 8)
${LUA_RELEASE_UNRECEIVED}
if redis.pcall('GET', lease) ~= token then return 0 end
local last = noted('handedBack')
if last and tonumber(last) and tonumber(number) <= tonumber(last) then return 1 end
handBack(from, to, 9)
note('handedBack', number)
return 1
`,
}

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
 * `handBack(from, to, first)` releases what was read under our lease and never reached us, because no reply came: the entries of our name between
 * two ids with one delivery that are no more idle than the lease is old, but for the ids of `ARGV` from `first` on. Older ones are a dead process's, and suspects.
 * They wait for the min-idle time, in case the lease was lost once and another runs them under our name.
 *
 * Needs the locals stream, lease, due, group, consumer, length, idle.
 */
export const LUA_RELEASE_UNRECEIVED = `
${LUA_IS_TRIMMED}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
local function handBack(from, to, first)
  -- where it is an error, as in a lost group, it has no entries. Before PTTL: up to 7.0 each reads the clock, so that what was read in the first
  -- moment of the lease would seem older than it
  local pending = redis.pcall('XPENDING', stream, group, from, to, ${MOST}, consumer)
  if #pending == 0 then return end
  ${LUA_NOW_MS}
  local known, age = {}, length - redis.call('PTTL', lease)
  for i = first, #ARGV do known[ARGV[i]] = true end
  for _, p in ipairs(pending) do
    if p[4] == 1 and p[3] <= age and not known[p[1]] then
      aside(p[1], 0, due, score(now + idle, 0), p[1])
    end
  end
end
`

/**
 * Releases what never reached a poller whose read was not answered, while it goes on holding its slot.
 *
 * KEYS stream, lease, due. ARGV group, consumer, token, the lease's length in ms, min-idle ms, the first and the last id of a range, then
 * its ids that did reach it. Answers 1 if the lease is still ours.
 */
export const releaseUnreceivedScript: LuaScript = {
  keyCount: 3,
  lua: `
local stream, lease, due = unpack(KEYS)
local group, consumer, token, length, idle, from, to = unpack(ARGV, 1, 7)
${LUA_RELEASE_UNRECEIVED}
if redis.pcall('GET', lease) ~= token then return 0 end
handBack(from, to, 8)
return 1
`,
}

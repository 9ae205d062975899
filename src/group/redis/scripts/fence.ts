import { MAX_DELIVERY_COUNT } from '../../../core/delivery-count.ts'

/** Entries that are looked up by one command; what is beyond them is looked up by itself. */
const LOOKUP = 1_000

/**
 * The fence of every script that changes an entry: `leased()` says whether the slot is still ours (a slot without a lease has the token
 * `''`), `mine(id, count)` whether the entry is still pending under our name with the count we were given. A poller that was frozen, and
 * whose entry went to another under the same name, fails one of them. `saturated(count)` is a count as `clampDeliveryCount` has it.
 *
 * Needs the locals stream, lease, group, consumer, token.
 */
export const LUA_FENCE = `
local function leased() return token == '' or redis.pcall('GET', lease) == token end
local function saturated(count) return (count < 0 or count > ${MAX_DELIVERY_COUNT}) and ${MAX_DELIVERY_COUNT} or count end
local function count(id)
  local p = redis.call('XPENDING', stream, group, id, id, 1, consumer)[1]
  return p and saturated(p[4])
end
local function mine(id, expected) return count(id) == tonumber(expected) end
`

/** `held(first, last)` looks up all that is ours between two ids: it gives a function from an id to its count. Needs FENCE. */
export const LUA_HELD_ENTRIES = `
local function held(first, last)
  local rows, counts = redis.call('XPENDING', stream, group, first, last, ${LOOKUP}, consumer), {}
  for _, p in ipairs(rows) do counts[p[1]] = saturated(p[4]) end
  return function(id) return counts[id] or #rows == ${LOOKUP} and count(id) end
end
`

/**
 * `trimmed(id)` says whether a pending entry is no longer in the stream, `gone(id)` the same where no command does: before 7.0, XCLAIM and
 * XAUTOCLAIM with JUSTID claim it as if it were there, and it stays pending. Servers before 7.0 give Lua no version. Needs the local stream.
 */
export const LUA_IS_TRIMMED = `
local function trimmed(id) return #redis.call('XRANGE', stream, id, id) == 0 end
local function gone(id) return not redis.REDIS_VERSION and trimmed(id) end
`

/**
 * Reads what lies beside a group, which anybody may have written to. `beside(command, …)` answers false where a key is of another type,
 * `idOr(text, other)` the other where a text is no id, `msOr(text, other)` where it is no time in milliseconds: what is unreadable is absent.
 */
export const LUA_READ_KEYS_BESIDE_GROUP = `
local function beside(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if not reply.err:find('WRONGTYPE', 1, true) then error(reply.err, 0) end
  return false
end
local function fits(digits) return #digits < 20 or #digits == 20 and digits <= '18446744073709551615' end
local function idOr(text, other)
  local ms, seq = (text or ''):match('^(%d+)%-(%d+)$')
  if not ms then ms, seq = (text or ''):match('^%d+$'), '0' end
  return ms and fits(ms) and fits(seq) and text or other
end
local function msOr(text, other) return (text or ''):match('^%d+$') and #text < 16 and tonumber(text) or other end
`

/**
 * `drop(key)` removes a text of ours, and says whether it was there. Not DEL, so that whoever may do it can put an end to no stream. What is of
 * another type goes only where DEL is allowed as well.
 */
export const LUA_DELETE_TEXT_KEY = `
local function drop(key)
  local was = redis.pcall('GETDEL', key)
  if type(was) == 'table' then return redis.pcall('DEL', key) == 1 end
  return was and true
end
`

/** The last id there can be: nothing comes after it, and the server refuses to be asked what does. */
export const HIGHEST_ENTRY_ID = '18446744073709551615-18446744073709551615'

/** Milliseconds since 1970 on the server's clock, as the local now. */
export const LUA_NOW_MS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** `before(id)` is the last id below it, found digit by digit, since Lua's numbers are doubles; `0-0` has none and stays. */
export const LUA_ID_BEFORE = `
local function minusOne(digits)
  local zeros = digits:match('0*$')
  local head = digits:sub(1, #digits - #zeros)
  local lower = head:sub(1, -2) .. string.char(head:byte(-1) - 1) .. ('9'):rep(#zeros)
  return (lower:gsub('^0+(%d)', '%1'))
end
local function before(id)
  local ms, seq = id:match('^(%d+)%-(%d+)$')
  if seq ~= '0' then return ms .. '-' .. minusOne(seq) end
  if ms ~= '0' then return minusOne(ms) .. '-18446744073709551615' end
  return id
end
`

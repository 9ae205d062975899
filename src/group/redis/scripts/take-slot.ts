import { MAX_DELAY_MS } from '../../../core/backoff.ts'
import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_DELETE_TEXT_KEY, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { LUA_HOLDER_NOTES, LUA_NOTE_BEFORE, LUA_READ_DOUBT_TIME } from './hand-back.ts'
import { PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/** What `takeSlot` answers where no lease can be written. */
export const NO_LEASE_WRITTEN = -2

/** An invocation's time is capped, and its lease outlives it by seconds. */
const MAX_LEASE_MS = MAX_DELAY_MS + 60_000

/**
 * Takes the lowest free lease. Sent twice after a lost reply, it answers the same slot. A poller takes back the flag of publishers first:
 * it reads after that, so that what is published from now on may wake another. What a read in doubt brought after its poller was gone is
 * released before the name has a holder again, who could not know it from his own; what is under the name still is noted. A key that never ends, or later than a lease may, is none, whoever wrote it.
 *
 * Not SET, which would put a lease in the place of a stream. A lease that can be given no end is taken back.
 *
 * A poller of a group that is paused leaves the flag: publishers need not wake others.
 *
 * KEYS the flag, stream, due, state, paused, then a lease per slot, lowest first, then the dead letters if they lie in another hash slot, then where somebody asks the time at which the next delayed event is due. ARGV token, milliseconds, 1 for a poller, group, then a consumer name per slot.
 * Answers the slot's number from 0, -1 if none is free, or -2 when the server refuses to write a lease: its memory is full, in whatever words; where something
 * is paused, or delayed, an array of that, the text ('' nothing is paused), the server's time, and when the next delayed event is due ('' none).
 */
export const takeSlotScript: LuaScript = {
  keyCount: undefined,
  lua: `
local token, length, poller, group = unpack(ARGV, 1, 4)
local flag, stream, due, state = unpack(KEYS, 1, 4)
${LUA_READ_DOUBT_TIME}
${LUA_DELETE_TEXT_KEY}
local function release(consumer)
  local since = doubtOf(consumer)
  if not since then return end
  ${LUA_IS_TRIMMED}
  ${LUA_NOW_MS}
  ${LUA_READ_KEYS_BESIDE_GROUP}
  ${LUA_SET_ASIDE}
  for _, p in ipairs(redis.pcall('XPENDING', stream, group, '-', '+', 10000, consumer)) do
    if p[4] == 1 and now - p[3] > since then
      aside(p[1], 0, due, score(now, 0), p[1])
    end
  end
  redis.call('HDEL', state, 'doubt:' .. consumer)
end
local function noteWhatIsUnder(consumer)
  ${LUA_HOLDER_NOTES}
  ${LUA_NOTE_BEFORE}
  noteBefore()
end
${PAUSES}
local function refusal(reply) return type(reply) == 'table' and reply.err and reply end
local holders = redis.call('MGET', unpack(KEYS, 5))
local text, now = table.remove(holders, 1), nil
local delayed = #KEYS - 5 > #ARGV - 4 and table.remove(holders)
holders[#ARGV - 3] = nil
if text or delayed then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function answer(n) return now and {n, text or '', ('%.0f'):format(now), delayed or ''} or n end
for i, holder in ipairs(holders) do if holder == token then return answer(i - 1) end end
for i, holder in ipairs(holders) do
  local key = KEYS[i + 5]
  local set = holder and 0 or redis.pcall('SETNX', key, token)
  local left = set == 0 and redis.pcall('PTTL', key) or 0
  if (left == -1 or left > math.max(length, ${MAX_LEASE_MS})) and drop(key) then set = redis.pcall('SETNX', key, token) end
  local refused = refusal(set)
  if set == 1 then
    refused = refusal(redis.pcall('GETEX', key, 'PX', length))
    if refused then drop(key) end
  end
  -- before 6.2 there is no GETEX, and nothing else would work either
  if refused then return refused.err:lower():find('unknown', 1, true) and refused or answer(${NO_LEASE_WRITTEN}) end
  if set == 1 then
    if poller == '1' then
      if not (text and isIn(pausesIn(text)['*'], now)) then drop(flag) end
      release(ARGV[i + 4])
      noteWhatIsUnder(ARGV[i + 4])
    end
    return answer(i - 1)
  end
end
return answer(-1)
`,
}

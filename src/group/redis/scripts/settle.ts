import { PARKED } from '../../../core/keys.ts'
import { BESIDE, FENCE, GONE, NOW } from './fence.ts'
import type { Script } from './script.ts'

/** What the script answers for an entry; a text in its place is the server's refusal. */
export const SETTLED = { done: 1, superseded: 0, leaseLost: 2, lost: 3 } as const

/** Field pairs that one XADD can take from Lua (its stack ends near 8,000 values); an entry with more is written packed. */
export const MAX_PAIRS = 3_900

/**
 * Field pairs that every server takes so. What has more is written packed where the server refuses it: ElastiCache Serverless takes 3,999 arguments per
 * command, and where Lua is GopherLua, as at Upstash, a call has room for some five thousand values in all.
 */
const SURE_PAIRS = 1_000

/**
 * Gives entries their outcomes, each behind the fence. An ack is no business of this script.
 *
 * A move hands the entry to an owner with an idle time and a count; a delay, where there is one, keeps it from being retried before it is
 * over. A dead letter is added before the entry is acknowledged: nothing can fail between the two, and where the add is refused nothing
 * has happened. The refused entry is parked, so that it does not pass for one whose process died.
 *
 * KEYS stream, lease, due, and the dead letters if there are any to write.
 * ARGV group, consumer, token, dead letters kept (or ''), then for each entry
 *   'move', id, count, owner, idle ms, new count, delay ms (or ''); 'back' is the same where it may have one delivery more
 *   'dead', id, count, number of head values, the head's names and values
 * Answers the number of dead letters trimmed away, then for each entry a number of SETTLED or the refusal's text.
 */
export const settle: Script = {
  keyCount: undefined,
  lua: `
local stream, lease, due, letters = unpack(KEYS, 1, 4)
local group, consumer, token, keep = unpack(ARGV, 1, 4)
${FENCE}
${GONE}
${NOW}
${BESIDE}
local ours, dropped, out = leased(), 0, {}

local function ack(id, status)
  redis.call('XACK', stream, group, id)
  beside('ZREM', due, id)
  return status
end

local function move(id, owner, idle, count, delay)
  if gone(id) or not redis.call('XCLAIM', stream, group, owner, 0, id, 'IDLE', idle, 'RETRYCOUNT', count, 'JUSTID')[1] then return ack(id, ${SETTLED.lost}) end
  -- without memory for the due time the entry comes back once it is idle, sooner than asked
  if delay ~= '' then redis.pcall('ZADD', due, ('%.0f'):format(now + delay), id) else beside('ZREM', due, id) end
  return ${SETTLED.done}
end

local function pack(fields)
  local parts = {}
  for _, value in ipairs(fields) do parts[#parts + 1] = #value .. ':' .. value end
  return table.concat(parts)
end

-- adds a letter of that head; the server's refusal, or Lua's, is an error in place of its id
local function write(first, last, count, fields)
  local add = {'XADD', letters, '*'}
  for i = first, last do add[#add + 1] = ARGV[i] end
  add[#add + 1] = 'fieldCount'
  add[#add + 1] = ('%d'):format(count) -- where Lua is 5.4, tostring says 5.0
  for i = 1, #fields do add[#add + 1] = fields[i] end
  local ok, added = pcall(function() return redis.pcall(unpack(add)) end)
  return ok and added or redis.error_reply('ERR ' .. tostring(added))
end

local function setAside(id, count, first, last)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return ack(id, ${SETTLED.lost}) end
  local fields, added = entry[2], nil
  if #fields <= ${2 * MAX_PAIRS} then added = write(first, last, #fields / 2, fields) end
  if not added or added.err and #fields > ${2 * SURE_PAIRS} then added = write(first, last, #fields / 2, {'packed', pack(fields)}) end
  if added.err then
    redis.call('XCLAIM', stream, group, '${PARKED}', 0, id, 'IDLE', 0, 'RETRYCOUNT', count, 'JUSTID')
    return added.err
  end
  ack(id)
  if keep ~= '' then dropped = dropped + redis.call('XTRIM', letters, 'MAXLEN', '=', keep) end
  return ${SETTLED.done}
end

local at = 5
while at <= #ARGV do
  local op, id, count = unpack(ARGV, at, at + 2)
  local result
  if not ours then result = ${SETTLED.leaseLost}
  elseif not (mine(id, count) or op == 'back' and mine(id, count + 1)) then result = ${SETTLED.superseded} end
  if op ~= 'dead' then
    result = result or move(id, unpack(ARGV, at + 3, at + 6))
    at = at + 7
  else
    local first = at + 4
    local last = first + ARGV[at + 3] - 1
    result = result or setAside(id, count, first, last)
    at = last + 1
  end
  out[#out + 1] = result
end
table.insert(out, 1, dropped)
return out
`,
}

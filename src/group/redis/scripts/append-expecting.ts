import { MAX_AGGREGATE_FIELDS } from '../../aggregates.ts'
import { LUA_DENIED, LUA_TRIED } from './delays.ts'
import type { LuaScript } from './script.ts'

/** Whether entries were added, or an aggregate was at another version. */
export const EXPECTING_ANSWERS = { conflict: 0, added: 1 } as const

/** Places of events that are gone from the stream, which one call takes off an aggregate's versions. */
const MAX_FORGOTTEN = 100

/**
 * Appends entries in one step, all or none, if each aggregate is at the version that its first one expects; the versions of what an aggregate gets follow each other. Where all stand at their versions already, by their
 * events' ids, that is the answer: so a call that is sent again answers the same, for as long as they are in the stream. What may be refused is asked for before the first entry is added.
 *
 * The versions of an aggregate are a sorted set of its events' entry ids. It keeps the newest one for ever, and loses those whose events were trimmed, some at each call.
 *
 * KEYS stream, then the versions of each aggregate. ARGV the number of entries; how many arguments of XADD follow, those between its key and the fields; these; then of each entry: which
 * aggregate, from 1; the version it expects; which of its fields is the event's id, from 1; the number of its fields; their names and values.
 * Answers a number of EXPECTING_ANSWERS, and the entries' ids; or which entry met another version, from 1, and that version.
 */
export const appendExpectingScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream = KEYS[1]
${LUA_DENIED}
${LUA_TRIED}
local entries, at = {}, 3 + tonumber(ARGV[2])
for n = 1, tonumber(ARGV[1]) do
  local fields = tonumber(ARGV[at + 3])
  if fields > ${MAX_AGGREGATE_FIELDS} then return redis.error_reply('ERR an entry must have at most ${MAX_AGGREGATE_FIELDS} fields') end
  local from = at + 4
  entries[n] = {
    versions = KEYS[1 + ARGV[at]], expected = tonumber(ARGV[at + 1]), from = from, to = from + 2 * fields - 1,
    id = from + 2 * (tonumber(ARGV[at + 2]) - 1),
  }
  at = from + 2 * fields
end

local writes, trials, versions = {{'XADD', stream, '*', 'a', ''}}, {}, {}
for n = 2, #KEYS do
  local newest = redis.pcall('ZREVRANGE', KEYS[n], 0, 0, 'WITHSCORES')
  if newest.err then return redis.error_reply(newest.err) end
  versions[KEYS[n]] = tonumber(newest[2] or 0)
  writes[#writes + 1] = {'ZADD', KEYS[n], 0, ''}
  writes[#writes + 1] = {'ZREMRANGEBYRANK', KEYS[n], 1, 0}
  trials[#trials + 1] = {'ZADD', KEYS[n], 'XX', 0, ''}
  trials[#trials + 1] = {'ZREMRANGEBYRANK', KEYS[n], 1, 0}
end

-- where an event of that id stands at the version that would be its own
local function placeOf(entry)
  local id = redis.call('ZRANGEBYSCORE', entry.versions, entry.expected + 1, entry.expected + 1)[1]
  local found = id and redis.pcall('XRANGE', stream, id, id) or {}
  local fields = found[1] and found[1][2] or {}
  for n = 1, #fields, 2 do
    if fields[n] == ARGV[entry.id] and fields[n + 1] == ARGV[entry.id + 1] then return id end
  end
end

local expected = {}
for n, entry in ipairs(entries) do
  local version = expected[entry.versions] or versions[entry.versions]
  if version ~= entry.expected then
    local places = {${EXPECTING_ANSWERS.added}}
    for _, each in ipairs(entries) do
      local place = placeOf(each)
      if not place then return {${EXPECTING_ANSWERS.conflict}, n, ('%.0f'):format(version)} end
      places[#places + 1] = place
    end
    return places
  end
  expected[entry.versions] = version + 1
end

-- places of what was trimmed before
local function isBefore(id, other)
  local ms, seq = id:match('^(%d+)%-(%d+)$')
  local otherMs, otherSeq = other:match('^(%d+)%-(%d+)$')
  if not ms then return true end
  if ms == otherMs then ms, otherMs = seq, otherSeq end
  if #ms ~= #otherMs then return #ms < #otherMs end
  return ms < otherMs
end
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
-- where ids end, the first one could be added, and not the others
if #entries > 1 and redis.call('XRANGE', stream, '18446744073709551615-0', '+', 'COUNT', 1)[1] then
  return redis.error_reply('ERR the ids of the stream are used up')
end
local gone = {}
for n = 2, #KEYS do
  gone[n] = 0
  local first = redis.call('ZRANGE', KEYS[n], 0, 0)[1]
  if first and oldest and isBefore(first, oldest[1]) then
    local ids = redis.call('ZRANGE', KEYS[n], 0, ${MAX_FORGOTTEN - 1})
    while ids[gone[n] + 1] and isBefore(ids[gone[n] + 1], oldest[1]) do gone[n] = gone[n] + 1 end
  end
end

local without = denied(writes) or tried({{'XADD', stream, '?', 'a', ''}}, 'stream ID') or tried(trials)
if without then return redis.error_reply(without) end

local added = {${EXPECTING_ANSWERS.added}}
for _, entry in ipairs(entries) do
  local arguments = {}
  for n = 3, 2 + tonumber(ARGV[2]) do arguments[#arguments + 1] = ARGV[n] end
  for n = entry.from, entry.to do arguments[#arguments + 1] = ARGV[n] end
  -- memory is asked for by the first one, and the stream's type
  local id = redis.pcall('XADD', stream, unpack(arguments))
  if type(id) == 'table' then return redis.error_reply(id.err) end
  redis.call('ZADD', entry.versions, ('%.0f'):format(entry.expected + 1), id)
  added[#added + 1] = id
end
for n = 2, #KEYS do
  if gone[n] > 0 then redis.call('ZREMRANGEBYRANK', KEYS[n], 0, gone[n] - 1) end
end
return added
`,
}

import { LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** What the script answers. */
export const CREATE_GROUP_SCRIPT_ANSWERS = { existed: 0, created: 1, recreated: 2 } as const

/**
 * Makes a group. One that lived before starts at its mark, or at 0 if there is none or it is above the stream's last id, which then has
 * been emptied; one that never was starts where the caller says. Ids are compared as decimal strings of one length, since Lua's numbers are doubles.
 *
 * Streams `orders` and `{orders}` would share their keys, so the first one keeps them and the other is refused.
 *
 * What was set aside below the mark is made pending again by pages of `heal`, and what was above it is forgotten there, since it is read again.
 *
 * KEYS stream, state. ARGV group, where a new group starts, 1 if this group is known to have lived.
 * Answers a number of CREATED.
 */
export const createGroupScript: LuaScript = {
  keyCount: 2,
  lua: `
local stream, state = unpack(KEYS)
local group, from, known = unpack(ARGV)

${LUA_READ_KEYS_BESIDE_GROUP}
local function padded(digits) return ('0'):rep(20 - #digits) .. digits end
local function sortable(id)
  local ms, seq = id:match('^(%d+)%-?(%d*)$')
  return padded(ms) .. padded(seq)
end

local owner = beside('HGET', state, 'stream')
local function bare(name) return (name:gsub('[{}]', '')) end
-- only the other of the two can have written it; anything else is garbage
if owner and owner ~= stream and bare(owner) == bare(stream) then return redis.error_reply('ERR the keys of this group belong to stream ' .. owner) end

local last = '0-0'
local info = redis.pcall('XINFO', 'STREAM', stream) -- an error, which has no entries, where there is no stream
for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end

-- where there is something beside it a group has lived, also if it cannot be read: what may have lived skips nothing
local kept = idOr(beside('HGET', state, 'mark'), nil)
local lived = known == '1' or redis.call('EXISTS', state) == 1
if lived then from = kept and sortable(last) >= sortable(kept) and kept or '0' end
local made = redis.pcall('XGROUP', 'CREATE', stream, group, from, 'MKSTREAM')
if made.err then
  if made.err:find('BUSYGROUP', 1, true) then return ${CREATE_GROUP_SCRIPT_ANSWERS.existed} end
  return made
end
local mark = from == '$' and last or from:find('-', 1, true) and from or from .. '-0'
redis.pcall('HSET', state, 'stream', stream, 'mark', mark)
if lived then redis.pcall('HSET', state, 'healing', mark, 'healDue', '0', 'healWaiting', '') end
beside('HDEL', state, 'cursor')
return lived and ${CREATE_GROUP_SCRIPT_ANSWERS.recreated} or ${CREATE_GROUP_SCRIPT_ANSWERS.created}
`,
}

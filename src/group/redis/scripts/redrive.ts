import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_SET_ASIDE } from './aside.ts'
import { HIGHEST_ENTRY_ID, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Field pairs that can be appended anew: letters of before may have more than are written now. */
const MOST_PAIRS = 3_900

/** What the script answers. */
export const REDRIVE_SCRIPT_ANSWERS = {
  gone: 0,
  redriven: 1,
  republished: 2,
  pending: 3,
  unread: 4,
  trimmed: 5,
  packed: 6,
  othersBehind: 7,
  noGroup: 8,
} as const

/**
 * Puts a dead letter's entry back to work for the group that failed it. Nothing changes unless all is well, and the letter goes last, in the
 * same step, so that a second operator finds none.
 *
 * An entry that is still in the stream becomes pending again, set aside with no delivery and due at once: the next claimer starts it, side by side with what else
 * is due. XCLAIM with FORCE would make anything pending, so whether the entry is there, has been read, and is not pending is inspected before.
 *
 * A trimmed one can only be appended anew, under another id. Either every group gets it; or only this one, which reads it like any other,
 * while the others, if they have read all there is, are moved past it. Where one cannot be moved the append is undone.
 *
 * KEYS stream, state, due, dead letters. ARGV the stream's name as letters have it (a client's keyPrefix stands before the key), group, id of
 * the letter, id of its entry, what to do if that was trimmed ('' nothing, 'group', 'all'), 1 to change nothing. Answers a number of REDRIVEN.
 */
export const redriveScript: LuaScript = {
  keyCount: 4,
  lua: `
local stream, state, due, letters = unpack(KEYS)
local name, group, letter, id, append, dry = unpack(ARGV)
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
local found = redis.call('XRANGE', letters, letter, letter)[1]
if not found then return ${REDRIVE_SCRIPT_ANSWERS.gone} end
local body = found[2]
if body[2] ~= name or body[4] ~= id or body[6] ~= group then return ${REDRIVE_SCRIPT_ANSWERS.gone} end
if redis.call('EXISTS', stream) == 0 then return ${REDRIVE_SCRIPT_ANSWERS.noGroup} end

local last, others = nil, {}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  if fields.name == group then last = fields['last-delivered-id'] else others[#others + 1] = fields end
end
if not last then return ${REDRIVE_SCRIPT_ANSWERS.noGroup} end
if redis.call('XPENDING', stream, group, id, id, 1)[1] then return ${REDRIVE_SCRIPT_ANSWERS.pending} end

local function ahead(from, to) return from ~= '${HIGHEST_ENTRY_ID}' and redis.call('XRANGE', stream, '(' .. from, to, 'COUNT', 1)[1] end

if redis.call('XRANGE', stream, id, id)[1] then
  if ahead(last, id) then return ${REDRIVE_SCRIPT_ANSWERS.unread} end
  if dry == '1' then return ${REDRIVE_SCRIPT_ANSWERS.redriven} end
  redis.call('XCLAIM', stream, group, '${PARKED_CONSUMER}', 0, id, 'IDLE', 0, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
  local made = redis.call('XPENDING', stream, group, id, id, 1)[1]
  if not made then return redis.error_reply('ERR the server did not make the entry pending') end
  beside('HSETNX', state, 'stream', stream)
  aside(id, 0, due, score(now, 0), id)
  redis.call('XDEL', letters, letter)
  return ${REDRIVE_SCRIPT_ANSWERS.redriven}
end

if append == '' then return ${REDRIVE_SCRIPT_ANSWERS.trimmed} end
local at = 1
while at < #body and body[at] ~= 'fieldCount' do at = at + 2 end
if #body - at - 1 ~= 2 * tonumber(body[at + 1] or 0) or #body - at - 1 > 2 * ${MOST_PAIRS} then return ${REDRIVE_SCRIPT_ANSWERS.packed} end
if append == 'all' then others = {} end
for _, info in ipairs(others) do
  if ahead(info['last-delivered-id'], '+') then return ${REDRIVE_SCRIPT_ANSWERS.othersBehind} end
end
if dry == '1' then return ${REDRIVE_SCRIPT_ANSWERS.republished} end
local add = {'XADD', stream, '*'}
for i = at + 2, #body do add[#add + 1] = body[i] end
local copy = redis.call(unpack(add))
if not ahead(last, '+') then
  redis.call('XDEL', stream, copy)
  return redis.error_reply('ERR the group was set to an id that is yet to come, and would never read what is appended')
end
for _, info in ipairs(others) do
  if ahead(info['last-delivered-id'], '+') then -- a group may have been set to an id that is yet to come
    local move = {'XGROUP', 'SETID', stream, info.name, copy}
    if info['entries-read'] then move[6], move[7] = 'ENTRIESREAD', info['entries-read'] + 1 end
    local moved = redis.pcall(unpack(move))
    if moved.err then
      redis.call('XDEL', stream, copy)
      return moved
    end
  end
end
beside('ZREM', due, id)
redis.call('XDEL', letters, letter)
return ${REDRIVE_SCRIPT_ANSWERS.republished}
`,
}

import { UNREADABLE_SCORE } from './delayed-counts.ts'
import { LUA_FIND_DELAYED } from './delayed-pages.ts'
import { LUA_CALL_OF_BODY, LUA_DENIED, LUA_MS_TEXT, LUA_TRIED } from './delays.ts'
import { LUA_MARKER, ONCE_ANSWERS } from './marker.ts'
import type { LuaScript } from './script.ts'

/**
 * Appends an entry, unless its event id has a marker or is delayed: within the window an id is added once. The marker is written in the same step. A call that is
 * sent again answers the same: its nonce stands in the marker. What is delayed counts where its keys belong to this stream;
 * then the marker is written for that, so that the id counts for the window also once that is promoted. What may be refused is asked for before the entry is added, so that none is without its marker.
 *
 * KEYS stream, marker, delayed, events. ARGV event id; a nonce of the call, which is the same when it is sent again ('' none); the window in milliseconds, or '' for
 * an entry that is appended in any case, without a marker; then the
 * arguments of XADD behind its key.
 * Answers a number of ONCE_ANSWERS, and where the first one is: an entry's id, or when it is due, in milliseconds since 1970.
 */
export const publishOnceScript: LuaScript = {
  keyCount: 4,
  lua: `
local stream, marker, delayed, events = unpack(KEYS)
local id, nonce, window = unpack(ARGV, 1, 3)
${LUA_MS_TEXT}
${LUA_FIND_DELAYED}
${LUA_DENIED}
${LUA_TRIED}
${LUA_MARKER}
${LUA_CALL_OF_BODY}
local function refusalOf(reply, key, kind)
  if type(reply) ~= 'table' then return false end
  return redis.error_reply(reply.err:find('WRONGTYPE', 1, true) and 'WRONGTYPE ' .. key .. ' must be a ' .. kind or reply.err)
end

local function append()
  local added = redis.pcall('XADD', stream, unpack(ARGV, 4))
  if added == false then return nil, redis.error_reply('ERR there is no stream, and NOMKSTREAM adds none') end
  local refused = refusalOf(added, stream, 'stream')
  return not refused and added, refused
end

if window == '' then
  local added, refused = append()
  return refused or {${ONCE_ANSWERS.added}, added}
end
local without = not isWindow() and 'ERR a window must be milliseconds, 1 to 11 digits' or nonce:find('%s') and 'ERR a nonce must be without white space' or denied(markRights) or denied({{'ZCARD', delayed}, {'ZSCORE', delayed, ''}, {'HGET', events, ''}, {'XADD', stream, '*', 'a', ''}})
if without then return redis.error_reply(without) end
local text, waiting, owner = redis.pcall('GET', marker), redis.pcall('ZCARD', delayed), redis.pcall('HGET', events, '')
local refused = refusalOf(text, marker, 'string') or refusalOf(waiting, delayed, 'zset') or refusalOf(owner, events, 'hash')
if refused then return refused end
local place, isOurs = placeIn(text)
if place then return {isOurs and ${ONCE_ANSWERS.added} or ${ONCE_ANSWERS.duplicate}, place} end
local found
if waiting > 0 and owner == stream then
  readCounts()
  found = find(keyOf(id))
end
if found then
  local comes, place = found.due < ${UNREADABLE_SCORE}, ms(found.due % ${UNREADABLE_SCORE})
  without = comes and triedMarking()
  if without then return redis.error_reply(without) end
  if comes then mark(place, callOf(found.body)) end
  return {${ONCE_ANSWERS.duplicate}, place}
end
without = tried({{'XADD', stream, '?', 'a', ''}}, 'stream ID') or triedMarking()
if without then return redis.error_reply(without) end
-- from 7.0 on memory is asked for here
local added, refusedBy = append()
if refusedBy then return refusedBy end
mark(added, nonce)
return {${ONCE_ANSWERS.added}, added}
`,
}

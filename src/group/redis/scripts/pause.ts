import { LUA_HIGHEST_DUE_SCORE, LUA_SET_ASIDE } from './aside.ts'
import { LUA_DELETE_TEXT_KEY, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/** What both scripts answer first. */
export const PAUSED = { done: 1, unknown: 0, past: 2, notPaused: 3 } as const

/** Entries of a group that are compared with its age limit, of those that are due and of those that it has not read. */
const AGED_LOOKS = 1_000

/** Entries of which one command reads the bodies, which nobody needs. */
const PAGE = 100

/** `groupInfo()` is what the server says of the group, by name; false where it has none. */
const GROUP = `
local function groupInfo()
  local infos = redis.pcall('XINFO', 'GROUPS', stream)
  if infos.err then
    if infos.err:lower():find('no such key', 1, true) then return false end
    error(infos.err, 0)
  end
  for _, flat in ipairs(infos) do
    local info = {}
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
    if info.name == group then return info end
  end
  return false
end
`

/**
 * `store(all)` writes what is paused. GETDEL comes first: it works with memory full, and what follows a write is not refused. Not SET and DEL, which could put an
 * end to a stream. `inEffect(all)` is what of it is not over.
 */
const STORE = `
${LUA_DELETE_TEXT_KEY}
${PAUSES}
local function inEffect(all)
  local some = {}
  for name, pause in pairs(all) do if isIn(pause, now) then some[name] = pause end end
  return some
end
local function store(all)
  drop(key)
  if next(all) then redis.call('SETNX', key, cjson.encode(all)) end
end
`

/**
 * Pauses a group or an event type. What is paused already stays so since when it was, and by whom unless somebody is named; only what is given changes.
 *
 * KEYS stream, paused, state. ARGV group, type or '*', until in ms since 1970 ('' not given), why ('' not given), by ('' not given), by whom if nobody is named.
 * Answers a number of PAUSED, the server's time, the pause, and how it was paused before (nil: it was not), both as JSON.
 */
export const pause: LuaScript = {
  keyCount: 3,
  lua: `
local stream, key, state = unpack(KEYS)
local group, what, ends, why, by, fallback = unpack(ARGV)
${LUA_NOW_MS}
${GROUP}
${STORE}
local at = ('%.0f'):format(now)
-- a group that was lost is made again by its next poller
if not groupInfo() and redis.call('EXISTS', state) == 0 then return {${PAUSED.unknown}} end
if ends ~= '' and tonumber(ends) <= now then return {${PAUSED.past}, at} end
local all = inEffect(pausesIn(redis.call('GET', key)))
local before = all[what] and cjson.encode(all[what])
local pause = all[what] or {at = now}
if ends ~= '' then pause['until'] = tonumber(ends) end
if why ~= '' then pause.why = why end
if by ~= '' then pause.by = by
elseif fallback ~= '' and not before then pause.by = fallback end
all[what] = pause
store(all)
return {${PAUSED.done}, at, cjson.encode(pause), before or false}
`,
}

/**
 * Resumes a group or an event type, and counts what waits for it: of a type, entries of its condition; of a group, those that are due, and those that it has not
 * read.
 *
 * KEYS stream, paused, state, due, waiting. ARGV group, type or '*', the type's condition, age limit in ms ('' none).
 * Answers a number of PAUSED, the server's time, what the pause was as JSON, how many wait, how many the group has not read (-1: the server does not know), and
 * how many of both are older than the limit; 1 if there may be more of these.
 */
export const resume: LuaScript = {
  keyCount: 5,
  lua: `
local stream, key, state, due, waiting = unpack(KEYS)
local group, what, condition, limit = unpack(ARGV)
${LUA_NOW_MS}
${LUA_IS_TRIMMED}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_HIGHEST_DUE_SCORE}
${GROUP}
${STORE}
local all = inEffect(pausesIn(redis.call('GET', key)))
local info, was = groupInfo(), all[what]
if not was then
  return {(info or redis.call('EXISTS', state) == 1) and ${PAUSED.notPaused} or ${PAUSED.unknown}}
end
all[what] = nil
store(all)

local oldest = limit ~= '' and ('%.0f'):format(math.max(0, now - limit)) .. '-0'
local count, unread, aged, isMore = 0, -1, 0, 0
local function countType()
  local from = '[' .. condition .. '\\n'
  count = beside('ZLEXCOUNT', waiting, from, '(' .. condition .. '\\11') or 0
  if oldest then aged = beside('ZLEXCOUNT', waiting, from, '(' .. condition .. '\\n' .. sortable(oldest)) or 0 end
end
local function isAged(id) return id:match('^%d+%-%d+$') and sortable(id) < sortable(oldest) end
local function countDue()
  count = beside('ZCOUNT', due, '-inf', dueBy(now)) or 0
  if not oldest then return end
  local ids = beside('ZRANGEBYSCORE', due, '-inf', dueBy(now), 'LIMIT', 0, ${AGED_LOOKS}) or {}
  for _, id in ipairs(ids) do if isAged(id) then aged = aged + 1 end end
  if count > #ids then isMore = 1 end
end
local function countUnread()
  unread = info.lag or -1
  local from, looked = oldest and info['last-delivered-id'], 0
  while from do
    local page = redis.call('XRANGE', stream, '(' .. from, '(' .. oldest, 'COUNT', ${PAGE})
    aged, looked = aged + #page, looked + #page
    from = #page == ${PAGE} and page[#page][1]
    if from and looked >= ${AGED_LOOKS} then
      isMore = 1
      from = nil
    end
  end
end
if what ~= '*' then countType()
else
  countDue()
  if info then countUnread() end
end
return {${PAUSED.done}, ('%.0f'):format(now), cjson.encode(was), count, unread, aged, isMore}
`,
}

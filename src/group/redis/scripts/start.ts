import { LUA_TAKEN_SCORE } from './aside.ts'
import { LUA_FENCE, LUA_HELD_ENTRIES, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { SEES_PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/** What the script answers for an entry. */
export const START_SCRIPT_ANSWERS = {
  yes: 1,
  superseded: 0,
  leaseLost: 2,
  lost: 3,
  leftAlone: 4,
  noRoom: 5,
  paused: 6,
} as const

/** Entries that one XCLAIM starts: how many bytes they have is known after it. */
const CHUNK = 10

/** Why an entry is not started, if it is not. @param isLeft Says it of a value of the field. */
const refusalBy = (isLeft: string) => `
local inspects = field ~= '' and (next(left) or #sets > 0 or next(pausedTypes))
local function refusal(id)
  if isAllPaused then return ${START_SCRIPT_ANSWERS.paused} end
  if closed then return ${START_SCRIPT_ANSWERS.leftAlone} end
  local entry = inspects and redis.call('XRANGE', stream, id, id)[1]
  if not entry then return nil end
  for i = 1, #entry[2], 2 do
    local value = entry[2][i + 1]
    if entry[2][i] == field then
      if pausedTypes[value] then return ${START_SCRIPT_ANSWERS.paused} end
      if ${isLeft} then return ${START_SCRIPT_ANSWERS.leftAlone} end
    end
  end
end`

/** Starts a chunk of neighbours by one command. */
const START_CHUNK = `
-- of a chunk each is an id, its place in the answer, and its new count
local function startChunk()
  if #chunk == 0 then return end
  local ids, at, count = {}, {}, chunk[1][3]
  for n, c in ipairs(chunk) do
    ids[n], at[c[1]] = c[1], c[2]
    out[c[2]] = {${START_SCRIPT_ANSWERS.lost}}
  end
  local claim, places = {'XCLAIM', stream, group, consumer, 0, unpack(ids)}, {'ZADD', due, 'XX'}
  claim[#claim + 1], claim[#claim + 2] = 'RETRYCOUNT', count
  for _, entry in ipairs(redis.call(unpack(claim))) do
    if entry then
      out[at[entry[1]]] = {${START_SCRIPT_ANSWERS.yes}, entry[2]}
      for _, value in ipairs(entry[2]) do bytes = bytes + #value end
    end
  end
  -- what came from the index stays in it as running
  for _, id in ipairs(ids) do places[#places + 1], places[#places + 2] = running(count), id end
  beside(unpack(places))
  for _, c in ipairs(chunk) do
    -- before 7.0 a trimmed entry stays pending
    if out[c[2]][1] == ${START_SCRIPT_ANSWERS.lost} then
      redis.call('XACK', stream, group, c[1])
      beside('ZREM', due, c[1])
    end
  end
  chunk = {}
end`

const START_EACH = `
for n = 1, (#ARGV - first + 1) / 2 do
  local id, raised = ARGV[first + 2 * n - 2], ARGV[first + 2 * n - 1] + 1
  local isOurs = ours and (counts(id) == raised - 1 or counts(id) == raised)
  if #chunk == ${CHUNK} or chunk[1] and chunk[1][3] ~= raised then startChunk() end
  if not isOurs then out[n] = {ours and ${START_SCRIPT_ANSWERS.superseded} or ${START_SCRIPT_ANSWERS.leaseLost}}
  elseif bytes >= room then out[n] = {${START_SCRIPT_ANSWERS.noRoom}}
  elseif refusal(id) then out[n] = {refusal(id)}
  else chunk[#chunk + 1] = {id, n, raised} end
end
startChunk()`

function startBy(guards: string, isLeft: string): string {
  return `
local stream, lease, due, paused = unpack(KEYS, 1, 4)
local group, consumer, token, room, field, values = unpack(ARGV, 1, 6)
${LUA_FENCE}
${LUA_HELD_ENTRIES}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_TAKEN_SCORE}
${SEES_PAUSES}
local left = {}
for i = 7, 6 + values do left[ARGV[i]] = true end
local closed, sets = false, {}
${guards}
local first = 7 + values + #KEYS - 4
local ours, text = leaseAndPauses()
see(text)
local counts, out, bytes, chunk = held(ARGV[first], ARGV[#ARGV - 1]), {}, 0, {}
room = tonumber(room) or math.huge
${refusalBy(isLeft)}
${START_CHUNK}
${START_EACH}
return seeing({out})
`
}

/**
 * Starts claimed entries: counts the delivery, restarts the idle clock, and gives the body. Refused behind the fence. Sent twice after a lost
 * reply it counts once: under our own lease, one delivery more can only be the one that the first sending counted.
 *
 * Neighbours of the same count are claimed by one command: it is most of what a retry costs the server. Once more bytes were started than the
 * request has room for, nothing more is. Entries with certain values in a field, as of types whose handler takes no work, are not started.
 *
 * Nor is anything while a guard's key is there, or what has one of the values of a guard that is a set; nor what is paused.
 *
 * KEYS stream, lease, due, paused. ARGV group, consumer, token, room in bytes ('' no bound), a field ('' none), the number of its values that keep
 * an entry from being started, the values, for each guard 'all' or 'values', then for each entry id, count, lowest id first.
 * Answers for each entry [a number of STARTED, fields], then the text of what is paused (nil: nothing is) with the server's time.
 */
export const startClaimedScript: LuaScript = { keyCount: 4, lua: startBy('', 'left[value]') }

/** The same with guards of policies: its own script, so that who uses none needs no right to ask for them. KEYS, after these, theirs. */
export const startGuardedScript: LuaScript = {
  keyCount: undefined,
  lua: startBy(
    `
for n = 5, #KEYS do
  if ARGV[values + 2 + n] == 'values' then sets[#sets + 1] = KEYS[n]
  elseif redis.call('EXISTS', KEYS[n]) == 1 then closed = true end
end
local function isGuarded(value)
  if left[value] == nil then
    left[value] = false
    for _, set in ipairs(sets) do if beside('SISMEMBER', set, value) == 1 then left[value] = true end end
  end
  return left[value]
end
`,
    'isGuarded(value)',
  ),
}

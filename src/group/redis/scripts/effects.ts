import { MARKER_STATES } from '../../../core/markers.ts'
import { LUA_LOOK_AHEAD } from './look-ahead.ts'
import type { LuaScript } from './script.ts'
import { SETTLE_SCRIPT_ANSWERS } from './settle.ts'
import { LUA_ACKNOWLEDGE_OR_REFUSE, LUA_SETTLE_ENTRY, LUA_SETTLE_FRAME } from './settle-entry.ts'

/** In place of the type of a policy's key: the command is an effect of the handler. */
export const EFFECT_KIND = '*'

/** `carryOutAll(entries)` carries out all that some entries have, and acknowledges them, or none of it. An answer each. */
const LUA_CARRY_OUT_ALL = `
local function answerAll(entries, answer)
  local answers = {}
  for n, entry in ipairs(entries) do answers[n] = answer(entry) end
  return answers
end

local function carryOutAll(entries)
  for _, entry in ipairs(entries) do
    if entry.marker then
      table.insert(entry.commands, 1, {'SET', entry.marker, '${MARKER_STATES.handled}' .. entry.id, 'PX', entry.ttl})
      table.insert(entry.kinds, 1, 'marker')
    end
  end
  local refuseAll = function(text) return answerAll(entries, function(entry) return refuse(entry.id, entry.count, text) end) end
  local objection = objectionTo(entries)
  if type(objection) == 'table' then return answerAll(entries, function() return objection end) end
  if objection then return refuseAll(objection) end
  for _, entry in ipairs(entries) do
    for _, command in ipairs(entry.commands) do
      -- only the first write of all can be refused, where memory is full or nothing may be written
      local reply = redis.pcall(unpack(command))
      if type(reply) == 'table' and reply.err then return refuseAll(reply.err) end
    end
  end
  return answerAll(entries, function(entry) return acknowledge(entry.id, ${SETTLE_SCRIPT_ANSWERS.done}) end)
end

local function carryOut(id, count, marker, ttl, commands, kinds)
  return carryOutAll({{id = id, count = count, marker = marker, ttl = ttl, commands = commands, kinds = kinds}})[1]
end
`

/** `settleAll(entries)`: all of them are settled together, or none of those that are ours. */
const LUA_SETTLE_ALL = `
local function settleAll(entries)
  local markers, areOurs = {}, ours
  for _, entry in ipairs(entries) do
    local marker = entry.marker
    areOurs = areOurs and mine(entry.id, entry.count) and not (marker and (markers[marker] or handledBy(marker)))
    if marker then markers[marker] = true end
  end
  if areOurs then return carryOutAll(entries) end
  return answerAll(entries, function(entry)
    if ours and mine(entry.id, entry.count) and not handledBy(entry.marker) then return {'ERR another event of the batch was settled elsewhere'} end
    return settle(entry.op, entry.id, entry.count, entry.marker, entry.ttl, entry.commands, entry.kinds)
  end)
end
`

/**
 * Acknowledges entries with the effects of their handlers, and with what policies join, as `acknowledgeWithCommandsScript` does: each in one step, or those of a batch together, behind the
 * fence. Types, numbers, overflow, ids, HyperLogLogs and rights are checked before the first write, through all commands in sequence. Where an effect could not be carried out nothing is
 * written, and the entries stay as they are: they have failed, and their run gives them another outcome. Where the server refuses, they are set aside.
 *
 * KEYS and ARGV as there. The type that a key must have is '*' for effects: INCRBY, HINCRBY, ZINCRBY, ZREMRANGEBYRANK, PFADD, and those that policies may join; an XADD may have MINID, and in place of its id how many
 * milliseconds old it may be. Before entries that are settled together stands 'all' and their number.
 * Answers 0, then for each entry a number of SETTLED, the refusal's text, or a list of one text for what has failed.
 */
export const acknowledgeWithEffectsScript: LuaScript = {
  keyCount: undefined,
  lua: `
${LUA_SETTLE_FRAME}
${LUA_LOOK_AHEAD}
${LUA_ACKNOWLEDGE_OR_REFUSE}
${LUA_CARRY_OUT_ALL}
${LUA_SETTLE_ENTRY}
${LUA_SETTLE_ALL}
local at = 4
local function readCommand()
  local name, place, kind, args = unpack(ARGV, at, at + 3)
  local command = {name:upper(), KEYS[tonumber(place)]}
  for i = at + 4, at + 3 + args do command[#command + 1] = ARGV[i] end
  if command[1] == 'XADD' and command[3] == 'MINID' then command[5] = num(math.max(0, now - command[5])) end
  at = at + 4 + args
  return command, kind
end
local function readEntry()
  local op, id, count, marker, ttl, left = unpack(ARGV, at, at + 5)
  local entry = {op = op, id = id, count = count, marker = KEYS[tonumber(marker)], ttl = ttl, commands = {}, kinds = {}}
  at = at + 6
  for n = 1, tonumber(left) do entry.commands[n], entry.kinds[n] = readCommand() end
  return entry
end
while at <= #ARGV do
  local entries = {}
  if ARGV[at] == 'all' then
    local left = tonumber(ARGV[at + 1])
    at = at + 2
    for n = 1, left do entries[n] = readEntry() end
    entries = settleAll(entries)
  else
    local entry = readEntry()
    entries[1] = settle(entry.op, entry.id, entry.count, entry.marker, entry.ttl, entry.commands, entry.kinds)
  end
  for _, answer in ipairs(entries) do out[#out + 1] = answer end
end
return out
`,
}

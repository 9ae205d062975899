import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'
import { REFUSED_DEAD_LETTER_RETRY_MS, SETTLE_SCRIPT_ANSWERS } from './settle.ts'

/**
 * Acknowledges entries, each in one step with commands of its own, behind the fence. What a command could be refused for is asked before the first of
 * an entry is carried out: the key's type, and from 7.0 on the right; memory is asked for by the server at the first write. Where one is refused
 * nothing of that entry has happened: it is set aside, so that it does not pass for one whose process died.
 *
 * KEYS stream, lease, due, then the commands' keys. ARGV group, consumer, token, then for each entry id, count, number of commands, and for each
 * command its name, its key's place in KEYS, the type that the key must have ('' any), number of further arguments, and these.
 * Answers 0, then for each entry a number of SETTLED or the refusal's text.
 */
export const acknowledgeWithCommandsScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, lease, due = unpack(KEYS, 1, 3)
local group, consumer, token = unpack(ARGV, 1, 3)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
local ours, out = leased(), {0}

local function refusalOf(command, kind)
  local is = redis.call('TYPE', command[2]).ok
  if kind ~= '' and is ~= 'none' and is ~= kind then return 'WRONGTYPE ' .. command[1] .. ' needs a ' .. kind .. ', the key is a ' .. is end
  if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(command)) then return 'NOPERM no permission to run ' .. command[1] .. ' on its key' end
end

local function refuse(id, count, text)
  aside(id, tonumber(count), due, score(now + ${REFUSED_DEAD_LETTER_RETRY_MS}, tonumber(count)), id)
  return text
end

local function carryOut(id, count, commands, kinds)
  for n, command in ipairs(commands) do
    local refusal = refusalOf(command, kinds[n])
    if refusal then return refuse(id, count, refusal) end
  end
  for _, command in ipairs(commands) do
    local reply = redis.pcall(unpack(command))
    if type(reply) == 'table' and reply.err then return refuse(id, count, reply.err) end
  end
  redis.call('XACK', stream, group, id)
  beside('ZREM', due, id)
  return ${SETTLE_SCRIPT_ANSWERS.done}
end

local at = 4
while at <= #ARGV do
  local id, count, commands, kinds = ARGV[at], ARGV[at + 1], {}, {}
  local left = tonumber(ARGV[at + 2])
  at = at + 3
  while left > 0 do
    local name, place, kind, args = unpack(ARGV, at, at + 3)
    local command = {name, KEYS[tonumber(place)]}
    for i = at + 4, at + 3 + args do command[#command + 1] = ARGV[i] end
    commands[#commands + 1], kinds[#kinds + 1] = command, kind
    at, left = at + 4 + args, left - 1
  end
  if not ours then out[#out + 1] = ${SETTLE_SCRIPT_ANSWERS.leaseLost}
  elseif not mine(id, count) then out[#out + 1] = ${SETTLE_SCRIPT_ANSWERS.superseded}
  else out[#out + 1] = carryOut(id, count, commands, kinds) end
end
return out
`,
}

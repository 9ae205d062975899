import { MARKER_STATES } from '../../../core/markers.ts'
import type { LuaScript } from './script.ts'
import { SETTLE_SCRIPT_ANSWERS } from './settle.ts'
import { LUA_ACKNOWLEDGE_OR_REFUSE, LUA_SETTLE_ENTRY, LUA_SETTLE_FRAME } from './settle-entry.ts'

/**
 * `refusalOf(command, kind)` is why a command could not be carried out: its key's type, and from 7.0 on the right. `kind` is the type that the key must have,
 * '' any.
 */
const LUA_REFUSAL = `
local function denialOf(command)
  if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(command)) then return 'NOPERM no permission to run ' .. command[1] .. ' on its key' end
end
local function refusalOf(command, kind)
  local is = redis.call('TYPE', command[2]).ok
  if kind ~= '' and is ~= 'none' and is ~= kind then return 'WRONGTYPE ' .. command[1] .. ' needs a ' .. kind .. ', the key is a ' .. is end
  return denialOf(command)
end
`

/** Carries out an entry's commands, once nothing speaks against any of them. */
const LUA_CARRY_OUT = `
local function carryOut(id, count, marker, ttl, commands, kinds)
  if marker then
    table.insert(commands, 1, {'SET', marker, '${MARKER_STATES.handled}' .. id, 'PX', ttl})
    table.insert(kinds, 1, '')
  end
  local refusal = denialOf({'XACK', stream, group, id})
  for n, command in ipairs(commands) do refusal = refusal or refusalOf(command, kinds[n]) end
  if refusal then return refuse(id, count, refusal) end
  for _, command in ipairs(commands) do
    local reply = redis.pcall(unpack(command))
    if type(reply) == 'table' and reply.err then return refuse(id, count, reply.err) end
  end
  return acknowledge(id, ${SETTLE_SCRIPT_ANSWERS.done})
end
`

/**
 * Acknowledges entries, each in one step with its marker and commands of its own, behind the fence. What a command could be refused for is asked before the
 * first of an entry is carried out; memory is asked for by the server at the first write. Where one is refused nothing of that entry has happened: it is set
 * aside, so that it does not pass for one whose process died.
 *
 * A marker names the entry of its event that was handled. Where it names another one the entry is a duplicate: it is acknowledged, and none of its commands is
 * carried out. What is said to be a duplicate and is none by now is set aside for a second, at no delivery.
 *
 * KEYS stream, lease, due, then markers and the commands' keys. ARGV group, consumer, token, then for each entry 'ack' or 'duplicate', id, count, its
 * marker's place in KEYS (0 none), the marker's ms, number of commands, and for each command its name, its key's place in KEYS, the type that the key must
 * have ('' any), number of further arguments, and these.
 * Answers 0, then for each entry a number of SETTLED or the refusal's text.
 */
export const acknowledgeWithCommandsScript: LuaScript = {
  keyCount: undefined,
  lua: `
${LUA_SETTLE_FRAME}
${LUA_REFUSAL}
${LUA_ACKNOWLEDGE_OR_REFUSE}
${LUA_CARRY_OUT}
${LUA_SETTLE_ENTRY}
local at = 4
while at <= #ARGV do
  local op, id, count, marker, ttl, left = unpack(ARGV, at, at + 5)
  local commands, kinds = {}, {}
  at, left = at + 6, tonumber(left)
  while left > 0 do
    local name, place, kind, args = unpack(ARGV, at, at + 3)
    local command = {name, KEYS[tonumber(place)]}
    for i = at + 4, at + 3 + args do command[#command + 1] = ARGV[i] end
    commands[#commands + 1], kinds[#kinds + 1] = command, kind
    at, left = at + 4 + args, left - 1
  end
  out[#out + 1] = settle(op, id, count, KEYS[tonumber(marker)], ttl, commands, kinds)
end
return out
`,
}

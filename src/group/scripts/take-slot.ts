import type { Script } from './script.ts'

/**
 * Takes the lowest free lease. Sent twice after a lost reply, it answers the same slot. A poller takes back the flag of publishers first:
 * it reads after that, so that what is published from now on may wake another.
 *
 * SET and DEL would do the same to a stream: who runs this is allowed neither. A lease that can be given no end is taken back.
 *
 * KEYS the flag, then a lease a slot, lowest first. ARGV token, milliseconds, 1 for a poller.
 * Answers the slot's number from 0, or -1 if none is free. Fails with OOM when a lease cannot be written.
 */
export const takeSlot: Script = {
  keyCount: undefined,
  lua: `
local token, length, poller = unpack(ARGV)
for i = 2, #KEYS do if redis.call('GET', KEYS[i]) == token then return i - 2 end end
for i = 2, #KEYS do
  local set = redis.pcall('SETNX', KEYS[i], token)
  if set ~= 0 then
    if poller == '1' then redis.pcall('GETDEL', KEYS[1]) end
    if set ~= 1 then return set end
    local ends = redis.pcall('GETEX', KEYS[i], 'PX', length)
    if type(ends) == 'table' and ends.err then
      redis.pcall('GETDEL', KEYS[i])
      return ends
    end
    return i - 2
  end
end
return -1
`,
}

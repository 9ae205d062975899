import type { Script } from './script.ts'

/**
 * Takes the lowest free lease. Sent twice after a lost reply, it answers the same slot. A poller takes back the flag of publishers first:
 * it reads after that, so that what is published from now on may wake another. A key that never ends is no lease, whoever wrote it.
 *
 * KEYS the flag, then a lease a slot, lowest first. ARGV token, milliseconds, 1 for a poller.
 * Answers the slot's number from 0, or -1 if none is free. Fails with OOM when a lease cannot be written.
 */
export const takeSlot: Script = {
  keyCount: undefined,
  lua: `
local token, length, poller = unpack(ARGV)
for i = 2, #KEYS do if redis.pcall('GET', KEYS[i]) == token then return i - 2 end end
for i = 2, #KEYS do
  local set = redis.pcall('SET', KEYS[i], token, 'NX', 'PX', length)
  if not set and redis.pcall('PTTL', KEYS[i]) == -1 then set = redis.pcall('SET', KEYS[i], token, 'PX', length) end
  if set then
    if poller == '1' then redis.call('DEL', KEYS[1]) end
    return set.err and set or i - 2
  end
end
return -1
`,
}

import type { Script } from './script.ts'

/** What `takeSlot` answers where no lease can be written. */
export const NO_LEASE = -2

/**
 * Takes the lowest free lease. Sent twice after a lost reply, it answers the same slot. A poller takes back the flag of publishers first:
 * it reads after that, so that what is published from now on may wake another.
 *
 * KEYS the flag, then a lease a slot, lowest first. ARGV token, milliseconds, 1 for a poller.
 * Answers the slot's number from 0, -1 if none is free, or -2 when the server refuses to write a lease: its memory is full, in whatever words.
 */
export const takeSlot: Script = {
  keyCount: undefined,
  lua: `
local token, length, poller = unpack(ARGV)
for i = 2, #KEYS do if redis.call('GET', KEYS[i]) == token then return i - 2 end end
for i = 2, #KEYS do
  local set = redis.pcall('SET', KEYS[i], token, 'NX', 'PX', length)
  if set then
    if poller == '1' then redis.call('DEL', KEYS[1]) end
    return set.err and -2 or i - 2
  end
end
return -1
`,
}

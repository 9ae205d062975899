import type { Script } from './script.ts'

/**
 * Takes the lowest free lease. Sent twice after a lost reply, it answers the same slot.
 *
 * KEYS a lease a slot, lowest first. ARGV token, milliseconds.
 * Answers the slot's number from 0, or -1 if none is free. Fails with OOM when a lease cannot be written.
 */
export const takeSlot: Script = {
  keyCount: undefined,
  lua: `
for i, lease in ipairs(KEYS) do if redis.call('GET', lease) == ARGV[1] then return i - 1 end end
for i, lease in ipairs(KEYS) do
  if redis.call('SET', lease, ARGV[1], 'NX', 'PX', ARGV[2]) then return i - 1 end
end
return -1
`,
}

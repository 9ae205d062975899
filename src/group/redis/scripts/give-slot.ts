import type { LuaScript } from './script.ts'

/** Gives a lease back if it is still ours. KEYS lease. ARGV token. Answers 1 if it was, else 0. */
export const giveSlotBackScript: LuaScript = {
  keyCount: 1,
  lua: `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('GETDEL', KEYS[1]) and 1 end
return 0
`,
}

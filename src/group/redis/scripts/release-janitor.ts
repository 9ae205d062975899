import type { LuaScript } from './script.ts'

/** Gives a janitor's lease back, if it is still the caller's. KEYS the janitor's notes. ARGV token. */
export const releaseJanitorScript: LuaScript = {
  keyCount: 1,
  lua: `
if redis.pcall('HGET', KEYS[1], 'lease') == ARGV[1] then redis.call('HDEL', KEYS[1], 'lease', 'leaseUntil') end
return 1
`,
}

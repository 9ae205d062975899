import { NOW } from './fence.ts'
import { HAND_BACK } from './hand-back.ts'
import type { Script } from './script.ts'

/**
 * Ends a poller's run: releases what never reached it, and gives its lease back. A read that was not answered may still be carried out after that, if
 * the server stalls; the time is noted, so that what it reads is known to be nobody's.
 *
 * KEYS stream, lease, state, the flag of publishers if it is to be taken back. ARGV group, consumer, token, the lease's length in ms, 1 if the run
 * acknowledged something, whose time is noted, 1 if a read is in doubt, then ids that did reach it. Answers 1 if the flag was up.
 */
export const finishReads: Script = {
  keyCount: undefined,
  lua: `
local stream, lease, state, flag = unpack(KEYS)
local group, consumer, token, length, acked, doubt = unpack(ARGV, 1, 6)
${HAND_BACK}
if redis.pcall('GET', lease) ~= token then return 0 end
handBack(7)
if acked == '1' or doubt == '1' then
  ${NOW}
  if acked == '1' then redis.pcall('HSET', state, 'acked', now) end
  if doubt == '1' then redis.pcall('HSET', state, 'doubt:' .. consumer, now) end
end
redis.call('DEL', lease)
return flag and redis.call('DEL', flag) or 0
`,
}

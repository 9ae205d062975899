import { DROP, NOW } from './fence.ts'
import { HAND_BACK } from './hand-back.ts'
import type { Script } from './script.ts'

/**
 * Ends a poller's run: releases what never reached it, and gives its lease back. A read that was not answered may still be carried out after that, if
 * the server stalls; the time is noted, so that what it reads is known to be nobody's.
 *
 * KEYS stream, lease, due, state, the flag of publishers if it is to be taken back. ARGV group, consumer, token, the lease's length in ms, min-idle ms, 1 if the run
 * acknowledged something, whose time is noted, 1 if a read is in doubt, from which id on what never reached it
 * is handed back, then ids beyond that did reach it. Answers 1 if the flag was up.
 */
export const finishReads: Script = {
  keyCount: undefined,
  lua: `
local stream, lease, due, state, flag = unpack(KEYS)
local group, consumer, token, length, idle, acked, doubt, from = unpack(ARGV, 1, 8)
${HAND_BACK}
${DROP}
if redis.pcall('GET', lease) ~= token then return 0 end
handBack(from, '+', 9)
if acked == '1' or doubt == '1' then
  ${NOW}
  if acked == '1' then redis.pcall('HSET', state, 'acked', num(now)) end
  if doubt == '1' then redis.pcall('HSET', state, 'doubt:' .. consumer, num(now)) end
end
drop(lease)
return flag and drop(flag) and 1 or 0
`,
}

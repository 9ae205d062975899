import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Milliseconds by which a claimer may come later than planned, and for which a plan stands that nobody keeps. */
export const LATE_CLAIM_MS = 10_000

/** A claimer that comes so much later than something is due comes in time, in ms. */
export const CLAIM_TOLERANCE_MS = 1_000

/** `plan(dueInMs)` notes when a claimer comes next. Needs DELETE_TEXT_KEY and the locals planned, now. */
export const LUA_PLAN_CLAIM = `
local function plan(dueInMs)
  drop(planned)
  if redis.pcall('SETNX', planned, ('%.0f'):format(now + dueInMs)) == 1 then
    redis.pcall('GETEX', planned, 'PX', ('%.0f'):format(dueInMs + ${LATE_CLAIM_MS}))
  end
end
`

/**
 * Notes that a claimer comes for what is due in so many ms, unless one does already: the caller wakes it. What is noted for a time that has passed is kept for some seconds: a claimer is
 * at work, and asks what is due next before it ends.
 *
 * KEYS the key of the plan. ARGV the ms until something is due. Answers 1 if nobody comes in time otherwise.
 */
export const planClaimScript: LuaScript = {
  keyCount: 1,
  lua: `
local planned, dueInMs = KEYS[1], tonumber(ARGV[1])
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_DELETE_TEXT_KEY}
${LUA_PLAN_CLAIM}
local at = msOr(beside('GET', planned) or '', nil)
if at and at <= now + dueInMs + ${CLAIM_TOLERANCE_MS} and at > now - ${LATE_CLAIM_MS} then return 0 end
plan(dueInMs)
return 1
`,
}

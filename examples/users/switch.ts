import { setTimeout as sleep } from 'node:timers/promises'
import { EVENTS } from './events.ts'
import { assertTime } from './outcomes.ts'
import { FIRST, POINTER } from './projections.ts'
import { client } from './redis.ts'

const EVERY_MS = 50

/**
 * Has reads go to another projection, in one step with the question whether it has all that the present one has: so no read goes back in time. It may be ahead. Where nobody knows what the present one has, as its group is gone, it must have everything. Answers an empty text, or why not.
 */
const SWITCH = `
local groups = {}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  groups[group.name] = group
end
local function isBefore(a, b)
  local aMs, aNumber = a:match('(%d+)-(%d+)')
  local bMs, bNumber = b:match('(%d+)-(%d+)')
  aMs, bMs = tonumber(aMs), tonumber(bMs)
  return aMs < bMs or aMs == bMs and tonumber(aNumber) < tonumber(bNumber)
end
local from, to = groups[redis.call('GET', KEYS[1]) or ARGV[1]], groups[ARGV[2]]
if not to then return 'no such group' end
if redis.call('EXISTS', KEYS[2] .. ':' .. ARGV[2] .. ':dlq') == 1 then return 'it has dead letters' end
if to.pending > 0 then return 'it has pending events' end
local needed = from and from['last-delivered-id']
if not from then
  local stream = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #stream, 2 do if stream[i] == 'last-generated-id' then needed = stream[i + 1] end end
end
if isBefore(to['last-delivered-id'], needed) then return 'it is behind' end
redis.call('SET', KEYS[1], ARGV[2])
return ''`

/**
 * @param to The group of the projection: `profiles-v2`.
 * @throws {RangeError} `to` names no projection of profiles, or `timeoutMs` is no time, or for ever.
 * @throws {Error} It did not catch up in time: the message says what was missing at last. Reads go where they went.
 */
export async function handler({
  to,
  timeoutMs = 5_000,
}: {
  readonly to: string
  readonly timeoutMs?: number
}): Promise<void> {
  if (!/^profiles-v\d+$/.test(to)) throw new RangeError(`to must be as in profiles-v2, got ${JSON.stringify(to)}`)
  assertTime(timeoutMs)
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const why = await client.eval(SWITCH, 2, POINTER, EVENTS, FIRST, to)
    if (why === '') return
    if (performance.now() > deadline) throw new Error(`Cannot switch to ${JSON.stringify(to)}: ${why}`)
    await sleep(EVERY_MS)
  }
}

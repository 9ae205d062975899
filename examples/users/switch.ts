import { setTimeout as sleep } from 'node:timers/promises'
import { EVENTS } from './events.ts'
import { FIRST, POINTER } from './projections.ts'
import { client } from './redis.ts'

const EVERY_MS = 50

/**
 * Has reads go to another projection, in one step with the question whether it has all that the present one has: so no read goes back in time. It may be ahead. Answers an empty text, or why not.
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
if from and isBefore(to['last-delivered-id'], from['last-delivered-id']) then return 'it is behind' end
redis.call('SET', KEYS[1], ARGV[2])
return ''`

/**
 * @param to The group of the projection: `profiles-v2`.
 * @throws {Error} It did not catch up in time: the message says what was missing at last. Reads go where they went.
 */
export async function handler({
  to,
  timeoutMs = 5_000,
}: {
  readonly to: string
  readonly timeoutMs?: number
}): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const why = await client.eval(SWITCH, 2, POINTER, EVENTS, FIRST, to)
    if (why === '') return
    if (performance.now() > deadline) throw new Error(`Cannot switch to ${JSON.stringify(to)}: ${why}`)
    await sleep(EVERY_MS)
  }
}

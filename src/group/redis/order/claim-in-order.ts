import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LAST_ERROR_FIELDS } from '../../last-error.ts'
import { LANES_FROM, LANES_TO, SUSPECTS_CONDITION, UNPLACED_CONDITION } from '../../ordering.ts'
import { claimPageScript } from '../scripts/claim-page.ts'
import { createGroupScript } from '../scripts/create-group.ts'
import { finishClaimerRunScript } from '../scripts/finish-claims.ts'
import { finishPollerRunScript } from '../scripts/finish-reads.ts'
import { measureBacklogScript, UNKNOWN_LAG } from '../scripts/measure.ts'
import type { LuaScript } from '../scripts/script.ts'
import { editedScript } from './edited.ts'
import { LUA_LANE_KEYS, LUA_LANES, SKIPS_LANES } from './lanes.ts'
import { LUA_LAST_DELIVERED, POLLER_NAMES } from './read-in-order.ts'
import { TAKES_LANES } from './take-of-lanes.ts'

const taking = new Map<LuaScript, LuaScript>()

/** As a script that takes what is set aside; only first members start, and whole lanes. KEYS end with state, the keys of lanes; ARGV with how many may come beside first members, below 0 none. */
export function takeInOrder(script: LuaScript): LuaScript {
  const known = taking.get(script) ?? editTake(script)
  taking.set(script, known)
  return known
}

function editTake(script: LuaScript): LuaScript {
  return editedScript(script, [
    SKIPS_LANES,
    [
      'local stream, lease, due, waiting, state, paused = unpack(KEYS, 1, 6)',
      `${LUA_LANE_KEYS}\nlocal ofLanes = tonumber(table.remove(ARGV))\nlocal stream, lease, due, waiting, state, paused = unpack(KEYS, 1, 6)`,
    ],
    ...TAKES_LANES,
    [
      'local ours, text = leaseAndPauses()\nif not ours then return 0 end',
      `${LUA_LANES}\nlocal ours, text = leaseAndPauses()\nif not ours then return 0 end`,
    ],
    [
      '  if not p then return false end\n  local condition = closedFor(id)',
      `  if not p then
    leave(id)
    return false
  end
  -- only the first of a lane starts
  local lane, isSuspect = laneOfEntry(id)
  local kept = not lane and '${UNPLACED_CONDITION}' or isSuspect and '${SUSPECTS_CONDITION}'
  local first = not kept and beside('HGET', lanes, lane)
  -- runs without order took what went before it
  if first == false and not kept then beside('HSET', lanes, lane, id)
  elseif not kept and first ~= id then kept = lane end
  if not kept and comesBefore(lane, id) then
    handOn(lane)
    kept = lane
  end
  if kept then
    if not refuses('ZADD', waiting, 0, member(kept, id, p[4])) then return false end
    passed = passed + 1
    return nil
  end
  local condition = closedFor(id)`,
    ],
    [
      "  redis.call('XACK', stream, group, id)\n  lost[#lost + 1] = id",
      "  redis.call('XACK', stream, group, id)\n  leave(id)\n  lost[#lost + 1] = id",
    ],
  ])
}

/**
 * As `claimPageScript`; first members whose process died come first. What lies under a poller's name is the next poller's to make members of, and only first members are claimed of
 * what other claimers left behind. KEYS end with state, the keys of lanes.
 */
export const claimPageInOrderScript = editedScript(claimPageScript, [
  SKIPS_LANES,
  [
    'local stream, due, waiting, state, paused, lease = unpack(KEYS)',
    `${LUA_LANE_KEYS}\nlocal stream, due, waiting, state, paused, lease = unpack(KEYS)`,
  ],
  [
    `if c[1] ~= '${PARKED_CONSUMER}' and not less(c[1], name) then`,
    `if c[1] ~= '${PARKED_CONSUMER}' and c[1]:sub(1, ${POLLER_NAMES.length}) ~= '${POLLER_NAMES}' and not less(c[1], name) then`,
  ],
  [
    '      rows = withoutDoubted(rows)',
    `      local firsts = {}
      for _, p in ipairs(rows) do
        local lane = laneOfEntry(p[1])
        if lane and beside('HGET', lanes, lane) == p[1] and not givesWay(p[1], saturated(p[4]), lane) then firsts[#firsts + 1] = p end
      end
      rows = firsts`,
  ],
  ['      lost[#lost + 1] = p[1]\n', '      leave(p[1])\n      lost[#lost + 1] = p[1]\n'],
  [
    'local function page()\n',
    `local function takeSuspects()
  local found = beside('ZRANGEBYLEX', waiting, '[${SUSPECTS_CONDITION}\\n', '(${SUSPECTS_CONDITION}\\11', 'LIMIT', 0, room) or {}
  for _, text in ipairs(found) do
    redis.call('ZREM', waiting, text)
    local _, id, count = parts(text)
    local p = id and madePending(id, count)
    local lane, isSuspect = laneOfEntry(id or '')
    if p and p[2] == '${PARKED_CONSUMER}' and isSuspect then
      count = saturated(p[4])
      if beside('HGET', lanes, lane) ~= id then beside('ZADD', waiting, 0, member(lane, id, count))
      elseif givesWay(id, count, lane) then
      elseif hand(consumer, id, count) then
        -- until its outcome is stored, a lost group makes it pending again
        beside('ZADD', due, running(count), id)
        out[#out + 1] = {id, '${POLLER_NAMES}0', p[3], num(count)}
      else
        redis.call('XACK', stream, group, id)
        leave(id)
        lost[#lost + 1] = id
      end
    end
  end
end
local function page()
  takeSuspects()
`,
  ],
  // below it the name less is that of names
  ['local out, lost = {}, {}\n', `local out, lost = {}, {}\n${LUA_LANES}\n`],
])

/** As `finishClaimerRunScript`; lanes are no conditions to be inspected. */
export const finishClaimsInOrderScript = editedScript(finishClaimerRunScript, [SKIPS_LANES])

/**
 * As `finishPollerRunScript`, but that nothing is handed back at a time: what is under the name is the next poller's to make members of. Where something is pending it notes to which id the group was read:
 * what is read beyond that was read without order.
 */
export const finishReadsInOrderScript = editedScript(finishPollerRunScript, [
  [
    "handBack(from, '+', 9)\n",
    `${LUA_LAST_DELIVERED}
if (redis.pcall('XPENDING', stream, group)[1] or 0) ~= 0 then redis.pcall('HSET', state, 'read', lastDelivered()) end
`,
  ],
])

/** As `measureBacklogScript`, which answers how many wait behind others as well. KEYS, after those: waiting. */
export const measureInOrderScript = editedScript(measureBacklogScript, [
  ['local stream, letters, state =', 'local waiting = table.remove(KEYS)\nlocal stream, letters, state ='],
  [
    'taken, since, parked}',
    `taken, since, parked, beside('ZLEXCOUNT', waiting, '[${LANES_FROM}', '(${LANES_TO}') or ${UNKNOWN_LAG}}`,
  ],
])

/** As `createGroupScript`; with a group that is made again all leases end, and the last errors of its last life are forgotten. KEYS, after those, the leases. */
export const createGroupInOrderScript = editedScript(createGroupScript, [
  [
    "beside('HDEL', state, 'cursor')",
    `beside('HDEL', state, 'cursor')
if lived then
  for n = 3, #KEYS do redis.pcall('GETDEL', KEYS[n]) end
  local at = '0'
  repeat
    local scan = redis.pcall('HSCAN', state, at, 'MATCH', '${LAST_ERROR_FIELDS}*', 'COUNT', 1000)
    if scan.err then break end
    at = scan[1]
    for i = 1, #scan[2], 2 do redis.pcall('HDEL', state, scan[2][i]) end
  until at == '0'
end`,
  ],
])

import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { ORDER_POLICY } from '../../ordering.ts'
import { SETTLE_SCRIPT_ANSWERS, settleEntriesScript } from '../scripts/settle.ts'
import { editedScript } from './edited.ts'
import { LUA_LANE_KEYS, LUA_LANES } from './lanes.ts'
import { WAITS_FOR_LETTERS } from './letters-in-order.ts'

/**
 * Settles as `settleEntriesScript` does, keeping order: what stays undone becomes a member of its lane, and what is pending no more leaves its own, in the same step. Acknowledgements
 * are behind the fence, too.
 *
 * KEYS, after those: state, the keys of lanes. ARGV, after those: for each entry whose lane its run knows the id and the lane, then how many, then 1 if keys wait after dead letters. For each entry there may
 * also be 'ack', id, count, 0; 'taken', id, count, 0 of one to be acknowledged that was taken from an index; or 'left', id, count, 0 of one that another call may have taken off, or set aside.
 */
export const settleInOrderScript = editedScript(settleEntriesScript, [
  ...WAITS_FOR_LETTERS,
  [
    'local stream, lease, due, waiting, letters, state = unpack(KEYS, 1, 6)',
    `${LUA_LANE_KEYS}
local laneFor, orderingKey = {}, nil
local waitsForLetters = table.remove(ARGV) == '1'
for _ = 1, tonumber(table.remove(ARGV)) do
  local lane = table.remove(ARGV)
  laneFor[table.remove(ARGV)] = lane
end
local stream, lease, due, waiting, letters, state = unpack(KEYS, 1, 6)`,
  ],
  [
    'local ours, written, out = leased(), 0, {}',
    `${LUA_LANES}
local ours, written, out = leased(), 0, {}
local hasLanes = (beside('HLEN', laneOf) or 1) > 0
local acked, hasTaken = {'XACK', stream, group}, false`,
  ],
  ["  beside('ZREM', due, id)\n  return status", "  beside('ZREM', due, id)\n  leave(id)\n  return status"],
  [
    "if condition == '' then isHere = aside(id, count, due, score(delay == '' and 0 or now + delay, count), id)",
    `if condition:sub(1, ${ORDER_POLICY.length + 1}) == '${ORDER_POLICY} ' then isHere = putInLane(id, count, due, score(now, count), id, laneFor[id])
  elseif condition == '' then isHere = putInLane(id, count, due, score(delay == '' and 0 or now + delay, count), id, laneFor[id])`,
  ],
  [
    'else isHere = aside(id, count, waiting, 0, member(condition, id, count)) end',
    'else isHere = putInLane(id, count, waiting, 0, member(condition, id, count), laneFor[id]) end',
  ],
  [`    aside(id, count, due, score(now + `, `    putInLane(id, count, due, score(now + `],
  [', count), id)\n    return added.err', ', count), id, laneFor[id])\n    return added.err'],
  [
    "  elseif op == 'aside' then out[n]",
    `  elseif (op == 'ack' or op == 'taken') and not hasLanes then
    acked[#acked + 1] = id
    hasTaken = hasTaken or op == 'taken'
    out[n] = ${SETTLE_SCRIPT_ANSWERS.done}
  elseif op == 'ack' or op == 'taken' then out[n] = ack(id, ${SETTLE_SCRIPT_ANSWERS.done})
  elseif op == 'aside' then out[n]`,
  ],
  [
    '  if not ours then out[n] =',
    `  if op == 'left' then
    local p = pendingEntry(id)
    if not p then leave(id)
    -- with memory full, what follows a write is not refused
    elseif p[2] == '${PARKED_CONSUMER}' and laneFor[id] and not laneOfEntry(id) and hand('${PARKED_CONSUMER}', id, saturated(p[4])) then place(id, saturated(p[4]), laneFor[id], false) end
    out[n] = ${SETTLE_SCRIPT_ANSWERS.done}
  elseif not ours then out[n] =`,
  ],
  [
    'table.insert(out, 1, trim())',
    `if #acked > 3 then redis.call(unpack(acked)) end
if hasTaken then beside('ZREM', due, unpack(acked, 4)) end
table.insert(out, 1, trim())`,
  ],
])

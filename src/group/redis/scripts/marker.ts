/** Whether a script that publishes an id once did it now, or found that it was done. */
export const ONCE_ANSWERS = { added: 1, duplicate: 2 } as const

/**
 * The marker of an event id says where its event is, and whose call that was: `<entry id> <nonce>`, or `<when it is due, in ms> <nonce>` while it is delayed. What
 * is no such text is absent.
 *
 * `placeIn(text)` is that place, and whether this call wrote it, so that it is sent again. `mark(place, call)` writes the marker for the window, with the nonce of the call that put the event there, and must never be refused:
 * memory is asked for by the first write of a script, which comes before it, and rights by `markRights`. Before 7.0 these cannot be asked for: `triedMarking()` is the
 * refusal, of commands that leave what they found. Not SET, so that whoever may mark can put an end to no stream.
 *
 * Needs marker, nonce, window, and LUA_TRIED.
 */
export const LUA_MARKER = `
local function placeIn(text)
  local place, by = (text or ''):match('^(%d+%-?%d*) (%S*)$')
  return place, place and nonce ~= '' and by == nonce
end
local function isWindow() return window:match('^[1-9]%d*$') and #window < 12 end
local markRights = {{'GET', marker}, {'SETNX', marker, ''}, {'GETEX', marker, 'PX', 1}, {'GETDEL', marker}}
local function triedMarking()
  return tried({{'GETDEL', marker}, {'GETEX', marker, 'PX', window}, {'SETNX', marker, ''}, {'GETDEL', marker}})
end
local function mark(place, call)
  redis.call('GETDEL', marker)
  redis.call('SETNX', marker, place .. ' ' .. call)
  redis.call('GETEX', marker, 'PX', window)
end
`

import type { LuaScript } from './script.ts'
import { GUARDED, takeBy } from './take.ts'

/** Of a condition that is followed by a line feed, a number, a space, and an id, or none: so many at most, of those behind that entry, and from the start once there is none. */
const LIMITED = `
local all = named
named = {}
for _, text in ipairs(all) do
  local condition, number, id = text:match('^(.-)\\n(%d+) (.*)$')
  if condition then
    local first, most = '[' .. condition .. '\\n', math.min(room, #found + number)
    -- ':' stands behind an id, and ';' comes next
    if isId(id) then takeWaiting(condition, first .. sortable(id) .. ';', most) end
    takeWaiting(condition, first, most)
  else named[#named + 1] = text end
end
`

/** As takeSetAsideScript; of a condition that LIMITED describes it takes the next entries only. Brought by the policies that ask for these. */
export const takeSomeScript: LuaScript = { keyCount: 6, lua: takeBy('', LIMITED) }

/** The same with guards of policies. */
export const takeSomeGuardedScript: LuaScript = { keyCount: undefined, lua: takeBy(GUARDED, LIMITED) }

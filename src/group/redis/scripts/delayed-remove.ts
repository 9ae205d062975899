import { MAX_PAGE_BYTES, UNREADABLE_SCORE } from './delayed-counts.ts'
import { LUA_DELAYED_PIECES, LUA_DROP_APART } from './delayed-pieces.ts'

/** `remove(found, key)` takes off what `find` found; a page of which many are taken off is joined with the next one. Needs LUA_CHANGE_DELAYED. */
export const LUA_REMOVE_DELAYED = `
${LUA_DELAYED_PIECES}
${LUA_DROP_APART}
local function remove(found, key)
  local score = redis.call('ZSCORE', delayed, found.page)
  local list, bytes = pageOf(found.page, score)
  local others = {}
  for _, event in ipairs(list) do
    if event.key ~= key then others[#others + 1] = event end
  end
  place(key, nil, found.page)
  total = math.max(0, total - 1)
  bytes = bytes - #found.body
  local two = #others > 0 and bytes < ${MAX_PAGE_BYTES / 4} and tonumber(score) < ${UNREADABLE_SCORE}
    and redis.call('ZRANGEBYSCORE', delayed, score, '(${UNREADABLE_SCORE}', 'WITHSCORES', 'LIMIT', 0, 2) or {}
  if two[1] == found.page and two[3] then
    local next, more = pageOf(two[3], two[4])
    if next and bytes + more < ${(MAX_PAGE_BYTES * 3) / 4} then
      for _, event in ipairs(next) do
        others[#others + 1] = event
        place(event.key, found.page, two[3])
      end
      writePage(two[3], {})
    end
  end
  writePage(found.page, others)
  pcall(dropApart, found.body)
end
`

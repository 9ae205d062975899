import { MAX_PAGE_BYTES, UNREADABLE_SCORE } from './delayed-counts.ts'

/** Events for each bucket of the index. */
const BUCKET_EVENTS = 24

/** `insert(due, key, body)` adds an event. `split(name, list)` moves the upper half of a full page to another one; where events come in order, pages are left full. Needs LUA_CHANGE_DELAYED. */
export const LUA_INSERT_DELAYED = `
local function addBucket()
  local size = 2
  while size <= buckets do size = size * 2 end
  local from = ('b%.0f'):format(buckets - size / 2)
  local bucket, parts = held(from), {[from] = ''}
  buckets = buckets + 1
  for at = 1, #bucket - 7, 8 do
    local a, b, c, d = bucket:byte(at, at + 3)
    local field = bucketField(((a * 256 + b) * 256 + c) * 256 + d)
    parts[field] = (parts[field] or '') .. bucket:sub(at, at + 7)
  end
  for field, part in pairs(parts) do put(field, part) end
end

local function split(name, list)
  table.sort(list, byDue)
  local lower, upper, size, bytes = {}, {}, 0, 0
  for _, event in ipairs(list) do bytes = bytes + #event.key + #event.body end
  for n, event in ipairs(list) do
    size = size + #event.key + #event.body
    local half = n > 1 and (size > bytes / 2 or n == #list) and upper or #upper > 0 and upper or lower
    half[#half + 1] = event
  end
  local other = newPage()
  writePage(name, lower)
  writePage(other, upper)
  for _, event in ipairs(upper) do place(event.key, other, name) end
end

local function insert(due, key, body)
  local above = redis.call('ZREVRANGEBYSCORE', delayed, ms(due), '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local isLowest = not above[1]
  if isLowest then above = redis.call('ZRANGEBYSCORE', delayed, '-inf', '(${UNREADABLE_SCORE}', 'WITHSCORES', 'LIMIT', 0, 1) end
  local name, score = above[1], timeOf(above[2] or 0)
  local text = name and redis.call('HGET', events, 'p' .. name)
  total = total + 1
  if total > buckets * ${BUCKET_EVENTS} then addBucket() end
  local isFull = text and #text + #key + #body + 10 > ${MAX_PAGE_BYTES}
  if text and not isFull and not isLowest then
    put('p' .. name, text .. eventText(due - score, key, body))
    return place(key, name)
  end
  local isRead, list = pcall(eventsIn, text or '', score)
  local isApart = not isRead or isFull and isLowest
  if isFull and not isApart and not redis.call('ZRANGEBYSCORE', delayed, '(' .. above[2], '(${UNREADABLE_SCORE}', 'LIMIT', 0, 1)[1] then
    isApart = true
    for _, other in ipairs(list) do isApart = isApart and other.due <= due end
  end
  if isApart then name, list, isFull = newPage(), {}, false end
  list[#list + 1] = {due = due, key = key, body = body}
  place(key, name)
  if isFull then split(name, list)
  else writePage(name, list) end
end
`

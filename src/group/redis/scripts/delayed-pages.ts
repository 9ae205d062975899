/** Bytes after which a page is split: with what Redis puts around a string, a size in which memory is given out. */
const MAX_PAGE_BYTES = 8_184

/** The field of `events` that has how many events are delayed, and how many pages and buckets there are. */
export const DELAYED_COUNTS_FIELD = '#'

/** Events for each bucket of the index. */
const BUCKET_EVENTS = 24

/**
 * How delayed events are kept: in pages of neighbours, since a member or field for each would take more memory than its event. `delayed` has the names of the pages, by when the first event of
 * each is due; `events` has `p<name>`, a page; `b<n>`, a bucket of the index by event id; `#`, how many events and pages there were, and how many buckets there are; and `''`, the stream.
 *
 * A page is its events one after the other: milliseconds after its score, key, length of the body, body. A key is `u` and 16 bytes for a UUID, or `t` and the id, which has its length in front here. Numbers are in
 * 7 bits a byte, the lowest first. A bucket has 4 bytes of the hash of each key, and 4 of its page. There is one bucket more for every BUCKET_EVENTS events: then one is divided
 * (linear hashing), so that each step reads one bucket and a page or two, however many events there are. A place in the index of which the page has no such event counts for nothing.
 *
 * `readCounts()` comes first; `find(key)` is `{page, due, body}`, or nil. Needs delayed, events.
 */
export const LUA_FIND_DELAYED = `
local function number(n)
  local bytes = ''
  while n > 127 do
    bytes, n = bytes .. string.char(n % 128 + 128), math.floor(n / 128)
  end
  return bytes .. string.char(n)
end
local function numberAt(text, at)
  local n, unit = 0, 1
  while true do
    local byte = text:byte(at)
    if not byte then error('cut off') end
    n, unit, at = n + byte % 128 * unit, unit * 128, at + 1
    if byte < 128 then return n, at end
  end
end
local function four(n) return string.char(math.floor(n / 16777216), math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256) end

local X = '%x%x%x%x'
local UUID = '^' .. X .. X .. ('%-' .. X):rep(4) .. X .. X .. '$'
local function keyOf(id)
  if not id:match(UUID) or id:find('%u') then return 't' .. id end
  local bytes = id:gsub('%-', ''):gsub('..', function(hex) return string.char(tonumber(hex, 16)) end)
  return 'u' .. bytes
end

-- anybody may have written it
local function timeOf(score) return math.max(-9000000000000000, math.floor(tonumber(score))) end

-- events of a page; an error if it cannot be read
local function eventsIn(text, score)
  local list, at, start = {}, 1, timeOf(score)
  while at <= #text do
    local after, from = numberAt(text, at)
    local kind, idBytes, idAt = text:sub(from, from), 16, from + 1
    if kind == 't' then idBytes, idAt = numberAt(text, idAt)
    elseif kind ~= 'u' then error('of another kind') end
    local length, first = numberAt(text, idAt + idBytes)
    at = first + length
    if at > #text + 1 then error('cut off') end
    list[#list + 1] = {due = start + after, key = kind .. text:sub(idAt, idAt + idBytes - 1), body = text:sub(first, at - 1)}
  end
  if #list == 0 then error('empty') end
  return list
end
local function pageOf(name, score)
  local text = redis.call('HGET', events, 'p' .. name)
  local isRead, list = pcall(eventsIn, text or '', score)
  return isRead and list or nil, text and #text or 0
end

local total, pages, buckets, counts = 0, 0, 1, ''
local function readCounts()
  counts = redis.call('HGET', events, '#') or ''
  local a, b, c = counts:match('^(%d+) (%d+) ([1-9]%d*)$')
  if a then total, pages, buckets = tonumber(a), tonumber(b), tonumber(c) end
end
local function bucketOf(hash)
  local size = 1
  while size < buckets do size = size * 2 end
  local n = hash % size
  return n < buckets and n or n - size / 2
end
local hashes = {}
local function hashOf(key)
  hashes[key] = hashes[key] or tonumber(redis.sha1hex(key):sub(1, 8), 16)
  return hashes[key]
end
local function bucketField(hash) return ('b%.0f'):format(bucketOf(hash)) end

local function find(key)
  local hash = hashOf(key)
  local bucket, start = redis.call('HGET', events, bucketField(hash)) or '', four(hash)
  for at = 1, #bucket - 7, 8 do
    if bucket:sub(at, at + 3) == start then
      local name = ('%02x%02x%02x%02x'):format(bucket:byte(at + 4, at + 7))
      local score = redis.call('ZSCORE', delayed, name)
      for _, event in ipairs(score and pageOf(name, score) or {}) do
        if event.key == key then return {page = name, due = event.due, body = event.body} end
      end
    end
  end
end
`

/**
 * Changes what `LUA_FIND_DELAYED` reads; `keepFlag` writes what it counts. `writePage(name, list)` has a page hold these events, or none; `place(key, page, was)` notes on which page an event is.
 * Needs ms.
 */
export const LUA_CHANGE_DELAYED = `
local function place(key, page, was)
  local hash = hashOf(key)
  local field, old = bucketField(hash), was and four(hash) .. four(tonumber(was, 16))
  local bucket = redis.call('HGET', events, field) or ''
  for at = 1, old and #bucket - 7 or 0, 8 do
    if bucket:sub(at, at + 7) == old then
      bucket = bucket:sub(1, at - 1) .. bucket:sub(at + 8)
      break
    end
  end
  if page then bucket = bucket .. four(hash) .. four(tonumber(page, 16)) end
  if bucket == '' then redis.call('HDEL', events, field)
  else redis.call('HSET', events, field, bucket) end
end

local function newPage()
  repeat
    pages = (pages + 1) % 4294967296
  until not redis.call('ZSCORE', delayed, ('%08x'):format(pages))
  return ('%08x'):format(pages)
end

local function eventText(after, key, body)
  local isText = key:sub(1, 1) == 't'
  return number(after) .. (isText and 't' .. number(#key - 1) .. key:sub(2) or key) .. number(#body) .. body
end

local function writePage(name, list)
  if #list == 0 then
    redis.call('ZREM', delayed, name)
    redis.call('HDEL', events, 'p' .. name)
    return
  end
  local first, parts = list[1].due, {}
  for _, event in ipairs(list) do first = math.min(first, event.due) end
  for _, event in ipairs(list) do
    parts[#parts + 1] = eventText(event.due - first, event.key, event.body)
  end
  redis.call('HSET', events, 'p' .. name, table.concat(parts))
  redis.call('ZADD', delayed, ms(first), name)
end

local function byDue(a, b) return a.due < b.due end
`

/** `insert(due, key, body)` adds an event. Needs LUA_CHANGE_DELAYED. */
export const LUA_INSERT_DELAYED = `
local function addBucket()
  local size = 2
  while size <= buckets do size = size * 2 end
  local from, parts = ('b%.0f'):format(buckets - size / 2), {}
  local bucket = redis.call('HGET', events, from) or ''
  buckets = buckets + 1
  for at = 1, #bucket - 7, 8 do
    local a, b, c, d = bucket:byte(at, at + 3)
    local field = bucketField(((a * 256 + b) * 256 + c) * 256 + d)
    parts[field] = (parts[field] or '') .. bucket:sub(at, at + 7)
  end
  if not parts[from] then redis.call('HDEL', events, from) end
  for field, part in pairs(parts) do redis.call('HSET', events, field, part) end
end

-- the upper half of a page, to another one
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
  if isLowest then above = redis.call('ZRANGEBYSCORE', delayed, '-inf', '(9000000000000000', 'WITHSCORES', 'LIMIT', 0, 1) end
  local name, score = above[1], timeOf(above[2] or 0)
  local text = name and redis.call('HGET', events, 'p' .. name)
  total = total + 1
  if total > buckets * ${BUCKET_EVENTS} then addBucket() end
  local isFull = text and #text + #key + #body + 10 > ${MAX_PAGE_BYTES}
  if text and not isFull and not isLowest then
    redis.call('HSET', events, 'p' .. name, text .. eventText(due - score, key, body))
    return place(key, name)
  end
  local isRead, list = pcall(eventsIn, text or '', score)
  local isApart = not isRead or isFull and isLowest
  -- where events come in order, pages are left full
  if isFull and not isApart and not redis.call('ZRANGEBYSCORE', delayed, '(' .. above[2], '(9000000000000000', 'LIMIT', 0, 1)[1] then
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

/** `remove(found, key)` takes off what `find` found. Needs LUA_CHANGE_DELAYED. */
export const LUA_REMOVE_DELAYED = `
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
  -- what many are taken off is joined with what comes next
  local two = #others > 0 and bytes < ${MAX_PAGE_BYTES / 4} and tonumber(score) < 9000000000000000
    and redis.call('ZRANGEBYSCORE', delayed, score, '(9000000000000000', 'WITHSCORES', 'LIMIT', 0, 2) or {}
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
end
`

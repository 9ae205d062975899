import { DELAYED_COUNTS_FIELD } from './delayed-counts.ts'

/**
 * How delayed events are kept: in pages of neighbours, since a member or field for each would take more memory than its event. `delayed` has the names of the pages, by when the first event of
 * each is due; `events` has `p<name>`, a page; `b<n>`, a bucket of the index by event id; `#`, how many events and pages there were, and how many buckets there are; and `''`, the stream.
 *
 * A page is its events one after the other: milliseconds after its score, key, length of the body, body. A key is `u` and 16 bytes for a UUID, or `t` and the id, which has its length in front here. Numbers are in
 * 7 bits a byte, the lowest first. A bucket has 4 bytes of the hash of each key, and 4 of its page. There is one bucket more for every 24 events: then one is divided
 * (linear hashing), so that each step reads one bucket and a page or two, however many events there are. A place in the index of which the page has no such event counts for nothing.
 *
 * `eventsIn(text, score)` are the events of a page, or an error: anybody may have written it, and its score.
 * `readCounts()` comes first; `find(key)` is `{page, due, body}`, or nil. Needs delayed, events.
 */
export const LUA_FIND_DELAYED = `
local function held(field) return redis.call('HGET', events, field) or '' end
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

local function timeOf(score) return math.max(-9e15, math.floor(tonumber(score))) end

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
  counts = held('${DELAYED_COUNTS_FIELD}')
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
  local bucket, start = held(bucketField(hash)), four(hash)
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
 * Changes what `LUA_FIND_DELAYED` reads; `put(field, text)` removes a field of which nothing is left; `keepFlag` writes what it counts. `writePage(name, list)` has a page hold these events, or none; `place(key, page, was)` notes on which page an event is.
 * Needs ms.
 */
export const LUA_CHANGE_DELAYED = `
local function put(field, text, ...)
  if text == '' then redis.call('HDEL', events, field)
  else redis.call('HSET', events, field, text, ...) end
end
local function place(key, page, was)
  local hash = hashOf(key)
  local field, old = bucketField(hash), was and four(hash) .. four(tonumber(was, 16))
  local bucket = held(field)
  for at = 1, old and #bucket - 7 or 0, 8 do
    if bucket:sub(at, at + 7) == old then
      bucket = bucket:sub(1, at - 1) .. bucket:sub(at + 8)
      break
    end
  end
  if page then bucket = bucket .. four(hash) .. four(tonumber(page, 16)) end
  put(field, bucket)
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
    return put('p' .. name, '')
  end
  local first, parts = list[1].due, {}
  for _, event in ipairs(list) do first = math.min(first, event.due) end
  for _, event in ipairs(list) do
    parts[#parts + 1] = eventText(event.due - first, event.key, event.body)
  end
  put('p' .. name, table.concat(parts))
  redis.call('ZADD', delayed, ms(first), name)
end

local function byDue(a, b) return a.due < b.due end
`

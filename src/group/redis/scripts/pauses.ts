/**
 * `pausesIn(text)` reads what is paused, from a string or false; what is unreadable is not paused. `isIn(pause, now)` says whether a pause is one and is not
 * over.
 */
export const PAUSES = `
local function pausesIn(text)
  local isRead, all = pcall(cjson.decode, text or '{}')
  return isRead and type(all) == 'table' and all or {}
end
local function isIn(pause, now)
  if type(pause) ~= 'table' then return false end
  local ends = pause['until']
  return ends == nil or type(ends) == 'number' and ends > now
end
`

/**
 * `leaseAndPauses()` says whether the slot is ours, and the text of what is paused or false, by one command. `pausedTypes` and `isAllPaused` are what of it
 * is not over; `seeing(answer)` adds the text and the server's time to an answer. Needs the locals lease, paused, token.
 */
export const SEES_PAUSES = `
${PAUSES}
local seenText, pausedTypes, isAllPaused, seenAt = false, {}, false, ''
local function leaseAndPauses()
  local seen = redis.call('MGET', lease, paused)
  return token == '' or seen[1] == token, seen[2]
end
local function see(text)
  if not text then return end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  seenText, seenAt = text, ('%.0f'):format(now)
  for name, pause in pairs(pausesIn(text)) do
    if isIn(pause, now) then pausedTypes[name] = true end
  end
  isAllPaused = pausedTypes['*'] == true
end
local function seeing(answer)
  answer[#answer + 1], answer[#answer + 2] = seenText, seenAt
  return answer
end
`

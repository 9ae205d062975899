/**
 * The fence of every script that changes an entry: `leased()` tells whether the slot is still ours (a slot without a lease has the token
 * `''`), `mine(id, count)` whether the entry is still pending under our name with the count we were given. A poller that was frozen, and
 * whose entry went to another under the same name, fails one of them.
 *
 * Needs the locals stream, lease, group, consumer, token.
 */
export const FENCE = `
local function leased() return token == '' or redis.call('GET', lease) == token end
local function mine(id, count)
  local p = redis.call('XPENDING', stream, group, id, id, 1, consumer)[1]
  return p and p[4] == tonumber(count)
end
`

/** Milliseconds since 1970 on the server's clock, as the local now. */
export const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

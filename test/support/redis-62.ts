import { Redis } from 'ioredis'
import { RedisReplyError } from '../../src/errors.ts'
import type { Connection } from '../../src/group/connection.ts'
import { createRedisConnection } from '../../src/group/redis/redis-connection.ts'
import type { RedisReply, Transport } from '../../src/group/redis/transport.ts'

/** The set of entry ids that count as trimmed. */
export const TRIMMED = 'trimmed'

/**
 * Stands before a script and answers what concerns trimmed entries as Redis 6.2 does: XAUTOCLAIM has two elements and, with JUSTID, names
 * such an id as if it were alive; XCLAIM and XAUTOCLAIM give null in place of the entry; neither purges it. The entries of the set
 * `trimmed` are still there in truth, so that the pending list, its owners and its counts are the server's own.
 */
export const LIKE_62 = `
local redis = (function(server)
  local function isTrimmed(id) return server.call('SISMEMBER', '${TRIMMED}', id) == 1 end
  local function withNulls(entries)
    for n, entry in ipairs(entries) do
      if type(entry) == 'table' and isTrimmed(entry[1]) then entries[n] = false end
    end
    return entries
  end
  local function withoutTrimmed(entries)
    local kept = {}
    for _, entry in ipairs(entries) do if not isTrimmed(entry[1]) then kept[#kept + 1] = entry end end
    return kept
  end
  local answers = {
    XAUTOCLAIM = function(reply) return {reply[1], withNulls(reply[2])} end,
    XCLAIM = withNulls,
    XRANGE = withoutTrimmed,
  }
  local function answer(name, reply)
    if type(reply) == 'table' and not reply.err and answers[name] then return answers[name](reply) end
    return reply
  end
  return {
    call = function(name, ...) return answer(name, server.call(name, ...)) end,
    pcall = function(name, ...) return answer(name, server.pcall(name, ...)) end,
    error_reply = server.error_reply,
    status_reply = server.status_reply,
    sha1hex = server.sha1hex,
  }
end)(redis)
`

/** A connection whose scripts see Redis 6.2. */
export function connectLike62(url: string): Connection {
  const client = new Redis(url, { protocol: 2 })
  client.on('error', () => {})
  const transport: Transport = {
    scriptPrefix: LIKE_62,
    async send(commands) {
      const pipeline = client.pipeline()
      for (const [name, ...args] of commands) pipeline.callBuffer(name, args)
      const results = (await pipeline.exec()) ?? []
      return results.map(([error, reply]) => (error ? new RedisReplyError(error.message) : (reply as RedisReply)))
    },
    async close() {
      client.disconnect()
    },
  }
  return createRedisConnection(transport)
}

import { RedisReplyError } from '../errors.ts'
import type { Transport } from './clients/transport.ts'
import { asText } from './commands/reply.ts'
import { xadd } from './commands/xadd.ts'
import type { Connection } from './group.ts'
import { RedisGroup } from './redis-group.ts'
import { Sender } from './sender.ts'

/** A connection over any transport; what `connectIoredis` and `connectUpstash` give. */
export function createRedisConnection(transport: Transport): Connection {
  const lived = new Set<string>()
  return {
    group: (address, remainingMs) => new RedisGroup(address, new Sender(transport, remainingMs), lived),
    async append(stream, entries, trim) {
      const replies = await transport.send(entries.map((fields) => xadd(stream, fields, trim)))
      return replies.map((reply) => (reply instanceof RedisReplyError ? reply : asText(reply)))
    },
    close: () => transport.close(),
  }
}

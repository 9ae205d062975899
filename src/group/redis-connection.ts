import { cannot } from '../core/options.ts'
import { RedisReplyError } from '../errors.ts'
import { steady } from './clients/steady.ts'
import type { Reply, Transport } from './clients/transport.ts'
import { get } from './commands/get.ts'
import { asText } from './commands/reply.ts'
import { setOnce } from './commands/set.ts'
import { xadd } from './commands/xadd.ts'
import type { Connection } from './group.ts'
import { assertConnection } from './group.ts'
import { RedisCalls } from './redis-calls.ts'
import { RedisGroup } from './redis-group.ts'
import { Sender } from './sender.ts'

/** A connection to a server, which can be sent any call. */
interface RedisConnection extends Connection {
  readonly transport: Transport
}

/** A connection over any transport; what `connectIoredis` and `connectUpstash` give. */
export function createRedisConnection(client: Transport): RedisConnection {
  const transport = steady(client)
  const lived = new Set<string>()
  return {
    transport,
    group: (address, remainingMs) => new RedisGroup(new RedisCalls(address, new Sender(transport, remainingMs), lived)),
    async append(stream, entries, trim, flags = []) {
      const appends = entries.map((fields) => xadd(stream, fields, trim))
      // a SET whose reply was lost is sent again, and refused then: the flag's value says whose it is
      const token = crypto.randomUUID()
      const raises = flags.flatMap(({ key, windowMs }) => [setOnce(key, token, windowMs), get(key)])
      const replies = await new Sender(transport).send([...appends, ...raises])
      return {
        answers: replies.slice(0, entries.length).map((reply) => errorOr(reply, asText)),
        raised: flags.map((_flag, n) => {
          const [set = null, holder = null] = replies.slice(entries.length + 2 * n)
          return errorOr(set, (answer) => answer !== null || asText(holder) === token)
        }),
      }
    },
    close: () => transport.close(),
  }
}

function errorOr<T>(reply: Reply, read: (reply: Reply) => T): T | Error {
  return reply instanceof RedisReplyError ? reply : read(reply)
}

/**
 * What sends an operator's calls over a connection.
 *
 * @param remainingMs Milliseconds in which an answer is still of use. Default: no end.
 * @throws {TypeError} Not a connection to a server.
 */
export function senderOf(action: string, redis: Connection, remainingMs?: () => number): Sender {
  assertConnection(action, redis)
  const { transport } = redis as Partial<RedisConnection>
  if (transport) return new Sender(transport, remainingMs)
  throw cannot(action, 'redis must be a connection to a server, as from connectIoredis(url)')
}

import { cannot } from '../../core/options.ts'
import type { Connection } from '../group.ts'
import { assertConnection } from '../group.ts'
import { RedisCalls } from './redis-calls.ts'
import type { ReadSize } from './redis-group.ts'
import { RedisGroup } from './redis-group.ts'
import { resendRefused } from './resend-refused.ts'
import { Sender } from './sender.ts'
import type { SignIn, Transport } from './transport.ts'

/** A connection to a server, which can be sent any call. */
interface RedisConnection extends Connection {
  readonly transport: Transport
}

/** What a service takes less of than a server would. */
type ConnectionLimits = Pick<Connection, 'maxPendingPerName'>

/** A connection over any transport; what `connectIoredis` and `connectUpstash` give. */
export function createRedisConnection(client: Transport, limits: ConnectionLimits = {}): RedisConnection {
  const transport = resendRefused(client)
  const lived = new Set<string>()
  const size: ReadSize = { mostEntries: Infinity }
  return {
    ...limits,
    transport,
    group: (address, remainingMs) =>
      new RedisGroup(new RedisCalls(address, new Sender(transport, remainingMs), lived), size),
    close: () => transport.close(),
  }
}

/** How the connections log in; `undefined`: it is not known. */
export function signInOf(redis: Connection): SignIn | undefined {
  return (redis as Partial<RedisConnection>).transport?.signIn?.()
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

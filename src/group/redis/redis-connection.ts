import { wrongUseError } from '../../core/options.ts'
import type { Connection } from '../connection.ts'
import { assertConnection } from '../connection.ts'
import type { ReadLimits } from './redis-group.ts'
import { RedisGroup } from './redis-group.ts'
import { RedisGroupCalls } from './redis-group-calls.ts'
import { resendRefused } from './resend-refused.ts'
import { CallSender } from './sender.ts'
import type { SignIn, Transport } from './transport.ts'
import { WaitingTransports } from './waiting-transports.ts'

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
  const size: ReadLimits = { mostEntries: Infinity }
  const waiting = new WaitingTransports(transport)
  return {
    ...limits,
    transport,
    group: (address, remainingMs) =>
      new RedisGroup(new RedisGroupCalls(address, new CallSender(transport, remainingMs), lived), size, waiting),
    async close() {
      await Promise.all([transport.close(), waiting.close()])
    },
  }
}

/** How the connections log in; `undefined`: it is not known. */
export function connectionSignIn(redis: Connection): SignIn | undefined {
  return (redis as Partial<RedisConnection>).transport?.signIn?.()
}

/**
 * What sends an operator's calls over a connection.
 *
 * @param remainingMs Milliseconds in which an answer is still of use. Default: no end.
 * @throws {TypeError} Not a connection to a server.
 */
export function createOperatorSender(action: string, redis: Connection, remainingMs?: () => number): CallSender {
  assertConnection(action, redis)
  const { transport } = redis as Partial<RedisConnection>
  if (transport) return new CallSender(transport, remainingMs)
  throw wrongUseError(action, 'redis must be a connection to a server, as from connectIoredis(url)')
}

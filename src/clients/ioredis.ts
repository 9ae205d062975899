import { assertObject, wrongUseError } from '../core/options.ts'
import type { Connection } from '../group/connection.ts'
import { createRedisConnection } from '../group/redis/redis-connection.ts'
import { DEFAULT_REPLY_TIMEOUT_MS } from '../group/redis/transport.ts'
import type { ClientFactory } from './held-client.ts'
import { ClientHolder } from './held-client.ts'
import { checkUrlOptions } from './ioredis-options.ts'
import { IoredisTransport } from './ioredis-transport.ts'
import type { IoredisOptions } from './own-options.ts'
import { parseRedisUrl } from './url.ts'
import { createUrlClients } from './url-clients.ts'

export type { IoredisClient, IoredisPipeline } from './ioredis-client.ts'
export type { IoredisOptions } from './own-options.ts'

const ACTION = 'connect with ioredis'

/** Of a command, with a URL: milliseconds. */
const COMMAND_TIMEOUT_MS = 5_000

/**
 * Connects over TCP with ioredis, when the first command is sent. Make one at module scope and share it: it lasts as long as the execution
 * environment. A client that got no answer, whose login was refused, or whose server became a replica, is thrown away and made anew.
 *
 * @param target A URL (`redis://user:password@host:port/database`, `rediss://` for TLS, `redis+sentinel://` for
 * sentinels, `unix://` or the path of a socket), or a function that makes an ioredis client of your own: `Redis` or `Cluster`, version 5 or 6; it may be asynchronous. It is called again when its client was
 * thrown away, and must make a new one each time.
 * @param options ioredis options over the ones chosen for Lambda; only with a URL. `commandTimeout` is 5,000 ms.
 * @throws {TypeError} Not a URL of a Redis, or an option that is unknown or refused. No message shows any part of the URL.
 */
export function connectIoredis(target: string | ClientFactory, options?: IoredisOptions): Connection {
  if (typeof target === 'function') {
    if (options) throw wrongUseError(ACTION, 'options go with a URL, not with a factory')
    return createRedisConnection(new IoredisTransport(new ClientHolder(target, false), DEFAULT_REPLY_TIMEOUT_MS))
  }
  const address = parseRedisUrl(ACTION, target)
  const given = options ?? {}
  assertObject(ACTION, 'options', given)
  checkUrlOptions(ACTION, given, address.sentinel !== undefined)
  const { commandTimeout = COMMAND_TIMEOUT_MS, keyPrefix = '' } = given
  const clients = createUrlClients(address, given)
  const holder = new ClientHolder(() => clients.make(), true)
  return createRedisConnection(new IoredisTransport(holder, commandTimeout, keyPrefix, clients))
}

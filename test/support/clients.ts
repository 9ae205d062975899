import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'

const LIMIT = { commandTimeout: 5_000 }

/** How scenarios connect, by name: over each client and protocol that TCP has. */
const CLIENTS: Readonly<Record<string, (url: string) => Connection>> = {
  'a URL': (url) => connectIoredis(url),
  'ioredis 5': (url) => connectIoredis(() => new Redis5(url, LIMIT) as never),
  RESP3: (url) => connectIoredis(() => new Redis(url, { ...LIMIT, protocol: 3, replyMapping: 'resp3' })),
}

/**
 * Connects over the client that MILLRACE_CLIENT names. Default: by the URL.
 *
 * @throws {Error} There is no client of that name.
 */
export function connectByName(url: string, name = process.env.MILLRACE_CLIENT ?? 'a URL'): Connection {
  const connect = CLIENTS[name]
  if (connect) return connect(url)
  throw new Error(`MILLRACE_CLIENT must be one of ${Object.keys(CLIENTS).join(', ')}, got ${name}`)
}

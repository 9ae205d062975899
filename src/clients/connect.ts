import type { Connection } from '../group/connection.ts'
import { connectIoredis } from './ioredis.ts'
import { parseServerUrl } from './rest-url.ts'
import { connectUpstash } from './upstash.ts'

/**
 * Connects by URL: `redis://` and `rediss://` over TCP with ioredis, `https://:<token>@<host>` over REST with @upstash/redis. Carries both
 * clients into a bundle; import one of theirs instead where that matters.
 *
 * @throws {TypeError} Not the URL of a Redis, or a REST URL without its token. No message shows any part of it.
 */
export function connect(url: string): Connection {
  const address = parseServerUrl('connect', url)
  return address.kind === 'rest' ? connectUpstash({ url: address.url, token: address.token }) : connectIoredis(url)
}

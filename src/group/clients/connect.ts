import type { Connection } from '../group.ts'
import { connectIoredis } from './ioredis.ts'
import { connectUpstash } from './upstash.ts'

/**
 * Connects by URL: `redis://` and `rediss://` over TCP with ioredis, `https://:<token>@<host>` over REST with @upstash/redis. Carries both
 * clients into a bundle; import one of theirs instead where that matters.
 *
 * @throws {TypeError} Another kind of URL, or a REST URL without its token. The message does not show it.
 */
export function connect(url: string): Connection {
  if (!/^https?:\/\//.test(url)) return connectIoredis(url)
  const parsed = new URL(url)
  const token = decodeURIComponent(parsed.password || parsed.username)
  if (!token)
    throw new TypeError('Cannot connect over REST: the URL must carry its token, as in https://:<token>@<host>')
  return connectUpstash({ url: parsed.origin + parsed.pathname.replace(/\/$/, ''), token })
}

import { cannot } from '../core/options.ts'
import type { Primary } from './connector.ts'
import type { IoredisOptions } from './own-options.ts'
import { passwordOf, tlsOption } from './own-options.ts'
import { findPrimary } from './sentinels.ts'
import type { RedisAddress, SentinelAddress } from './url.ts'

/**
 * What finds the primary of a sentinels' URL. `rediss+sentinel://` speaks TLS to servers and sentinels alike, by `tls` unless `sentinelTLS` says
 * otherwise; `enableTLSForSentinelMode` says it only for the servers, as in ioredis.
 *
 * @throws {TypeError} An option is of another type, or contradicts another.
 */
export function sentinelsOf(
  action: string,
  address: RedisAddress,
  sentinel: SentinelAddress,
  options: IoredisOptions,
  connectTimeoutMs: number,
): () => Promise<Primary> {
  const { tls, sentinelUsername = sentinel.username, enableTLSForSentinelMode, failoverDetector = true } = options
  if (enableTLSForSentinelMode === false && tls && !address.tls)
    throw cannot(action, 'options tls and enableTLSForSentinelMode: false contradict each other')
  if (sentinelUsername && sentinel.password === undefined && !('sentinelPassword' in options))
    throw cannot(action, 'sentinelUsername needs a sentinelPassword')
  const target = {
    hosts: address.hosts,
    name: sentinel.name,
    tls: tlsOption(action, 'sentinelTLS', options.sentinelTLS) ?? (address.tls ? (tls ?? {}) : undefined),
    username: sentinelUsername || undefined,
    password: passwordOf(action, () => options.sentinelPassword ?? sentinel.password),
    family: options.family,
    connectTimeoutMs,
    isWatched: failoverDetector,
  }
  return () => findPrimary(target)
}

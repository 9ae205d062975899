import { wrongUseError } from '../core/options.ts'
import type { SentinelPrimary } from './connector.ts'
import type { IoredisOptions } from './own-options.ts'
import { checkedTls, createPasswordGetter } from './own-options.ts'
import { findPrimary } from './sentinels.ts'
import type { RedisAddress, SentinelAddress } from './url.ts'

/**
 * What finds the primary of a sentinels' URL. `rediss+sentinel://` speaks TLS to servers and sentinels alike, by `tls` unless `sentinelTLS` says
 * otherwise; `enableTLSForSentinelMode` says it only for the servers, as in ioredis.
 *
 * @throws {TypeError} An option is of another type, or contradicts another.
 */
export function createPrimaryFinder(
  action: string,
  address: RedisAddress,
  sentinel: SentinelAddress,
  options: IoredisOptions,
  connectTimeoutMs: number,
): () => Promise<SentinelPrimary> {
  const { tls, sentinelUsername = sentinel.username, enableTLSForSentinelMode, failoverDetector = true } = options
  if (enableTLSForSentinelMode === false && tls && !address.tls)
    throw wrongUseError(action, 'options tls and enableTLSForSentinelMode: false contradict each other')
  if (sentinelUsername && sentinel.password === undefined && !('sentinelPassword' in options))
    throw wrongUseError(action, 'sentinelUsername needs a sentinelPassword')
  const target = {
    hosts: address.hosts,
    name: sentinel.name,
    tls: checkedTls(action, 'sentinelTLS', options.sentinelTLS) ?? (address.tls ? (tls ?? {}) : undefined),
    username: sentinelUsername || undefined,
    password: createPasswordGetter(action, () => options.sentinelPassword ?? sentinel.password),
    family: options.family,
    connectTimeoutMs,
    isWatched: failoverDetector,
  }
  return () => findPrimary(target)
}

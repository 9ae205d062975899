import { MAKES_PASSWORD } from '../core/renewed-password.ts'
import type { SignIn } from '../group/redis/transport.ts'
import type { ClientOptions } from './ioredis-options.ts'
import { isRecord } from './ioredis-options.ts'

/** How a factory's client logs in, by its options; `undefined`: there is no client yet. */
export function signInOf(options: ClientOptions | undefined): SignIn | undefined {
  if (options === undefined) return undefined
  const { redisOptions } = options
  if (isRecord(redisOptions)) return signInOf(redisOptions)
  return { byIam: isByIam(options), tls: Boolean(options.tls) }
}

/** Whether the options are those of `iamAuth`. */
export function isByIam({ retryStrategy }: ClientOptions): boolean {
  return typeof retryStrategy === 'function' && MAKES_PASSWORD in retryStrategy
}

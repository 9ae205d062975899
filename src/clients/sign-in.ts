import { PASSWORD_MAKER } from '../core/renewed-password.ts'
import type { SignIn } from '../group/redis/transport.ts'
import type { ClientOptions } from './ioredis-options.ts'
import { isOptionsObject } from './ioredis-options.ts'

/** How a factory's client logs in, by its options; `undefined`: there is no client yet. */
export function signInFromOptions(options: ClientOptions | undefined): SignIn | undefined {
  if (options === undefined) return undefined
  const { redisOptions } = options
  if (isOptionsObject(redisOptions)) return signInFromOptions(redisOptions)
  return { byIam: isIamSignIn(options), tls: Boolean(options.tls) }
}

/** Whether the options are those of `iamAuth`. */
export function isIamSignIn({ retryStrategy }: ClientOptions): boolean {
  return typeof retryStrategy === 'function' && PASSWORD_MAKER in retryStrategy
}

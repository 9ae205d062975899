import type { RedisConfigNodejs } from '@upstash/redis'
import type { ClusterOptions, RedisOptions } from 'ioredis'
import type { ClusterOptions as ClusterOptions5, RedisOptions as RedisOptions5 } from 'ioredis5'
import type { IOREDIS_OPTIONS } from '../../src/group/clients/ioredis-options.ts'
import type { UPSTASH_OPTIONS } from '../../src/group/clients/upstash.ts'

/** Options of the clients that no table says the effect of: none. */
type Unjudged =
  | Exclude<keyof RedisOptions | keyof ClusterOptions, keyof typeof IOREDIS_OPTIONS>
  | Exclude<keyof RedisOptions5 | keyof ClusterOptions5, keyof typeof IOREDIS_OPTIONS>
  | Exclude<keyof RedisConfigNodejs, keyof typeof UPSTASH_OPTIONS>

type None<T extends never> = T
export type NoneIsUnjudged = None<Unjudged>

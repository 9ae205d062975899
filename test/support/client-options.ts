import type { RedisConfigNodejs } from '@upstash/redis'
import type { ClusterOptions, RedisOptions } from 'ioredis'
import type { ClusterOptions as ClusterOptions5, RedisOptions as RedisOptions5 } from 'ioredis5'

/** What an option does to us: nothing; nothing since it is set or undone here; or that it is refused, by its name. */
type Effect = 'harmless' | 'neutralised' | 'refused'

type OptionName = keyof RedisOptions | keyof ClusterOptions | keyof RedisOptions5 | keyof ClusterOptions5

const IN_URL = 'refused'
const IN_FACTORY = 'refused'
const PRIMARY = 'refused'

/**
 * Every option of ioredis 5 and 6, of `Redis` and of `Cluster`: with a URL, and of a client that a factory made. A key that is not here does
 * not compile, for either version.
 */
export const IOREDIS_OPTIONS = {
  // where to, and as whom
  host: [IN_URL, 'harmless'],
  port: [IN_URL, 'harmless'],
  path: [IN_URL, 'harmless'],
  family: ['harmless', 'harmless'],
  tls: ['harmless', 'harmless'],
  username: ['harmless', 'harmless'],
  password: ['harmless', 'harmless'],
  db: ['harmless', 'neutralised'],
  connectionName: ['harmless', 'harmless'],
  disableClientInfo: ['harmless', 'harmless'],
  clientInfoTag: ['harmless', 'harmless'],
  Connector: [IN_FACTORY, 'harmless'],
  // how long, how often
  retryStrategy: ['harmless', 'harmless'],
  reconnectOnError: ['neutralised', 'neutralised'],
  maxRetriesPerRequest: ['harmless', 'harmless'],
  maxLoadingRetryTime: ['harmless', 'harmless'],
  commandTimeout: ['neutralised', 'harmless'],
  blockingTimeout: ['harmless', 'harmless'],
  blockingTimeoutGrace: ['harmless', 'harmless'],
  socketTimeout: ['harmless', 'harmless'],
  connectTimeout: ['harmless', 'harmless'],
  disconnectTimeout: ['harmless', 'harmless'],
  keepAlive: ['harmless', 'harmless'],
  noDelay: ['harmless', 'harmless'],
  lazyConnect: ['neutralised', 'harmless'],
  enableReadyCheck: ['harmless', 'neutralised'],
  enableOfflineQueue: ['neutralised', 'neutralised'],
  offlineQueue: ['harmless', 'harmless'],
  commandQueue: ['harmless', 'harmless'],
  autoResendUnfulfilledCommands: ['harmless', 'harmless'],
  autoResubscribe: ['harmless', 'harmless'],
  enableAutoPipelining: ['harmless', 'harmless'],
  autoPipeliningIgnoredCommands: ['harmless', 'harmless'],
  // what is sent and answered
  keyPrefix: ['neutralised', 'neutralised'],
  stringNumbers: ['neutralised', 'neutralised'],
  protocol: ['harmless', 'harmless'],
  replyMapping: ['neutralised', 'neutralised'],
  showFriendlyErrorStack: ['harmless', 'harmless'],
  scripts: [IN_FACTORY, 'harmless'],
  himportFieldsets: [IN_FACTORY, 'harmless'],
  monitor: ['refused', 'refused'],
  readOnly: [PRIMARY, PRIMARY],
  // sentinels
  sentinels: [IN_FACTORY, 'harmless'],
  name: [IN_FACTORY, 'harmless'],
  role: [IN_FACTORY, PRIMARY],
  preferredSlaves: [IN_FACTORY, 'harmless'],
  sentinelUsername: [IN_FACTORY, 'harmless'],
  sentinelPassword: [IN_FACTORY, 'harmless'],
  sentinelRetryStrategy: [IN_FACTORY, 'harmless'],
  sentinelReconnectStrategy: [IN_FACTORY, 'harmless'],
  sentinelCommandTimeout: [IN_FACTORY, 'harmless'],
  sentinelMaxConnections: [IN_FACTORY, 'harmless'],
  sentinelTLS: [IN_FACTORY, 'harmless'],
  enableTLSForSentinelMode: [IN_FACTORY, 'harmless'],
  updateSentinels: [IN_FACTORY, 'harmless'],
  failoverDetector: [IN_FACTORY, 'harmless'],
  natMap: [IN_FACTORY, 'harmless'],
  // clusters
  redisOptions: [IN_FACTORY, 'harmless'],
  clusterRetryStrategy: [IN_FACTORY, 'harmless'],
  clusterNodeRetryStrategy: [IN_FACTORY, 'harmless'],
  scaleReads: [IN_FACTORY, PRIMARY],
  maxRedirections: [IN_FACTORY, 'harmless'],
  retryDelayOnFailover: [IN_FACTORY, 'harmless'],
  retryDelayOnClusterDown: [IN_FACTORY, 'harmless'],
  retryDelayOnTryAgain: [IN_FACTORY, 'harmless'],
  retryDelayOnMoved: [IN_FACTORY, 'harmless'],
  slotsRefreshTimeout: [IN_FACTORY, 'harmless'],
  slotsRefreshInterval: [IN_FACTORY, 'harmless'],
  shardedSubscribers: [IN_FACTORY, 'harmless'],
  useSRVRecords: [IN_FACTORY, 'harmless'],
  resolveSrv: [IN_FACTORY, 'harmless'],
  dnsLookup: [IN_FACTORY, 'harmless'],
} as const satisfies Readonly<Record<OptionName, readonly [withUrl: Effect, ofFactory: Effect]>>

/**
 * Every option of a client of @upstash/redis that a factory makes. Commands go only by its request function, past what its own commands do to
 * arguments and replies.
 */
export const UPSTASH_OPTIONS = {
  url: 'harmless',
  token: 'harmless',
  agent: 'harmless',
  keepAlive: 'harmless',
  cache: 'harmless',
  retry: 'harmless',
  readYourWrites: 'harmless',
  latencyLogging: 'harmless',
  enableTelemetry: 'harmless',
  signal: 'neutralised',
  automaticDeserialization: 'neutralised',
  enableAutoPipelining: 'neutralised',
  responseEncoding: 'refused',
} as const satisfies Readonly<Record<keyof RedisConfigNodejs, Effect>>

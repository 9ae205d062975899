import type { ClusterOptions, RedisOptions } from 'ioredis'
import { cannot } from '../../core/options.ts'

/** What an option does to us: nothing; nothing since it is set or undone here; or why it is refused. */
type Effect = 'harmless' | 'neutralised' | `refused: ${string}`

type OptionName = keyof RedisOptions | keyof ClusterOptions

const IN_URL = 'refused: the URL says it'
const IN_FACTORY = 'refused: make the client by a factory, connectIoredis(() => new Redis({ … }))'
const PRIMARY = 'refused: only a primary takes part, also to read'

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
  reconnectOnError: ['harmless', 'harmless'],
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
  scripts: ['harmless', 'harmless'],
  himportFieldsets: ['harmless', 'harmless'],
  monitor: ['refused: a monitoring client sends no commands', 'refused: a monitoring client sends no commands'],
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

/** What of a factory's client is read; an option with one of these values is as good as left out. */
export type ClientOptions = Readonly<Record<string, unknown>>

const HARMLESS_VALUES: ClientOptions = { role: 'master', scaleReads: 'master', readOnly: false, monitor: false }

/** @throws {TypeError} An option that is not known, or refused: its name and why. */
export function checkUrlOptions(action: string, options: object): void {
  for (const [name, value] of Object.entries(Object.getOwnPropertyDescriptors(options))) {
    if (!Object.hasOwn(IOREDIS_OPTIONS, name)) throw cannot(action, `unknown option ${JSON.stringify(name)}`)
    // a getter, as of a password that changes, is not read before it is needed
    if (value.get === undefined) refuse(action, name, value.value, 0)
  }
}

/** @throws {TypeError} The client of a factory has an option that is refused: its name and why. */
export function checkClientOptions(action: string, options: ClientOptions): void {
  for (const [name, value] of Object.entries(options)) refuse(action, name, value, 1)
  const { redisOptions } = options
  if (isRecord(redisOptions)) checkClientOptions(action, redisOptions)
}

function refuse(action: string, name: string, value: unknown, column: 0 | 1): void {
  if (value === undefined || value === null || HARMLESS_VALUES[name] === value) return
  const effect: Effect = IOREDIS_OPTIONS[name as OptionName]?.[column] ?? 'harmless'
  if (effect.startsWith('refused')) throw cannot(action, `option ${name} is ${effect}`)
}

export function isRecord(value: unknown): value is ClientOptions {
  return typeof value === 'object' && value !== null
}

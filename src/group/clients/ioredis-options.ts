import { cannot } from '../../core/options.ts'

/** Options that are refused, by why; every option that is not here is harmless, or is set or undone where a client is made or used. */
type Refusals = Readonly<Record<string, string>>

const MONITOR = { 'a monitoring client sends no commands': 'monitor' }
const REPLICA = { 'only a primary takes part, also to read': 'readOnly role scaleReads' }

const WITH_URL: Refusals = {
  'the URL says it': 'host port path',
  'it is for a factory, connectIoredis(() => new Redis({ … }))':
    'Connector sentinels name preferredSlaves sentinelUsername sentinelPassword sentinelRetryStrategy sentinelReconnectStrategy ' +
    'sentinelCommandTimeout sentinelMaxConnections sentinelTLS enableTLSForSentinelMode updateSentinels failoverDetector natMap redisOptions ' +
    'clusterRetryStrategy clusterNodeRetryStrategy maxRedirections retryDelayOnFailover retryDelayOnClusterDown retryDelayOnTryAgain ' +
    'retryDelayOnMoved slotsRefreshTimeout slotsRefreshInterval shardedSubscribers useSRVRecords resolveSrv dnsLookup',
  ...MONITOR,
  ...REPLICA,
}

const OF_FACTORY: Refusals = { ...MONITOR, ...REPLICA }

/** What of a factory's client is read; an option with one of these values is as good as left out. */
export type ClientOptions = Readonly<Record<string, unknown>>

const HARMLESS_VALUES: ClientOptions = { role: 'master', scaleReads: 'master', readOnly: false, monitor: false }

/** @throws {TypeError} An option is refused: its name and why. */
export function checkUrlOptions(action: string, options: object): void {
  for (const [name, own] of Object.entries(Object.getOwnPropertyDescriptors(options))) {
    // a getter, as of a password that changes, is not read before it is needed
    if (own.get === undefined) refuse(action, WITH_URL, name, own.value)
  }
}

/** @throws {TypeError} The client of a factory has an option that is refused: its name and why. */
export function checkClientOptions(action: string, options: ClientOptions): void {
  for (const [name, value] of Object.entries(options)) refuse(action, OF_FACTORY, name, value)
  const { redisOptions } = options
  if (isRecord(redisOptions)) checkClientOptions(action, redisOptions)
}

function refuse(action: string, refusals: Refusals, name: string, value: unknown): void {
  if (value === undefined || value === null || HARMLESS_VALUES[name] === value) return
  const [why] = Object.entries(refusals).find(([, names]) => names.split(' ').includes(name)) ?? []
  if (why !== undefined) throw cannot(action, `option ${name} is refused: ${why}`)
}

export function isRecord(value: unknown): value is ClientOptions {
  return typeof value === 'object' && value !== null
}

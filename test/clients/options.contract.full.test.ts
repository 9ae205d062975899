import { Redis as Upstash } from '@upstash/redis'
import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectIoredis } from '../../src/clients/ioredis.ts'
import { connectUpstash } from '../../src/clients/upstash.ts'
import type { Connection } from '../../src/group/connection.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { describeGroup } from '../group/group.contract.ts'
import { openRedis } from '../group/redis/redis-outside.ts'
import { IOREDIS_OPTIONS, UPSTASH_OPTIONS } from '../support/client-options.ts'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'
import { type RestServer, startRestServer } from '../support/rest-server.ts'

/** Options that change replies or what is sent, each as far from its default as it goes. */
const NEUTRALISED = {
  stringNumbers: true,
  replyMapping: 'resp3',
  enableOfflineQueue: false,
  enableReadyCheck: false,
  lazyConnect: true,
  showFriendlyErrorStack: true,
  reconnectOnError: () => 2 as const,
}

/** Options that are left as they are, each as far from its default as it goes. */
const HARMLESS = {
  family: 4,
  connectionName: 'application',
  disableClientInfo: true,
  clientInfoTag: 'tag',
  maxRetriesPerRequest: null,
  maxLoadingRetryTime: 1,
  commandTimeout: 5_000,
  blockingTimeout: 1_000,
  blockingTimeoutGrace: 1_000,
  socketTimeout: 5_000,
  connectTimeout: 5_000,
  disconnectTimeout: 100,
  keepAlive: 1,
  noDelay: false,
  retryStrategy: () => 1,
  offlineQueue: true,
  commandQueue: true,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: true,
  autoPipeliningIgnoredCommands: ['ping'],
  protocol: 3,
  scripts: { xadd2: { lua: 'return 1', numberOfKeys: 0 } },
  himportFieldsets: [],
}

const HARMLESS_OF_CLUSTER = {
  clusterRetryStrategy: () => 10,
  clusterNodeRetryStrategy: () => 10,
  maxRedirections: 1,
  retryDelayOnFailover: 1,
  retryDelayOnClusterDown: 1,
  retryDelayOnTryAgain: 1,
  retryDelayOnMoved: 1,
  slotsRefreshTimeout: 500,
  slotsRefreshInterval: 50,
  shardedSubscribers: false,
  useSRVRecords: false,
  natMap: {},
  dnsLookup: (host: string, done: (error: null, address: string) => void) => done(null, host),
  redisOptions: {},
}

/** Where to, and as whom, which other tests have; a resolver that there is none of here; a prefix, since the contract looks past it. */
const ELSEWHERE =
  /^(host|port|path|tls|username|password|db|Connector|resolveSrv|keyPrefix|sentinel.*|name|preferredSlaves|enableTLSForSentinelMode|updateSentinels|failoverDetector)$/

test('every accepted option has a run of the contract or its own tests', () => {
  const inRuns = { ...NEUTRALISED, ...HARMLESS, ...HARMLESS_OF_CLUSTER }
  const names = Object.entries(IOREDIS_OPTIONS).flatMap(([name, effects]) => {
    const [, ofFactory]: readonly string[] = effects
    return ofFactory === 'refused' || ELSEWHERE.test(name) ? [] : [name]
  })
  expect(Object.keys(inRuns).toSorted()).toEqual(names.toSorted())
})

let server: PrivateRedis
let cluster: PrivateRedis
let rest: RestServer
const token = 'the-token-of-this-test'

beforeAll(async () => {
  server = await startRedisServer()
  cluster = await startOneNodeCluster()
  rest = await startRestServer({ redisUrl: server.url, token })
})
afterAll(async () => {
  await rest.close()
  await Promise.all([server.stop(), cluster.stop()])
})

function withUrl(options: object): object {
  const isRefused = (name: string) =>
    (IOREDIS_OPTIONS[name as keyof typeof IOREDIS_OPTIONS] as readonly string[])[0] === 'refused'
  return Object.fromEntries(Object.entries(options).filter(([name]) => !isRefused(name)))
}

const CLASSES = { neutralised: NEUTRALISED, harmless: HARMLESS }

for (const [name, options] of Object.entries(CLASSES)) {
  const clients: Readonly<Record<string, () => Connection>> = {
    'a URL': () => connectIoredis(server.url, withUrl(options) as never),
    'ioredis 6': () => connectIoredis(() => new Redis(server.url, options as never)),
    'ioredis 5': () => connectIoredis(() => new Redis5(server.url, options as never) as never),
  }
  for (const [client, connect] of Object.entries(clients))
    describe(`options that are ${name}`, () => {
      describeGroup(`the group on Redis, over ${client}`, () => openRedis(server.url, connect))
    })
}

for (const [version, Kind] of [
  ['6', Cluster],
  ['5', Cluster5],
] as const) {
  const { lazyConnect, enableOfflineQueue, ...redisOptions } = { ...HARMLESS, ...NEUTRALISED }
  const options = { ...HARMLESS_OF_CLUSTER, lazyConnect, enableOfflineQueue, redisOptions }
  const make = () => new Kind([{ host: '127.0.0.1', port: cluster.port }], options as never) as never
  describe('options that are neutralised or harmless', () => {
    describeGroup(`the group on a Cluster, ioredis ${version}`, () =>
      openRedis(cluster.url, () => connectIoredis(make)),
    )
  })
}

/** Options of @upstash/redis, each as far from its default as it goes. */
const OF_UPSTASH = {
  keepAlive: false,
  cache: 'default',
  retry: false,
  readYourWrites: false,
  latencyLogging: false,
  enableTelemetry: false,
  automaticDeserialization: true,
  enableAutoPipelining: true,
  signal: AbortSignal.abort(),
  agent: undefined,
} as const

test('every option of @upstash/redis that is not refused is in a run of the contract', () => {
  const names = Object.entries(UPSTASH_OPTIONS).flatMap(([name, effect]) => (effect === 'refused' ? [] : [name]))
  expect([...Object.keys(OF_UPSTASH), 'url', 'token'].toSorted()).toEqual(names.toSorted())
})

describe('options that are neutralised or harmless', () => {
  const connect = () =>
    connectUpstash(() => new Upstash({ url: rest.url, token, responseEncoding: false, ...OF_UPSTASH }))
  describeGroup('the group on Upstash', () => openRedis(server.url, connect))
})

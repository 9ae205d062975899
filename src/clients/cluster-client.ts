import type { ClusterOptions, RedisOptions } from 'ioredis'
import { Cluster } from 'ioredis'
import { PASSWORD_MAKER } from '../core/renewed-password.ts'
import type { ClusterClient, ClusterNode } from './cluster-nodes.ts'
import type { IoredisClient } from './ioredis-client.ts'
import { isOptionsObject, SOCKET_TIMEOUT_MS } from './ioredis-options.ts'
import type { RedisAddress } from './url.ts'

/**
 * Settings of a Cluster, tried with masters that died, changed roles and hung, slots that moved, and a map of slots that was old after a freeze.
 *
 * The map is asked for when a client is made, and when a node cannot be reached; never by a timer, which would go on between invocations. An old
 * map costs one round trip a hash slot: the slot's new node is learnt from MOVED. `dnsLookup` passes names through, so that TLS sees the name in the certificate. Without the ready check (`CLUSTER INFO`)
 * a user needs no right but `+cluster|slots`, and `+asking` while slots move.
 */
const CLUSTER_OPTIONS = {
  enableReadyCheck: false,
  scaleReads: 'master',
  slotsRefreshTimeout: 2_000,
  dnsLookup: (name, done) => done(null, name),
  clusterRetryStrategy: (attempt) => (attempt > 1 ? null : 100),
  lazyConnect: true,
} satisfies ClusterOptions

/** Makes the clients of a cluster's URL; each also knows the nodes that the one before it had seen. */
export function createClusterClients(
  { hosts }: RedisAddress,
  redisOptions: RedisOptions & { readonly replyMapping: 'legacy' },
): () => ClusterClient {
  let seen: readonly { host: string; port: number }[] = []
  return () => {
    const cluster = new Cluster([...hosts, ...seen], { ...CLUSTER_OPTIONS, redisOptions })
    cluster.on('refresh', () => {
      seen = cluster.nodes('master').map(({ options: { host = '', port = 0 } }) => ({ host, port }))
    })
    return cluster as unknown as ClusterClient
  }
}

export function isClusterClient(client: IoredisClient): client is ClusterClient {
  return client.isCluster === true
}

/**
 * Settles what a factory's Cluster must not do otherwise than a URL's: it sends nothing again whose answer was lost, needs no right to CLUSTER
 * INFO, hangs up on a node that hangs, and asks for a password that changes each time a node is connected to. Cluster reads `password` once, and passes by the `retryStrategy`
 * that would renew it.
 */
export function adjustUserCluster(cluster: ClusterClient): void {
  const options: object = cluster.options ?? {}
  Object.assign(options, { retryDelayOnFailover: 0, enableReadyCheck: false })
  const password = passwordOf(Reflect.get(options, 'redisOptions'))
  const settle = ({ options }: ClusterNode) => {
    Object.assign(options, { socketTimeout: Reflect.get(options, 'socketTimeout') ?? SOCKET_TIMEOUT_MS })
    if (password) Object.defineProperty(options, 'password', { get: password, enumerable: true, configurable: true })
  }
  cluster.nodes().forEach(settle)
  cluster.on('+node', settle as never)
}

function passwordOf(redisOptions: unknown): (() => unknown) | undefined {
  if (!isOptionsObject(redisOptions)) return undefined
  if (Object.getOwnPropertyDescriptor(redisOptions, 'password')?.get) return () => redisOptions.password
  const renews: unknown = Reflect.get(Object(redisOptions.retryStrategy), PASSWORD_MAKER)
  return typeof renews === 'function' ? () => renews() as unknown : undefined
}

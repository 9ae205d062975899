import type { ConnectionOptions } from 'node:tls'
import type { RedisOptions } from 'ioredis'
import { Redis } from 'ioredis'
import { wrongUseError } from '../core/options.ts'
import type { SignIn } from '../group/redis/transport.ts'
import { createClusterClients } from './cluster-client.ts'
import type { SocketTarget } from './connector.ts'
import { createSocketConnectorClass } from './connector.ts'
import type { IoredisClient } from './ioredis-client.ts'
import type { ClientOptions } from './ioredis-options.ts'
import { SENTINEL_OPTION_NAMES, SOCKET_TIMEOUT_MS } from './ioredis-options.ts'
import type { IoredisOptions } from './own-options.ts'
import { checkedTls, createPasswordGetter } from './own-options.ts'
import { createPrimaryFinder } from './sentinel-options.ts'
import { isIamSignIn } from './sign-in.ts'
import type { RedisAddress } from './url.ts'

const ACTION = 'connect with ioredis'

/**
 * Settings that were tried against a stale socket, a server that hangs up, one that is down and one that accepts and never answers: the
 * first command after a freeze succeeds, and nothing waits for longer than `commandTimeout`. No `commandTimeout`: ioredis makes a timer for every command,
 * and takes it off the command with a `delete`, which `publishMany` feels.
 */
const LAMBDA_OPTIONS = {
  connectTimeout: 2_000,
  socketTimeout: SOCKET_TIMEOUT_MS,
  maxRetriesPerRequest: 1,
  retryStrategy: (attempt) => Math.min(50 * attempt, 500),
  autoResendUnfulfilledCommands: true,
  enableReadyCheck: false,
  disableClientInfo: true,
  enableAutoPipelining: false,
  keepAlive: 10_000,
  protocol: 2 as const,
} satisfies RedisOptions

/** Of the time that a command has, what may pass without a byte: after a freeze there is time for a new socket. */
const SILENT_PART = 0.4

/** The clients of a URL. */
export interface UrlClients {
  make(): IoredisClient
  /** Called at a redirection: the server is a cluster. Not where sentinels say which server it is. */
  readonly becomeCluster?: () => void
  readonly signIn: SignIn
}

/** Makes the clients of a URL. Where to, login and database are the connector's: ioredis has no password that it could show. */
export function createUrlClients(address: RedisAddress, options: IoredisOptions): UrlClients {
  const target = targetOf(address, options)
  const { retryStrategy = LAMBDA_OPTIONS.retryStrategy, commandTimeout = 0 } = options
  const names = Object.keys(options).filter((name) => !OWN_OPTIONS.has(name))
  const passed = Object.fromEntries(names.map((name) => [name, options[name as keyof IoredisOptions]]))
  const settings = {
    ...LAMBDA_OPTIONS,
    // whose commands may take longer has a server that may be silent for longer
    socketTimeout: Math.max(LAMBDA_OPTIONS.socketTimeout, SILENT_PART * commandTimeout),
    ...withoutUndefined(passed),
    retryStrategy: retryStrategy && guarded(retryStrategy),
    lazyConnect: true,
    enableOfflineQueue: true,
    reconnectOnError: null,
    stringNumbers: false,
    replyMapping: 'legacy' as const,
  } as RedisOptions & { readonly replyMapping: 'legacy' }
  let { cluster } = address
  // of a cluster every node has a place of its own
  const clusters = createClusterClients(address, {
    ...settings,
    Connector: createSocketConnectorClass({ ...target, place: undefined }),
  })
  const ofServer = { ...target.place, ...settings, Connector: createSocketConnectorClass(target) }
  const becomeCluster = () => {
    if (!cluster) process.emitWarning('the server of the URL is a cluster: add ?cluster to the URL')
    cluster = true
  }
  return {
    make: () => (cluster ? (clusters() as IoredisClient) : new Redis(ofServer)),
    signIn: { byIam: target.isByIam, tls: target.tls !== undefined },
    ...(!address.sentinel && { becomeCluster }),
  }
}

/** The strategies that renew a password have nothing to renew here; what one throws would end the process. */
function guarded(strategy: (attempt: number) => unknown): (attempt: number) => unknown {
  return (attempt) => {
    try {
      return strategy.call({}, attempt)
    } catch {
      return null
    }
  }
}

/** Options that are not handed on. */
const OWN_OPTIONS = new Set([
  ...SENTINEL_OPTION_NAMES,
  'password',
  'username',
  'db',
  'tls',
  'family',
  'commandTimeout',
  'keyPrefix',
  'retryStrategy',
])

function targetOf(address: RedisAddress, options: IoredisOptions): SocketTarget {
  const { hosts, path, cluster, iam, sentinel } = address
  const {
    db = address.db,
    username = address.username,
    family,
    connectTimeout = LAMBDA_OPTIONS.connectTimeout,
  } = options
  if (iam !== undefined && !('password' in options))
    throw wrongUseError(ACTION, '?iam needs the options iamAuth({ userId, cacheName }) of millrace/lambda')
  if (cluster && db > 0) throw wrongUseError(ACTION, 'option db must be left out: a cluster has only database 0')
  const [host] = hosts
  const tcp = host && !sentinel ? { ...host, ...(family !== undefined && { family }) } : undefined
  return {
    place: path === undefined ? tcp : { path },
    family,
    tls: tlsOf(address, options),
    username: username || undefined,
    password: createPasswordGetter(ACTION, () => options.password ?? address.password),
    isByIam: iam !== undefined || isIamSignIn(options as ClientOptions),
    db,
    connectTimeoutMs: connectTimeout,
    findPrimary: sentinel && createPrimaryFinder(ACTION, address, sentinel, options, connectTimeout),
  }
}

function tlsOf(address: RedisAddress, options: IoredisOptions): ConnectionOptions | undefined {
  const { enableTLSForSentinelMode: isWanted } = options
  const tls = checkedTls(ACTION, 'tls', options.tls)
  if (isWanted === false) return undefined
  return tls ?? (address.tls || isWanted ? {} : undefined)
}

function withoutUndefined(options: ClientOptions): ClientOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

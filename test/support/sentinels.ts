import { Redis } from 'ioredis'
import { vi } from 'vitest'
import { freePorts } from '../../tools/redis-cluster.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import type { Certificate } from './certificate.ts'

export const NAME = 'orders'
export const password = 'of-the-servers'
export const sentinelPassword = 'of-the-sentinels'

/** A primary, a replica, and three sentinels that watch them. */
export interface Watched {
  readonly servers: readonly PrivateRedis[]
  readonly sentinels: readonly PrivateRedis[]
  /** The sentinels as a URL names them: by their TLS ports where there are any. */
  readonly places: readonly { readonly host: string; readonly port: number }[]
  /** Sends to one of them, as an administrator. */
  ask<T>(server: PrivateRedis, act: (raw: Redis) => Promise<T>): Promise<T>
  /** The server that the sentinels name. */
  primary(): Promise<PrivateRedis>
  /** Acts on the primary, and resolves to it once there is another. */
  fails(act: (server: PrivateRedis) => unknown): Promise<PrivateRedis>
  /** Asks for a failover, as an operator. */
  failOver(): Promise<PrivateRedis>
  /** Resolves once the sentinels know each other, and a primary with a replica that has what it has. */
  whole(): Promise<void>
  stop(): Promise<void>
}

/** @param tls Servers and sentinels also speak TLS, by which sentinels name them. */
export async function startSentinels(tls?: Certificate): Promise<Watched> {
  const login = ['--requirepass', password, '--masterauth', password, '--repl-diskless-sync-delay', '0']
  const ports = tls ? await freePorts(5) : []
  const secure = (at: number) =>
    tls ? ['--tls-port', `${ports[at]}`, ...tlsArgs(tls), '--tls-replication', 'yes'] : []
  const first = await startRedisServer({ args: [...login, ...secure(0)] })
  const replicaOf = ['--replicaof', '127.0.0.1', `${ports[0] ?? first.port}`]
  const servers = [first, await startRedisServer({ args: [...login, ...secure(1), ...replicaOf] })]
  const config = [
    `sentinel monitor ${NAME} 127.0.0.1 ${ports[0] ?? first.port} 2`,
    `sentinel auth-pass ${NAME} ${password}`,
    `sentinel down-after-milliseconds ${NAME} 500`,
    `sentinel failover-timeout ${NAME} 3000`,
    `requirepass ${sentinelPassword}`,
    `sentinel sentinel-pass ${sentinelPassword}`,
  ]
  const sentinels = await Promise.all(
    [2, 3, 4].map((at) => startRedisServer({ config, args: ['--sentinel', ...secure(at)] })),
  )
  const named = (server: PrivateRedis, at: number) => `${ports[at] ?? server.port}`

  const watched: Watched = {
    servers,
    sentinels,
    places: sentinels.map(({ host, port }, at) => ({ host, port: ports[at + 2] ?? port })),
    async ask(server, act) {
      const isSentinel = sentinels.includes(server)
      const raw = new Redis({
        port: server.port,
        password: isSentinel ? sentinelPassword : password,
        retryStrategy: () => null,
      })
      raw.on('error', () => {})
      try {
        return await act(raw)
      } finally {
        raw.disconnect()
      }
    },
    async primary() {
      const place = await watched.ask(sentinels[0] as PrivateRedis, (raw) =>
        raw.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME),
      )
      return servers.find((server, at) => named(server, at) === (place as string[])[1]) as PrivateRedis
    },
    async fails(act) {
      const before = await watched.primary()
      await act(before)
      await vi.waitUntil(async () => (await watched.primary()) !== before, { timeout: 20_000, interval: 50 })
      return before
    },
    failOver: () =>
      watched.fails(() => watched.ask(sentinels[0] as PrivateRedis, (raw) => raw.call('SENTINEL', 'FAILOVER', NAME))),
    async whole() {
      const knows = async (sentinel: PrivateRedis) => {
        const text = await watched.ask(sentinel, (raw) => raw.info('sentinel')).catch(() => '')
        return /status=ok,.*slaves=1,sentinels=3/.test(text)
      }
      const isLinked = async (server: PrivateRedis) => {
        const text = await watched.ask(server, (raw) => raw.info('replication')).catch(() => '')
        return /master_link_status:up|connected_slaves:1/.test(text)
      }
      const all = () => Promise.all([...sentinels.map(knows), ...servers.map(isLinked)])
      await vi.waitUntil(async () => (await all()).every(Boolean), { timeout: 20_000, interval: 100 })
    },
    async stop() {
      await Promise.all([...servers, ...sentinels].map((each) => each.stop()))
    },
  }
  await watched.whole()
  return watched
}

function tlsArgs({ certFile, keyFile }: Certificate): string[] {
  const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile]
  return [...files, '--tls-auth-clients', 'no']
}

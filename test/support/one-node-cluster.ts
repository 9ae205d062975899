import { Redis } from 'ioredis'
import { vi } from 'vitest'
import type { PrivateRedis } from '../../tools/redis-server.ts'
import { startRedisServer } from '../../tools/redis-server.ts'

/** A cluster of one node, which has all hash slots. @param password The server's, if it wants one. */
export async function startOneNodeCluster(password?: string): Promise<PrivateRedis> {
  const login = password === undefined ? [] : ['--requirepass', password]
  const server = await startRedisServer({
    args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', ...login],
  })
  await becomeWhole(server, password)
  return server
}

/** Resolves once the node takes commands, also after a restart. */
export async function becomeWhole(server: PrivateRedis, password = ''): Promise<void> {
  const raw = new Redis({ port: server.port, ...(password && { password }) })
  try {
    // it has them still after a restart
    await raw.cluster('ADDSLOTSRANGE', 0, 16_383).catch(() => {})
    await vi.waitUntil(async () => String(await raw.cluster('INFO')).includes('cluster_state:ok'), { timeout: 10_000 })
  } finally {
    raw.disconnect()
  }
}

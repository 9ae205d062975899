import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { PrivateRedis } from './redis-server.ts'
import { startRedisServer } from './redis-server.ts'

/** A node of a cluster of our own. */
export interface Node {
  readonly id: string
  readonly server: PrivateRedis
  /** An administrator's client; it reconnects. */
  readonly raw: Redis
}

/** How a cluster differs from the plain one. */
export interface ClusterOptions {
  /** More arguments for every node. */
  readonly args?: readonly string[]
  /** What the administrators' clients take beside the port. */
  readonly admin?: object
  readonly program?: string | undefined
  /** Name that every node announces, as ElastiCache does. */
  readonly hostname?: string
  /** Files of a certificate and its key: nodes announce their TLS port. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Masters without hash slots, after the others: where slots may go. Default 0. */
  readonly empty?: number
}

/** Three masters and three replicas, in memory, on loopback. */
export interface PrivateCluster {
  /** Masters first, each with a third of the hash slots, then their replicas in the same order, then the empty ones. */
  readonly nodes: readonly Node[]
  /** All nodes, with `?cluster`. */
  readonly url: string
  /** Only the first node, without a word of a cluster. */
  readonly plainUrl: string
  /** The node that takes writes of a key now. */
  ownerOf(key: string): Promise<Node>
  /** Resolves once every node that runs has all hash slots served, and replicas have what their masters have. */
  whole(): Promise<void>
  stop(): Promise<void>
}

const THIRDS = ['0-5460', '5461-10922', '10923-16383']
const NODE_TIMEOUT_MS = 1_000
const START_TIMEOUT_MS = 20_000
const START_ATTEMPTS = 3

const OF_EVERY_NODE = (
  '--cluster-enabled yes --cluster-announce-ip 127.0.0.1 --repl-diskless-sync-delay 0 ' +
  `--cluster-node-timeout ${NODE_TIMEOUT_MS} --cluster-replica-validity-factor 0 --cluster-allow-replica-migration no`
).split(' ')

/** Starts a cluster. Between choosing its ports and binding them another process may take one: then it starts again on others. */
export async function startCluster(options: ClusterOptions = {}): Promise<PrivateCluster> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await launchCluster(options)
    } catch (error) {
      if (attempt === START_ATTEMPTS || !String(error).includes('Address already in use')) throw error
    }
  }
}

/** The nodes know each other from a file, so that nothing has to be negotiated. */
async function launchCluster(options: ClusterOptions): Promise<PrivateCluster> {
  const { empty = 0, args = [], admin = {}, program, hostname, tls } = options
  const count = 6 + empty
  const ports = await freePorts(3 * count)
  const announced = ports.slice(tls ? 2 * count : 0)
  const ids = ports.slice(0, count).map(() => randomBytes(20).toString('hex'))
  const dirs = await Promise.all(ids.map(() => mkdtemp(join(tmpdir(), 'millrace-node-'))))
  const starts = ids.map(async (id, n) => {
    await writeFile(join(dirs[n] as string, 'nodes.conf'), nodesFile(n, ids, announced, ports, hostname))
    const port = ports[n] as number
    const server = await startRedisServer({
      port,
      program,
      dir: dirs[n] as string,
      args: [
        ...OF_EVERY_NODE,
        '--cluster-port',
        `${ports[n + count]}`,
        ...(hostname === undefined ? [] : ['--cluster-announce-hostname', hostname]),
        ...(hostname === undefined ? [] : ['--cluster-preferred-endpoint-type', 'hostname']),
        ...(tls ? tlsArgs(tls, announced[n] as number) : []),
        ...args,
      ],
    })
    const raw = new Redis({ port, maxRetriesPerRequest: 2, retryStrategy: () => 100, ...admin })
    raw.on('error', () => {})
    return { id, server, raw }
  })
  const stop = async () => {
    const started = await Promise.allSettled(starts)
    const nodes = started.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
    for (const { raw } of nodes) raw.disconnect()
    await Promise.all(nodes.map(({ server }) => server.stop()))
    await Promise.all(dirs.map((dir) => rm(dir, { recursive: true, force: true })))
  }
  const nodes = await Promise.all(starts).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  const scheme = tls ? 'rediss' : 'redis'
  const host = hostname ?? '127.0.0.1'
  const cluster: PrivateCluster = {
    nodes,
    url: `${scheme}://${announced
      .slice(0, 6)
      .map((port) => `${host}:${port}`)
      .join(',')}?cluster`,
    plainUrl: `${scheme}://${host}:${announced[0]}`,
    ownerOf: async (key) => {
      for (const node of nodes) {
        const reply = await node.raw.call('SET', `{${key}}:probe`, '1', 'PX', '1').catch(String)
        if (reply === 'OK') return node
      }
      throw new Error(`no node has ${key}`)
    },
    whole: async () => {
      const giveUpAt = Date.now() + START_TIMEOUT_MS
      while (!(await Promise.all(nodes.map(isWhole))).every(Boolean)) {
        if (Date.now() > giveUpAt) throw new Error(`Cannot start a cluster: not whole within ${START_TIMEOUT_MS} ms`)
        await sleep(20)
      }
    },
    stop,
  }
  await cluster.whole()
  return cluster
}

async function isWhole({ raw, server }: Node): Promise<boolean> {
  if (server.process.exitCode !== null || server.process.signalCode !== null) return true
  const [info, replication] = await Promise.all([raw.cluster('INFO'), raw.info('replication')]).catch(() => ['', ''])
  return /cluster_state:ok/.test(String(info)) && !/master_link_status:down/.test(replication ?? '')
}

function tlsArgs({ cert, key }: NonNullable<ClusterOptions['tls']>, port: number): string[] {
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert, '--tls-auth-clients', 'no']
  return [...files, '--tls-port', `${port}`, '--cluster-announce-port', `${port}`, '--tls-replication', 'yes']
}

function nodesFile(
  self: number,
  ids: readonly string[],
  announced: readonly number[],
  ports: readonly number[],
  hostname: string | undefined,
): string {
  const lines = ids.map((id, n) => {
    const place = `127.0.0.1:${announced[n]}@${ports[n + ids.length]}${hostname === undefined ? '' : `,${hostname}`}`
    const isReplica = n >= 3 && n < 6
    const flags = `${n === self ? 'myself,' : ''}${isReplica ? 'slave' : 'master'}`
    const master = isReplica ? ids[n - 3] : '-'
    const epoch = isReplica ? (n - 3) % 3 : n
    return `${id} ${place} ${flags} ${master} 0 0 ${epoch + 1} connected${n < 3 ? ` ${THIRDS[n]}` : ''}`
  })
  return `${lines.join('\n')}\nvars currentEpoch ${ids.length + 1} lastVoteEpoch 0\n`
}

/** Ports that are free on 127.0.0.1 now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

import type { IoredisClient } from './ioredis-client.ts'

/** What is used of a `Cluster` beside what every client has. */
export interface ClusterClient extends IoredisClient {
  /** Keys of nodes (`host:port`) by hash slot, the master first. */
  readonly slots: (string[] | undefined)[]
  nodes(role?: 'master'): ClusterNode[]
  refreshSlotsCache(done: (error?: Error) => void): void
}

/** A node of a `Cluster`: a client of its own. */
export interface ClusterNode extends IoredisClient {
  readonly options: { readonly host?: string; readonly port?: number }
  connect(): Promise<unknown>
  duplicate(options: object): ClusterNode
}

/** The key of the node that has a hash slot, as far as is known. */
export function masterOfHashSlot(cluster: ClusterClient, slot: number): string | undefined {
  return cluster.slots[slot]?.[0]
}

/** The keys of all masters, as the nodes report now. */
export async function fetchMasters(cluster: ClusterClient): Promise<string[]> {
  await refreshHashSlots(cluster)
  return cluster.nodes('master').map(({ options: { host, port } }) => `${host}:${port}`)
}

/** Clients of nodes that a `Cluster` does not have itself. */
const aside = new WeakMap<ClusterClient, Map<string, ClusterNode>>()

/**
 * The client of a node. One that the `Cluster` does not know, or not any more (it drops those that have no hash slot in the eyes of whichever
 * node it asked last, and their commands with them), has a client aside, which ends with the `Cluster`.
 *
 * @returns `undefined` if the `Cluster` has no node at all.
 */
export function clusterNodeClient(cluster: ClusterClient, key: string): ClusterNode | undefined {
  const nodes = cluster.nodes()
  const known = nodes.find(({ options: { host, port } }) => `${host}:${port}` === key)
  if (known) return known
  const others = aside.get(cluster) ?? withOthers(cluster)
  const other = others.get(key)
  if (other && other.status !== 'end') return other
  const colon = key.lastIndexOf(':')
  const place = { host: key.slice(0, colon), port: Number(key.slice(colon + 1)) }
  const made = nodes[0]?.duplicate({ ...place, readOnly: false, lazyConnect: true, retryStrategy: null })
  // without a listener ioredis prints; what is wrong reaches the commands
  made?.on('error', () => {})
  if (made) others.set(key, made)
  return made
}

function withOthers(cluster: ClusterClient): Map<string, ClusterNode> {
  const others = new Map<string, ClusterNode>()
  aside.set(cluster, others)
  const end = () => {
    for (const node of others.values()) node.disconnect()
    others.clear()
  }
  cluster.on('disconnecting', end)
  cluster.on('end', end)
  return others
}

/** Asks the nodes anew who has which hash slot. */
export async function refreshHashSlots(cluster: ClusterClient): Promise<void> {
  await new Promise<void>((resolve) => cluster.refreshSlotsCache(() => resolve()))
}

/** Where a redirection leads, as a node's key; `undefined`: it is none. @param from The node that said so. */
export function redirectionTarget(cluster: ClusterClient, text: string, { options }: ClusterNode): string | undefined {
  const [, host, port] = /^(?:MOVED|ASK) \d+ (\S*):(\d+)/.exec(text) ?? []
  if (port === undefined) return undefined
  const key = `${host || options.host}:${port}`
  const { natMap } = (cluster.options ?? {}) as { natMap?: unknown }
  const mapped = typeof natMap === 'function' ? natMap(key) : Reflect.get(Object(natMap), key)
  return mapped ? `${mapped.host}:${mapped.port}` : key
}

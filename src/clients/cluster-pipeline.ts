import { hashSlot } from '../core/keys.ts'
import { commandKeyRange } from '../group/redis/keys-of.ts'
import type { RedisCommand } from '../group/redis/transport.ts'
import type { ClusterClient, ClusterNode } from './cluster-nodes.ts'
import { clusterNodeClient, masterOfHashSlot, redirectionTarget, refreshHashSlots } from './cluster-nodes.ts'
import type { IoredisClient } from './ioredis-client.ts'
import { answeredOf, letGo, type PipelineResult, type Sending } from './parted-pipeline.ts'
import { waitForClient, waitForClusterNode } from './ready.ts'

/** Puts commands on a client. */
type Put = (node: IoredisClient, commands: readonly RedisCommand[]) => Sending

/** Commands on their way to one node. */
interface Part {
  readonly places: readonly number[]
  /** What came by now, one per command. */
  readonly results: () => readonly PipelineResult[]
}

/** How often commands are sent anew: to where they were redirected, or once the map of hash slots was asked for. */
const MOST_TURNS = 6
const ASKING: RedisCommand = ['asking']

/**
 * Commands for the nodes of a cluster: those of one hash slot go in one write, in their order, those of other slots side by side.
 *
 * What was answered MOVED or ASK was not carried out, and goes to where it was sent, in its order; what found no connection goes to the node that
 * has the slot now. What got no answer may have run, and is not sent again, but where a connection that stood before was lost without
 * a single answer: it was idle for too long, and the client of a single server does the same.
 *
 * The `Cluster` itself sends nothing: its pipeline is sent again as a whole where a part of it was refused, its `call` ends the connection to a
 * node that has no hash slot yet, amid commands, and both send again what was lost.
 */
export class ClusterPipeline {
  readonly #cluster: ClusterClient
  readonly #commands: readonly RedisCommand[]
  readonly #put: Put
  readonly #results: PipelineResult[] = []
  readonly #parts = new Set<Part>()

  constructor(cluster: ClusterClient, commands: readonly RedisCommand[], put: Put) {
    this.#cluster = cluster
    this.#commands = commands
    this.#put = put
  }

  async exec(): Promise<PipelineResult[]> {
    const slots = [...bySlot(this.#commands)]
    await Promise.all(slots.map(([slot, places]) => this.#send(slot, places)))
    return this.#results
  }

  /** What came by now; named as in ioredis. An answer of one node is known while another hangs. */
  get _result(): PipelineResult[] {
    for (const part of this.#parts) this.#take(part)
    return this.#results
  }

  /** @param slot Of their keys; `undefined`: they have none, and any node will do. */
  async #send(slot: number | undefined, places: readonly number[]): Promise<void> {
    if (slot === undefined) return this.#sendAnywhere(places)
    let left = places
    let asked: string | undefined
    let isAgain = false
    for (let turn = 0; left.length > 0 && turn < MOST_TURNS; turn++) {
      const key = asked ?? masterOfHashSlot(this.#cluster, slot)
      // whoever does not have the slot knows who does
      const node = key === undefined ? this.#cluster.nodes()[0] : clusterNodeClient(this.#cluster, key)
      const wasThere = node?.status === 'ready'
      if (!node || !(wasThere || (await this.#opens(node, left)))) {
        // it has lost all at once, as after a freeze, and connects anew
        if (!node) await waitForClient(this.#cluster).catch(() => {})
        await refreshHashSlots(this.#cluster)
        // nobody else has it
        if (node && key === masterOfHashSlot(this.#cluster, slot)) return
        asked = undefined
        continue
      }
      await this.#write(node, left, asked !== undefined)
      asked = undefined
      if (wasThere && !isAgain && left.every((at) => isClosed(this.#results[at]))) {
        isAgain = true
        continue
      }
      left = left.filter((at) => redirectionTarget(this.#cluster, messageOf(this.#results[at]), node))
      asked = this.#learn(slot, messageOf(this.#results[left[0] ?? -1]), node)
    }
  }

  /** To the first node that takes commands, those first that are connected to: one that is gone is no other's trouble. */
  async #sendAnywhere(places: readonly number[]): Promise<void> {
    const ranked = this.#cluster.nodes('master').map((node) => ({ key: keyOf(node), rank: rankOf(node) }))
    ranked.sort((a, b) => a.rank - b.rank)
    // after a freeze all that were connected to may be lost, without an answer: they are tried again
    for (const { key } of [...ranked, ...ranked]) {
      const node = clusterNodeClient(this.#cluster, key)
      if (!node) await waitForClient(this.#cluster).catch(() => {})
      else if (node.status === 'ready' || (await this.#opens(node, places))) {
        await this.#write(node, places, false)
        if (!places.every((at) => isClosed(this.#results[at]))) return
      }
    }
  }

  /** Notes where a slot has moved to. @returns Where commands have to be asked for, if it is on its way. */
  #learn(slot: number, text: string, node: ClusterNode): string | undefined {
    const target = redirectionTarget(this.#cluster, text, node)
    if (!target || text.startsWith('ASK')) return target
    this.#cluster.slots[slot] = [target]
    return undefined
  }

  /** Whether a node takes commands; else why not is what they came to. */
  async #opens(node: ClusterNode, places: readonly number[]): Promise<boolean> {
    try {
      await waitForClusterNode(node)
      return true
    } catch (error) {
      for (const at of places) this.#results[at] = [error as Error]
      return false
    }
  }

  async #write(node: ClusterNode, places: readonly number[], isAsked: boolean): Promise<void> {
    const commands = places.map((at) => this.#commands[at] as RedisCommand)
    const pipeline = this.#put(node, isAsked ? commands.flatMap((command) => [ASKING, command]) : commands)
    const sieve = (results: readonly PipelineResult[]) =>
      isAsked ? results.filter((_result, n) => n % 2 === 1) : results
    const part = { places, results: () => sieve(answeredOf(pipeline)) }
    this.#parts.add(part)
    try {
      const results = await pipeline.exec()
      letGo(pipeline)
      this.#take({ places, results: () => sieve(results ?? []) })
    } finally {
      this.#parts.delete(part)
    }
  }

  #take({ places, results }: Part): void {
    const came = results()
    for (const [n, at] of places.entries()) if (came[n]) this.#results[at] = came[n]
  }
}

function keyOf({ options: { host, port } }: ClusterNode): string {
  return `${host}:${port}`
}

/** Nodes in the order in which to ask any of them; of those alike, by chance. */
function rankOf({ status }: ClusterNode): number {
  return (status === 'ready' ? 0 : 1) + Math.random()
}

/** Places of commands by hash slot. Those without a key go with the first that has one. */
function bySlot(commands: readonly RedisCommand[]): ReadonlyMap<number | undefined, number[]> {
  const slots = commands.map((command) => {
    const [from, to] = commandKeyRange(command)
    return from < to ? hashSlot(String(command[from])) : undefined
  })
  const any = slots.find((slot) => slot !== undefined)
  return Map.groupBy(slots.keys(), (at) => slots[at] ?? any)
}

function messageOf(result: PipelineResult): string {
  return result?.[0]?.message ?? ''
}

function isClosed(result: PipelineResult): boolean {
  return result === undefined || /connection is closed|max retries per request/i.test(messageOf(result))
}

import { hashSlot } from '../../core/keys.ts'
import type { IoredisClient, IoredisPipeline } from './held-client.ts'
import { keysAt } from './keys-of.ts'
import type { Command } from './transport.ts'

/** What a command came to, as ioredis has it; `undefined`: nothing came. */
export type Result = readonly [error: Error | null, result?: unknown] | undefined

/** What is used of a `Cluster` beside what every client has. */
export interface ClusterClient extends IoredisClient {
  /** Keys of nodes (`host:port`) by hash slot, the master first. */
  readonly slots: readonly (readonly string[] | undefined)[]
  nodes(role?: 'master'): ClusterNode[]
  /** Follows redirections by itself. */
  callBuffer(command: string, args: readonly unknown[]): Promise<unknown>
}

/** A node of a `Cluster`: a client of its own. */
export interface ClusterNode extends IoredisClient {
  readonly options: { readonly host?: string; readonly port?: number }
}

/** How commands are put on a client. */
export interface Putting {
  pipeline(node: IoredisClient, commands: readonly Command[]): IoredisPipeline
  call(command: Command): Promise<unknown>
}

/** How often commands are sent anew because the map of hash slots was old. */
const MOST_TURNS = 5

/**
 * Commands for the nodes of a cluster: those of one hash slot go in one write, in their order, those of other slots side by side.
 *
 * What was answered MOVED or ASK was not carried out: it is sent again, by itself, through the `Cluster`, which follows it; once that has
 * taught it who has the slot, the rest goes in one write again. What got no answer may have run, and is not sent again, but where a connection
 * that stood before was lost without a single answer: it was idle for too long, and the client of a single server does the same.
 *
 * `Cluster#pipeline()` is not used: it sends a whole pipeline again, to the node of an ASK, where but a part of it was refused.
 */
export class ClusterPipeline {
  readonly #cluster: ClusterClient
  readonly #commands: readonly Command[]
  readonly #putting: Putting
  readonly #results: Result[] = []
  /** What is under way: an answer of one node is known while another hangs. */
  readonly #parts = new Set<{ readonly places: readonly number[]; readonly pipeline: IoredisPipeline }>()

  constructor(cluster: ClusterClient, commands: readonly Command[], putting: Putting) {
    this.#cluster = cluster
    this.#commands = commands
    this.#putting = putting
  }

  async exec(): Promise<Result[]> {
    const slots = [...bySlot(this.#commands)]
    await Promise.all(slots.map(([slot, places]) => this.#send(slot, places)))
    return this.#results
  }

  /** Named as in ioredis: what came by now. */
  get _result(): Result[] {
    for (const { places, pipeline } of this.#parts) this.#take(places, Reflect.get(pipeline, '_result'))
    return this.#results
  }

  async #send(slot: number, places: readonly number[]): Promise<void> {
    let left = places
    for (let turn = 0; left.length > 0 && turn < MOST_TURNS; turn++) {
      left = await this.#together(slot, left)
      const isAsked = left.some((at) => isError(this.#results[at], /^ASK /))
      for (const at of isAsked ? left : left.slice(0, 1)) {
        await this.#alone(at)
        left = left.slice(1)
        if (isLost(this.#results[at])) return
      }
    }
  }

  /** Sends in one write. @returns What has to be sent again. */
  async #together(slot: number, places: readonly number[]): Promise<readonly number[]> {
    const key = this.#cluster.slots[slot]?.[0]
    const node = this.#cluster.nodes().find(({ options: { host, port } }) => `${host}:${port}` === key)
    if (!node) return places
    const wasThere = node.status === 'ready'
    const pipeline = this.#putting.pipeline(node, this.#pick(places))
    const part = { places, pipeline }
    this.#parts.add(part)
    try {
      this.#take(places, await pipeline.exec())
    } finally {
      this.#parts.delete(part)
    }
    if (wasThere && places.every((at) => isLost(this.#results[at]))) return places
    return places.filter((at) => isError(this.#results[at], /^(MOVED|ASK) /))
  }

  async #alone(at: number): Promise<void> {
    const [command] = this.#pick([at])
    this.#results[at] = await this.#putting.call(command as Command).then(
      (reply): Result => [null, reply],
      (error: Error): Result => [asRefusal(error)],
    )
  }

  #pick(places: readonly number[]): Command[] {
    return places.map((at) => this.#commands[at] as Command)
  }

  #take(places: readonly number[], results: readonly Result[] | null | undefined): void {
    for (const [n, at] of places.entries()) if (results?.[n]) this.#results[at] = results[n]
  }
}

/** Places of commands by hash slot. Those without a key go with the first that has one. */
function bySlot(commands: readonly Command[]): ReadonlyMap<number, number[]> {
  const slots = commands.map((command) => {
    const [from, to] = keysAt(command)
    return from < to ? hashSlot(String(command[from])) : undefined
  })
  const any = slots.find((slot) => slot !== undefined) ?? Math.floor(Math.random() * 16_384)
  const groups = new Map<number, number[]>()
  for (const [at, slot = any] of slots.entries()) groups.set(slot, [...(groups.get(slot) ?? []), at])
  return groups
}

function isError(result: Result, pattern: RegExp): boolean {
  return pattern.test(result?.[0]?.message ?? '')
}

function isLost(result: Result): boolean {
  return result === undefined || isError(result, /connection is closed|max retries per request/i)
}

/** A `Cluster` that was sent from node to node for too long gives the last refusal in a sentence of its own. */
function asRefusal(error: Error): Error {
  const [, last] = /^Too many Cluster redirections\. Last error: ReplyError: (.*)$/s.exec(error.message) ?? []
  return last === undefined ? error : Object.assign(new Error(last), { name: 'ReplyError' })
}

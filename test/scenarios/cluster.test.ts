import { execFileSync } from 'node:child_process'
import { Cluster } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import { type Connection, type Consumer, claim, createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashSlot } from '../../src/core/keys.ts'
import { failOver, type Node, type PrivateCluster, slotMove, startNodes } from '../support/cluster.ts'
import { billing, OrderPaid } from '../support/consumer.ts'

/** How often a function is invoked, and how many events are published before each. */
const BEAT_MS = 1_000
const EVENTS = 5

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startNodes({ empty: 1, args: ['--appendonly', 'yes', '--appendfsync', 'always'], program })
}, 40_000)
afterAll(() => cluster.stop())

const BINARIES = (process.env.MILLRACE_REDIS_BINARIES ?? '').split(/[:,\s]+/).filter(Boolean)
/** Valkey 9 where it is given: slots move there in one step. */
const program = BINARIES.find((path) => /Valkey server v=(9|\d\d)\./.test(execFileSync(path, ['--version']).toString()))

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
const CLIENTS: Readonly<Record<string, () => Connection>> = {
  'a URL': () => connectIoredis(cluster.url),
  'a URL of one node': () => connectIoredis(cluster.plainUrl),
  'ioredis 6': () => connectIoredis(() => new Cluster(startup())),
  'ioredis 5': () => connectIoredis(() => new Cluster5(startup()) as never),
}

interface Fault {
  /** Failed invocations that it may cost; `undefined`: it is told how many. */
  readonly most: number | undefined
  /** A node that wakes may acknowledge, once, what its successor does not have: an invocation's events are not counted then. */
  readonly acksAlone?: boolean
  /** Seconds of invocations, the fault after the second. */
  readonly beats: number
  strike(stream: string): Promise<unknown>
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const owner = (stream: string) => cluster.ownerOf(stream)
const empty = () => cluster.nodes.at(-1) as Node

const FAULTS: Readonly<Record<string, Fault>> = {
  'a failover that is asked for': {
    most: 1,
    beats: 5,
    strike: (stream) => failOver(cluster, stream, cluster.ownerOf),
  },
  'a hash slot that moves key by key': {
    most: 1,
    beats: 6,
    async strike(stream) {
      const { begin, move, finish } = slotMove(cluster, stream, await owner(stream), empty())
      await begin()
      await pause(500)
      await move(`{${stream}}:billing:state`)
      await pause(1_000)
      await move(stream)
      await pause(1_000)
      await finish()
    },
  },
  'a hash slot that moves in one step': {
    most: 1,
    beats: 5,
    async strike(stream) {
      const [from, slot] = [await owner(stream), hashSlot(stream)]
      const to = from === empty() ? (cluster.nodes[1] as Node) : empty()
      await from.raw.cluster(
        'MIGRATESLOTS' as never,
        'SLOTSRANGE' as never,
        slot,
        slot,
        'NODE' as never,
        to.id as never,
      )
      while ((await owner(stream)) !== to) await pause(20)
    },
  },
  'a master that is killed': {
    most: undefined,
    beats: 9,
    async strike(stream) {
      const killed = await owner(stream)
      killed.server.kill('SIGKILL')
      await pause(4_000)
      await killed.server.restart()
      await cluster.whole()
    },
  },
  'a master that hangs': {
    most: undefined,
    acksAlone: true,
    beats: 9,
    async strike(stream) {
      const hung = await owner(stream)
      hung.server.kill('SIGSTOP')
      await pause(4_000)
      hung.server.kill('SIGCONT')
      await cluster.whole()
    },
  },
  'all nodes gone, and back': {
    most: undefined,
    beats: 9,
    async strike() {
      for (const { server } of cluster.nodes) server.kill('SIGKILL')
      await pause(1_500)
      await Promise.all(cluster.nodes.map(({ server }) => server.restart()))
      await cluster.whole()
    },
  },
}

/** What became of a client's events. */
class Account {
  readonly acknowledged = new Set<string>()
  readonly handled = new Map<string, number>()
  readonly failures: string[] = []
  readonly #redis: Connection
  readonly #stream: string
  readonly #consumer: Consumer
  #events = 0

  constructor(redis: Connection, stream: string) {
    this.#redis = redis
    this.#stream = stream
    const handle = async ({ payload }: never) => {
      const { orderId } = payload as { orderId: string }
      this.handled.set(orderId, (this.handled.get(orderId) ?? 0) + 1)
    }
    this.#consumer = billing(handle, { stream, minIdleMs: 1_000, handlerTimeoutMs: 500, renewLeases: true })
  }

  /** One invocation of an application that publishes, and of a poller. */
  async invoke(): Promise<void> {
    const ids = Array.from({ length: EVENTS }, () => `${this.#events++}`)
    const publisher = createPublisher({ stream: this.#stream, redis: this.#redis })
    const published = publisher.publishMany(ids.map((orderId) => [OrderPaid, { orderId }] as const))
    await published.then(
      () => ids.forEach((id) => void this.acknowledged.add(id)),
      (error: Error) => this.failures.push(`publish: ${error.message}`),
    )
    await poll(this.#consumer, { redis: this.#redis, remainingMs: 15_000 }).catch((error: Error) => {
      this.failures.push(`poll: ${error.message}`)
    })
  }

  async settle(): Promise<void> {
    await pause(1_100)
    for (let n = 0; n < 3; n++) {
      await poll(this.#consumer, { redis: this.#redis, remainingMs: 15_000 }).catch(() => {})
      await claim(this.#consumer, { redis: this.#redis, remainingMs: 15_000 }).catch(() => {})
    }
  }

  get numbers() {
    const twice = [...this.handled].filter(([, times]) => times > 1).length
    const lost = [...this.acknowledged].filter((id) => !this.handled.has(id)).length
    return { lost, twice, failed: this.failures.length }
  }
}

/** Streams in the first third of the hash slots, so that one fault is every client's. */
const streams = Array.from({ length: 1_000 }, (_each, n) => `orders-${n}`).filter((name) => hashSlot(name) < 5_461)

const isIn9 = program !== undefined
const faults = Object.entries(FAULTS).filter(([name]) => isIn9 || !name.includes('one step'))

test.each(faults)(
  '%s loses nothing, doubles nothing',
  async (name, { most, beats, strike, acksAlone = false }) => {
    const accounts = Object.entries(CLIENTS).map(([client, connect]) => {
      const redis = connect()
      return { client, redis, stream: streams.shift() as string }
    })
    const told = accounts.map(({ client, redis, stream }) => ({ client, stream, account: new Account(redis, stream) }))
    const invocations = told.map(async ({ account }) => {
      for (let beat = 0; beat < beats; beat++) await Promise.all([account.invoke(), pause(BEAT_MS)])
    })
    await pause(1_700)
    const isOfAll = !name.includes('hash slot')
    await Promise.all((isOfAll ? told.slice(0, 1) : told).map(({ stream }) => strike(stream)))
    await Promise.all(invocations)
    for (const { client, account } of told) {
      await account.settle()
      console.log(`${name}, ${client}: ${JSON.stringify(account.numbers)}`, account.failures.slice(0, 3))
    }
    for (const { redis } of accounts) await redis.close()
    for (const { client, account } of told) {
      const { lost, twice, failed } = account.numbers
      expect({ client, twice, isLost: lost > (acksAlone ? EVENTS : 0) }).toEqual({ client, twice: 0, isLost: false })
      if (most !== undefined) expect(failed, account.failures.join('\n')).toBeLessThanOrEqual(most)
    }
  },
  60_000,
)

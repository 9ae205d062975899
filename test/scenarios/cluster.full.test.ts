import { execFileSync } from 'node:child_process'
import { Cluster } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashSlot } from '../../src/core/keys.ts'
import { Account, EVENTS, pause } from '../support/account.ts'
import { failOver, type Node, type PrivateCluster, slotMove, startCluster } from '../support/cluster.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({ empty: 1, args: ['--appendonly', 'yes', '--appendfsync', 'always'], program })
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
  /** Failed invocations that it may cost; `undefined`: it gets how many. */
  readonly most: number | undefined
  /** A node that wakes may acknowledge, once, what its successor does not have: an invocation's events are not counted then. */
  readonly acksAlone?: boolean
  /** Seconds of invocations, the fault after the second. */
  readonly beats: number
  strike(stream: string): Promise<unknown>
}

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
    const invocations = told.map(({ account }) => account.invokeEachSecond(beats))
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

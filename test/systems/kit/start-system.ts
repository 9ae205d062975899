import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Connection, Consumer } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { onTestFinished } from 'vitest'
import type { Random } from '../../../demo/random.ts'
import { type PrivateRedis, type PrivateRedisOptions, startRedisServer } from '../../../tools/redis-server.ts'

const HOST = join(import.meta.dirname, 'host.ts')
const CHECK_EVERY_MS = 25
/** Above every consumer's `minIdleMs`. */
const LONG_IDLE_MS = 600_000
/** Far above what two functions hold. */
const MOST_SLOTS = 100

/** A consumer's stream and group. */
type Group = Pick<Consumer, 'stream' | 'group'>

/** A system's functions on a private Redis, in a process of their own that may be killed. */
export interface RunningSystem {
  readonly server: PrivateRedis
  /** A second client, which knows nothing of the package. */
  readonly raw: Redis
  /** For publishers. */
  readonly redis: Connection
  /** Starts the process, which wakes each function again and again, and waits until all are loaded. */
  start(): Promise<void>
  /** Kills the process, as Lambda may: SIGKILL. What it held may be claimed at once. */
  kill(): Promise<void>
  /** Kills the process so many times, each time after some progress and a moment of chance, and starts it again. */
  killTimes(times: number, random: Random): Promise<void>
  /** Waits until none of these groups has anything undone. */
  drained(): Promise<void>
  /** Entries of the groups' dead-letter streams, as objects of texts. */
  deadLetters(group: Group): Promise<Record<string, string>[]>
}

/**
 * @param environment Of the process, read when it starts: its `REDIS_URL` may be that of a proxy by then.
 * @param functions Modules whose `handler` is a scheduled function, from the repository's root: `functions/orders/poller.ts`.
 * @param groups Whose work `drained()` waits for, and whose dead process is forgotten.
 */
export async function startSystem(
  functions: readonly string[],
  groups: readonly Group[],
  { environment = {}, server: options }: { environment?: NodeJS.ProcessEnv; server?: PrivateRedisOptions } = {},
): Promise<RunningSystem> {
  const server = await startRedisServer(options)
  const raw = new Redis(server.url)
  raw.on('error', () => {})
  const redis = connectIoredis(server.url)
  let child: ChildProcess | undefined
  onTestFinished(async () => {
    await end(child)
    raw.disconnect()
    await redis.close()
    await server.stop()
  })

  async function kill(): Promise<void> {
    await end(child)
    child = undefined
    for (const group of groups) await forgetHolder(raw, group)
  }
  async function start(): Promise<void> {
    child = fork(HOST, [...functions], {
      cwd: join(import.meta.dirname, '../../..'),
      env: {
        ...process.env,
        POWERTOOLS_METRICS_DISABLED: 'true',
        POWERTOOLS_LOG_LEVEL: 'SILENT',
        REDIS_URL: server.url,
        ...environment,
      },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    await Promise.race([once(child, 'message'), once(child, 'exit').then(failToStart)])
  }
  const undone = async () => {
    const counts = await Promise.all(groups.map((group) => countUndone(raw, group)))
    return counts.reduce((sum, count) => sum + count, 0)
  }
  return {
    server,
    raw,
    redis,
    start,
    kill,
    async killTimes(times, random) {
      for (let time = 0; time < times; time++) {
        const before = await undone()
        while (before > 0 && (await undone()) === before) await sleep(1)
        await sleep(random.integer(0, 40))
        await kill()
        await start()
      }
    },
    async drained() {
      while ((await undone()) > 0) await sleep(CHECK_EVERY_MS)
    },
    async deadLetters({ stream, group }) {
      const letters = await raw.xrange(`${slotPrefixOf(stream)}:${group}:dlq`, '-', '+')
      return letters.map(([, flat]) => Object.fromEntries(pairsOf(flat)))
    },
  }
}

function failToStart(): never {
  throw new Error('The process of the functions ended before they were loaded')
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Entries that the group has not read, and those that it has not settled. A group that is not there yet has read nothing. */
async function countUndone(raw: Redis, { stream, group }: Group): Promise<number> {
  const groups = ((await raw.xinfo('GROUPS', stream).catch(() => [])) as unknown[][]).map(
    (flat) => Object.fromEntries(pairsOf(flat)) as { name: string; pending: number; 'last-delivered-id': string },
  )
  const found = groups.find(({ name }) => name === group)
  if (!found) return raw.xlen(stream)
  const unread = await raw.xrange(stream, `(${found['last-delivered-id']}`, '+', 'COUNT', 1_000)
  return found.pending + unread.length
}

/** Ends a dead process's leases, and makes what it held look as if nothing had happened to it for long. */
async function forgetHolder(raw: Redis, { stream, group }: Group): Promise<void> {
  // by name: KEYS holds up a server that has millions
  const names = ['poller', 'claimer'].flatMap((kind) => Array.from({ length: MOST_SLOTS }, (_, n) => `${kind}-${n}`))
  await raw.del(...names.map((name) => `${slotPrefixOf(stream)}:${group}:slot:${name}`))
  const rows = (await raw.xpending(stream, group, '-', '+', 100_000).catch(() => [])) as [string, string][]
  for (const [id, owner] of rows) {
    // what is set aside comes back by itself, in its time
    if (owner !== 'parked') await raw.xclaim(stream, group, owner, 0, id, 'IDLE', LONG_IDLE_MS, 'JUSTID')
  }
}

/** A stream `{shop}:orders` keeps its own tag. */
function slotPrefixOf(stream: string): string {
  return stream.includes('{') ? stream : `{${stream}}`
}

function pairsOf<Value>(flat: readonly Value[]): [string, Value][] {
  return flat.flatMap((name, n) => (n % 2 ? [] : [[String(name), flat[n + 1] as Value] as [string, Value]]))
}

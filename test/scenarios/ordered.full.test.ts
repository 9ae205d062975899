import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Connection, ConsumerOptions, EventHandler } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { STREAM_OF, startCluster } from '../support/cluster.ts'
import { startRestServer } from '../support/rest-server.ts'
import { startScenario } from '../support/scenario.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ key: z.string(), step: z.number() }) })
const KEYS = 40
const STEPS = 5

/** What handlers did: each start of a step, and the steps that a key has done. */
class Account {
  readonly done = new Map<string, number[]>()
  readonly outOfOrder = new Set<string>()
  readonly #tried = new Set<string>()

  /** A handler of up to 4 ms that fails at each key's second step, once. */
  readonly handle = async ({ payload: { key, step } }: { payload: { key: string; step: number } }) => {
    const before = this.done.get(key) ?? []
    const last = before.at(-1) ?? 0
    // after a crash a key repeats from its first unsettled step on
    if (step > last + 1) this.outOfOrder.add(key)
    await delay((Number(key.slice(1)) * 7 + step * 3) % 5)
    if (step === 2 && !this.#tried.has(key)) {
      this.#tried.add(key)
      throw new Error('once')
    }
    if (step === 2) await delay(1)
    this.done.set(key, [...(this.done.get(key) ?? []), step])
  }

  /** Keys whose steps are not all done. */
  get undone(): string[] {
    return Array.from({ length: KEYS }, (_, n) => `k${n}`).filter((key) => new Set(this.done.get(key)).size !== STEPS)
  }
}

function stepping(stream: string, handler: EventHandler<never>, options: Partial<ConsumerOptions> = {}) {
  return defineConsumer({
    stream,
    group: 'billing',
    routes: [on(Stepped, handler as EventHandler)],
    concurrency: 10,
    backoff: { firstMs: 5, factor: 1, maxMs: 5 },
    use: [orderedBy(({ aggregateId }) => aggregateId)],
    ...options,
  })
}

async function publishSteps(stream: string, redis: Connection) {
  const publisher = createPublisher({ stream, redis })
  for (let step = 1; step <= STEPS; step++)
    await publisher.publishMany(
      Array.from({ length: KEYS }, (_, n) => [Stepped, { key: `k${n}`, step }, { aggregateId: `k${n}` }] as const),
    )
}

async function runUntilDone(stream: string, redis: Connection) {
  const account = new Account()
  const consumer = stepping(stream, account.handle as EventHandler<never>)
  await publishSteps(stream, redis)
  for (let round = 0; round < 20 && account.undone.length > 0; round++) {
    await poll(consumer, { redis, remainingMs: 20_000 })
    await claimOnce(consumer, { redis, remainingMs: 20_000 })
  }
  return account
}

describe('40 keys of 5 events, each second one failing once', () => {
  test('are handled in order over TCP', async () => {
    const { redis } = await startScenario()

    const account = await runUntilDone('orders', redis)

    expect([...account.outOfOrder]).toEqual([])
    expect(account.undone).toEqual([])
    for (const steps of account.done.values()) expect(steps).toEqual([1, 2, 3, 4, 5])
  })

  test('are handled in order over REST', async () => {
    const { server } = await startScenario()
    const { redis } = await startRest(server.url)

    const account = await runUntilDone('orders', redis)

    expect([[...account.outOfOrder], account.undone]).toEqual([[], []])
  })

  test('are handled in order on a cluster', { timeout: 60_000 }, async () => {
    const cluster = await startCluster()
    onTestFinished(() => cluster.stop())
    const redis = connectIoredis(cluster.url)
    onTestFinished(() => redis.close())
    for (const stream of STREAM_OF) {
      const account = await runUntilDone(stream, redis)
      expect([[...account.outOfOrder], account.undone]).toEqual([[], []])
    }
  })

  test.for<[string, () => Promise<Killed>]>([
    [
      'over TCP',
      async () => {
        const { server, redis, raw } = await startScenario()
        return { url: server.url, stream: 'orders', redis, raw }
      },
    ],
    [
      'over REST',
      async () => {
        const { server, raw } = await startScenario()
        const { url, redis } = await startRest(server.url)
        return { url, stream: 'orders', redis, raw }
      },
    ],
    [
      'on a cluster',
      async () => {
        const cluster = await startCluster()
        onTestFinished(() => cluster.stop())
        const redis = connectIoredis(cluster.url)
        onTestFinished(() => redis.close())
        const stream = STREAM_OF[1] as string
        return { url: cluster.url, stream, redis, raw: (await cluster.ownerOf(stream)).raw }
      },
    ],
  ])('are handled in order though processes are killed in the middle %s', { timeout: 120_000 }, async ([, start]) => {
    const world = await start()
    const { stream, redis } = world
    await publishSteps(stream, redis)
    const done = new Map<string, Set<number>>()
    const outOfOrder: string[] = []

    for (let round = 0; round < 60 && (round === 0 || (await undoneOf(world)) > 0); round++) {
      const most = round < 8 ? 4 + round * 9 : Number.POSITIVE_INFINITY
      const lines = await runVictim(world, round % 3 === 2 ? 'claim' : 'poll', most)
      outOfOrder.push(...overtaking(lines, done))
      await killedLongAgo(world)
    }

    expect(outOfOrder).toEqual([])
    expect(await undoneOf(world)).toBe(0)
    expect([...done.values()].map((steps) => steps.size)).toEqual(Array.from({ length: KEYS }, () => STEPS))
    expect(await world.raw.xlen(`{${stream}}:billing:dlq`)).toBe(0)
  })
})

test('nothing is read while a run without order holds entries', async () => {
  const { redis, raw } = await startScenario()
  const account = new Account()
  const consumer = stepping('orders', account.handle as EventHandler<never>)
  await poll(consumer, { redis })
  await publishSteps('orders', redis)
  await raw.xreadgroup('GROUP', 'billing', 'claimer-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
  await raw.set('{orders}:billing:slot:claimer-0', 'of a run without order', 'PX', 60_000)

  await expect(poll(consumer, { redis })).rejects.toThrow('held by a run that keeps no order')
  expect(account.done.size).toBe(0)
  await raw.del('{orders}:billing:slot:claimer-0')
  await poll(consumer, { redis })
  expect(account.done.size).toBe(KEYS - 1)
})

/** Where processes are killed. */
interface Killed {
  readonly url: string
  readonly stream: string
  readonly redis: Connection
  /** A client that inspects what was left behind. */
  readonly raw: Redis
}

async function startRest(redisUrl: string) {
  const rest = await startRestServer({ redisUrl, token: 'secret' })
  const url = rest.url.replace('://', '://:secret@')
  const redis = connectUrl(url)
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return { url, redis }
}

/** Entries that are pending, or were not read. */
async function undoneOf({ raw, stream }: Killed): Promise<number> {
  const [pending] = (await raw.xpending(stream, 'billing').catch(() => [1])) as [number]
  const [info] = (await raw.xinfo('GROUPS', stream)) as unknown[][]
  return pending + Number(info?.[info.indexOf('lag') + 1] ?? 1)
}

/** Steps that started before one that no process has ended; a process may have ended steps whose outcome is not stored. */
function overtaking(lines: readonly string[], done: Map<string, Set<number>>): string[] {
  const found: string[] = []
  for (const line of lines) {
    const [what, key = '', step = ''] = line.split(' ')
    const ended = done.get(key) ?? new Set()
    if (what === 'starts')
      for (let before = 1; before < Number(step); before++) if (!ended.has(before)) found.push(`${key} ${step}`)
    if (what === 'ends') done.set(key, ended.add(Number(step)))
  }
  return found
}

/** The time of the killed process is over. */
async function killedLongAgo({ raw, stream }: Killed): Promise<void> {
  await raw.del(...['poller-0', 'claimer-0', 'claimer-1'].map((name) => `{${stream}}:billing:slot:${name}`))
  for (const [id, owner] of (await raw.xpending(stream, 'billing', '-', '+', 1_000)) as [string, string][])
    await raw.xclaim(stream, 'billing', owner, 0, id, 'IDLE', 120_000, 'JUSTID')
}

const VICTIM = new URL('../support/ordered-victim.ts', import.meta.url).pathname

/** Runs a process until it is over, or has said so many lines, when it is killed. @returns What it said. */
async function runVictim({ url, stream }: Killed, action: string, most: number): Promise<readonly string[]> {
  const child = spawn('node', [VICTIM, JSON.stringify({ url, stream, action })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: string[] = []
  const ended = once(child, 'close')
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    if (lines.length === most) child.kill('SIGKILL')
  })
  await ended
  return lines
}

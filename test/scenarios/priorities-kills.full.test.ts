import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { createPublisher, defineConsumer, defineEvent, on, poll, prioritized } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { accessOf } from 'millrace/operate'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { reportImbalance } from '../../src/report.ts'
import { claimOnce } from '../support/claim-once.ts'
import { type Scenario, startScenario } from '../support/scenario.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const jobs = prioritized('jobs', ['high', 'low'])
const PROGRAM = new URL('../support/set-victim.ts', import.meta.url).pathname
const many = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`)

function aSet({ redis }: Pick<Scenario, 'redis'>) {
  const calls: string[] = []
  const consumers = defineConsumer({
    stream: jobs,
    group: 'work',
    maxDeliveries: 10,
    routes: [on(Job, ({ payload }) => void calls.push(payload.id))],
  })
  const publisher = createPublisher({ stream: jobs, redis })
  const publish = (priority: string, ids: readonly string[]) =>
    publisher.publishMany(ids.map((id) => [Job, { id }, { priority }] as const))
  return { calls, consumers, publish }
}

/** Runs the set in a process, and kills it once so many handlers have finished. @returns What began, and what finished. */
async function killedAfter(url: string, done: number) {
  const child = spawn(process.execPath, [PROGRAM, url, '5'], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said: [string, string][] = []
  createInterface(child.stdout).on('line', (line) => {
    said.push(line.split(' ') as [string, string])
    if (said.filter(([what]) => what === 'done').length === done) child.kill('SIGKILL')
  })
  await once(child, 'close')
  const idsOf = (what: string) => said.flatMap(([word, id]) => (word === what ? [id] : []))
  return { begun: idsOf('begun'), done: idsOf('done') }
}

/** Pending entries of both streams, by owner. */
async function pending({ raw }: Scenario): Promise<[string, string, number][]> {
  const rows = await Promise.all(jobs.streams.map((stream) => raw.xpending(stream, 'work', '-', '+', 1_000)))
  return (rows.flat() as [string, string, number, number][]).map(([id, owner, , count]) => [id, owner, count])
}

/** As if nothing had happened to what is pending for that long; and nobody held a slot. */
async function age({ raw }: Scenario, ms: number): Promise<void> {
  for (const stream of jobs.streams) {
    for (const [id, owner, , count] of (await raw.xpending(stream, 'work', '-', '+', 1_000)) as [
      string,
      string,
      number,
      number,
    ][])
      await raw.call('XCLAIM', stream, 'work', owner, '0', id, 'IDLE', `${ms}`, 'RETRYCOUNT', `${count}`, 'JUSTID')
  }
  const leases = await raw.keys('{jobs}:*:slot:*')
  if (leases.length > 0) await raw.del(...leases)
}

describe('promises 1 and 4: a set whose process dies', () => {
  it.each([1, 7, 30])(
    'after %i jobs leaves the others to the claimer, and none is lost on any stream',
    async (done) => {
      const scenario = await startScenario()
      const { redis, server } = scenario
      const { calls, consumers, publish } = aSet(scenario)
      await publish('high', many('h', 40))
      await publish('low', many('l', 40))

      const killed = await killedAfter(server.url, done)
      await age(scenario, 120_000)
      const reports = [await poll(consumers, { redis })]
      for (let run = 0; run < 20 && (await pending(scenario)).length > 0; run++) {
        reports.push(await claimOnce(consumers, { redis }))
        await age(scenario, 120_000)
      }

      const all = [...many('h', 40), ...many('l', 40)]
      expect([...new Set([...killed.done, ...calls])].sort()).toEqual([...all].sort())
      expect(await pending(scenario)).toEqual([])
      expect(reports.map(reportImbalance)).toEqual(reports.map(() => 0))
      expect(reports.reduce((sum, { deadLettered }) => sum + deadLettered, 0)).toBe(0)
      // what had begun and not finished, and what finished unsettled, comes again; nothing else does
      const twice = calls.filter((id) => killed.begun.includes(id))
      expect(twice.length).toBeLessThanOrEqual(killed.begun.length)
    },
  )

  it('a claimer starts no more than run side by side, over all streams', async () => {
    const scenario = await startScenario()
    const { redis, raw } = scenario
    const open = Promise.withResolvers<void>()
    const full = Promise.withResolvers<void>()
    let running = 0
    const consumers = defineConsumer({
      stream: jobs,
      group: 'work',
      concurrency: 4,
      routes: [
        on(Job, async () => {
          if (++running === 4) full.resolve()
          await open.promise
        }),
      ],
    })
    const { publish } = aSet(scenario)
    await publish('high', many('h', 10))
    await publish('low', many('l', 10))
    // as a poller leaves what it read that died before a handler had begun
    for (const stream of jobs.streams) {
      await raw.xgroup('CREATE', stream, 'work', '0')
      await raw.xreadgroup('GROUP', 'work', 'poller-3', 'COUNT', 20, 'STREAMS', stream, '>')
    }
    await age(scenario, 120_000)

    const claiming = claimOnce(consumers, { redis })
    await full.promise
    // what would be started beside them is by now
    await delay(100)
    const started = (await pending(scenario)).filter(([, , count]) => count > 1)
    open.resolve()
    const report = await claiming

    // a process that dies costs a delivery only what runs
    expect(started).toHaveLength(4)
    expect(report).toMatchObject({ claimed: 20, acked: 20 })
  })
})

describe('promise 17: a set under the rights that the tools say', () => {
  it('publishes with the rights that the page says, also once', async () => {
    const { raw, connect, server } = await startScenario()
    const cluster = '+cluster|slots +asking'
    const users = {
      plain: `on ~{jobs}:high ~{jobs}:low -@all +xadd ${cluster}`,
      once: `on ~{jobs}:* ~{jobs}::published:%%3A:* -@all +eval +evalsha +xadd +zcard +zscore +hget +get +setnx +getex +getdel ${cluster}`,
    }
    for (const [name, rules] of Object.entries(users))
      await raw.call('ACL', 'SETUSER', name, '>secret', ...rules.split(' '))
    const as = (name: string) =>
      createPublisher({ stream: jobs, redis: connect(server.url.replace('redis://', `redis://${name}:secret@`)) })

    await as('plain').publish(Job, { id: 'a' }, { priority: 'high' })
    const publisher = as('once')
    const first = await publisher.publish(Job, { id: 'b' }, { eventId: 'e', deduplicateMs: 60_000, priority: 'high' })
    const again = await publisher.publish(Job, { id: 'b' }, { eventId: 'e', deduplicateMs: 60_000, priority: 'low' })

    expect(again).toEqual({ ...first, duplicate: true })
    expect(await raw.keys('{jobs}::*')).toEqual(['{jobs}::published:%%3A:e'])
  })

  it('polls, claims and retries, and may touch nothing else', async () => {
    const scenario = await startScenario()
    const { raw, server } = scenario
    const own = aSet(scenario)
    let fails = true
    const consumers = defineConsumer({
      stream: jobs,
      group: 'work',
      backoff: { firstMs: 0 },
      routes: [
        on(Job, () => {
          if (fails) throw new Error('not yet')
        }),
      ],
    })
    await own.publish('high', ['a'])
    await own.publish('low', ['b'])
    const access = accessOf(consumers)
    for (const [name, rules] of Object.entries(access))
      await raw.call('ACL', 'SETUSER', name, '>secret', ...(rules.match(/\([^)]*\)|\S+/g) ?? []))
    const as = (name: string) => scenario.connect(server.url.replace('redis://', `redis://${name}:secret@`))

    const polled = await poll(consumers, { redis: as('poller') })
    fails = false
    const claimed = await claimOnce(consumers, { redis: as('claimer') })

    expect([polled.retried, claimed.acked]).toEqual([2, 2])
    const other = connectIoredis(server.url.replace('redis://', 'redis://poller:secret@'))
    onTestFinished(() => other.close())
    const elsewhere = defineConsumer({ stream: '{jobs}:other', group: 'work', routes: [on(Job, () => {})] })
    await expect(poll(elsewhere, { redis: other })).rejects.toThrow(/NOPERM|permission/i)
  })
})

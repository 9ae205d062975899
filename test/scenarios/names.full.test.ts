import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, counts, names, noting, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'

const fail = () => Promise.reject(new Error('no'))

interface Name {
  readonly name: string
  readonly pending: number
  readonly idle: number
}

async function consumerNames(raw: Redis): Promise<Name[]> {
  const rows = (await raw.xinfo('CONSUMERS', 'orders', 'billing')) as (string | number)[][]
  return rows.map((row) => ({ name: String(row[1]), pending: Number(row[3]), idle: Number(row[5]) }))
}

/** Resolves once every name has been idle for that long. */
async function idleFor(raw: Redis, idleMs: number): Promise<void> {
  while ((await consumerNames(raw)).some(({ idle }) => idle < idleMs)) await delay(10)
}

describe('promise 10: consumer names stay few', () => {
  it('over a thousand cold starts, also overlapping ones, and some that were killed', async () => {
    const { server, raw, publish } = await startScenario()
    const handler = ({ payload }: { payload: { orderId: string } }) => (payload.orderId === 'fails' ? fail() : delay(1))
    const consumer = billing(handler as (event: never) => unknown, { backoff: { firstMs: 0 }, maxDeliveries: 2 })
    const most = { names: 0 }
    const coldStart = async (n: number) => {
      const redis = connectIoredis(server.url)
      await (n % 2 === 0 ? poll : claimOnce)(consumer, { redis })
      await redis.close()
    }
    /** What a killed invocation leaves: its lease, which lives as long as it might have, and an entry under its name. */
    const leaveLease = async (slot: string) => {
      await raw.set(`{orders}:billing:slot:${slot}`, randomUUID(), 'PX', 100, 'NX')
      await raw.xreadgroup('GROUP', 'billing', slot, 'COUNT', 1, 'STREAMS', 'orders', '>')
    }
    await publish('a')
    await coldStart(0)
    const victims = (['poll', 'claim', 'poll'] as const).map((action) =>
      startVictim({ url: server.url, action, options: {}, handlerMs: 600_000 }),
    )

    for (let started = 0; started < 1_000; started += 8) {
      await publish('a', 'b', 'fails')
      if (started % 80 === 0) await leaveLease(started % 160 === 0 ? 'poller-0' : 'claimer-1')
      await Promise.all(Array.from({ length: 8 }, (_, n) => coldStart(started + n)))
      if (started === 400) await Promise.all(victims.map((victim) => victim.kill()))
      most.names = Math.max(most.names, (await consumerNames(raw)).length)
    }

    const slots = [...names('poller-', 4), ...names('claimer-', 2), 'parked']
    expect((await consumerNames(raw)).map(({ name }) => name).filter((name) => !slots.includes(name))).toEqual([])
    expect(most.names).toBeLessThanOrEqual(slots.length)
  })

  it('after a time without memory, when invocations went by names of their own', async () => {
    const { redis, raw, publish } = await startScenario()
    const owners: string[] = []
    const { handler } = noting((_event, { consumerName }) => void owners.push(consumerName))
    const consumer = billing(handler, { minIdleMs: 50, handlerTimeoutMs: 5_000, allowLongHandlers: true })
    await poll(consumer, { redis })
    await publish('a', 'b')
    await raw.config('SET', 'maxmemory', '1')
    await poll(consumer, { redis })
    await raw.config('SET', 'maxmemory', '0')
    const [own = ''] = owners
    expect([own, (await consumerNames(raw)).some(({ name }) => name === own)]).toEqual([
      expect.stringMatching(/^poller-[0-9a-f-]{36}$/),
      true,
    ])

    await idleFor(raw, 50)
    await claimOnce(consumer, { redis })

    expect((await consumerNames(raw)).some(({ name }) => name === own)).toBe(false)
  })
})

describe('promise 10: a left-over name is removed only if nobody can miss it', () => {
  it('not with a live lease, pending entries or use, nor foreign names, parked and slots', async () => {
    const { redis, raw, publish, age } = await startScenario()
    const minIdleMs = 400
    const stop = new AbortController()
    const consumer = billing(() => stop.abort(), { minIdleMs, handlerTimeoutMs: 5_000, allowLongHandlers: true })
    await publish(...names('o', 500))
    await poll(billing(fail, { batchSize: 500, backoff: { firstMs: 0 } }), { redis })
    const foreign = ['mine', 'poller-alice', 'poller-', 'poller-1e3', 'xpoller-9', 'poller-9x', 'parked-9', 'claimer']
    const own = ['poller-4', 'poller-99', 'claimer-2', `poller-${randomUUID()}`, `claimer-${randomUUID()}`]
    for (const name of [...foreign, ...own, 'poller-3', 'claimer-1', 'poller-30', 'poller-40'])
      await raw.xgroup('CREATECONSUMER', 'orders', 'billing', name)
    await idleFor(raw, minIdleMs)
    const owned = await publish('owned', 'owned too')
    for (const owner of ['poller-20', 'claimer-20'])
      await raw.xreadgroup('GROUP', 'billing', owner, 'COUNT', 1, 'STREAMS', 'orders', '>')
    await raw.set('{orders}:billing:slot:poller-30', 'another', 'PX', 60_000)
    const [busy = ''] = await publish('busy')
    await raw.xreadgroup('GROUP', 'billing', 'poller-40', 'COUNT', 1, 'STREAMS', 'orders', '>')
    await raw.xack('orders', 'billing', busy)

    // the run ends at its first handler, far from the entries that left-over names own
    const report = await claimOnce(consumer, { redis, signal: stop.signal })

    const kept = await consumerNames(raw)
    const slots = ['claimer-0', 'claimer-1', 'parked', 'poller-0', 'poller-3']
    expect(report.drained).toBe(false)
    expect(kept.map(({ name }) => name).toSorted()).toEqual(
      [...foreign, ...slots, 'claimer-20', 'poller-20', 'poller-30', 'poller-40'].toSorted(),
    )
    expect(((await raw.xpending('orders', 'billing', '-', '+', 1_000)) as string[][]).map(([id]) => id)).toEqual(
      expect.arrayContaining(owned),
    )
    await age(0)
  })

  it('not when it takes an entry at the last moment', async () => {
    const { server, raw, connect, publish, pending } = await startScenario()
    const proxy = await startFaultProxy(server)
    const consumer = billing(() => {}, { minIdleMs: 50, handlerTimeoutMs: 5_000, allowLongHandlers: true })
    const redis = connect(proxy.url)
    await poll(consumer, { redis })
    for (const name of ['poller-9', 'poller-8']) await raw.xgroup('CREATECONSUMER', 'orders', 'billing', name)
    await publish('a')
    await idleFor(raw, 50)

    const paused = proxy.pauseOn('poller-9')
    const claiming = claimOnce(consumer, { redis })
    const held = await paused
    await raw.xreadgroup('GROUP', 'billing', 'poller-9', 'COUNT', 1, 'STREAMS', 'orders', '>')
    await idleFor(raw, 50)
    held.release()

    expect(counts(await claiming)).toEqual({ drained: true })
    expect(await pending()).toEqual([['a', 'poller-9', 1]])
    expect((await consumerNames(raw)).map(({ name }) => name)).not.toContain('poller-8')
    await proxy.close()
  })
})

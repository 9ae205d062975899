import { poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, names, noting, startScenario } from '../support/scenario.ts'

describe('promise 14: one round trip a batch', () => {
  it('the settlement of a batch travels with the next read, in one write', async () => {
    const { server, connect, publish } = await startScenario()
    const proxy = await startFaultProxy(server)
    const redis = connect(proxy.url)
    const { calls, handler } = noting()
    const consumer = billing(handler, { batchSize: 10 })
    await publish('a')
    await poll(consumer, { redis })
    await publish(...names('o', 200))
    const before = proxy.requests

    const report = await poll(consumer, { redis })

    expect(calls).toHaveLength(201)
    // take the slot, read, settle and read, read ahead, eighteen times settle and read ahead, settle and find nothing, give the slot back
    expect([report.roundTrips, proxy.requests - before]).toEqual([24, 24])
    await proxy.close()
  })

  it('a batch of a hundred successes costs one XACK and one XREADGROUP', async () => {
    const { redis, raw, publish } = await startScenario()
    const consumer = billing(() => {})
    await publish(...names('o', 1_000))
    await poll(consumer, { redis })
    await publish(...names('o', 1_000))
    await raw.config('RESETSTAT')

    await poll(consumer, { redis }) // and three scripts: take the slot, the first read, give the slot back

    const stats = await raw.info('commandstats')
    const calls = (command: string) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
    // reading ahead may let two batches share an XACK, and its first and last read find nothing to settle or to read
    expect(calls('evalsha')).toBe(3)
    expect(calls('xack')).toBeLessThanOrEqual(10)
    expect(calls('xreadgroup')).toBeLessThanOrEqual(12)
  })
})

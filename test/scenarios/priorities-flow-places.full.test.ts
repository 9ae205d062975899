import {
  circuitBreaker,
  concurrencyLimit,
  createPublisher,
  defineConsumer,
  defineEvent,
  on,
  poll,
  prioritized,
  rateLimit,
} from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { runJanitor } from 'millrace/janitor'
import { accessOf, closeBreakers } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { STREAM_OF, startCluster } from '../support/cluster.ts'
import { startScenario } from '../support/scenario.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const use = [
  circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 }),
  concurrencyLimit({ max: 2 }),
  rateLimit({ max: 100, perMs: 1_000 }),
]

function aSet(name: string, policies = use) {
  const stream = prioritized(name, ['high', 'low'])
  const state = { fails: false }
  const handle = () => {
    if (state.fails) throw new Error('out')
  }
  return {
    stream,
    state,
    consumers: defineConsumer({ stream, group: 'work', routes: [on(Job, handle)], use: policies }),
  }
}

test('the rights that accessOf() names are all that flow control of a set needs', async () => {
  const { server, raw, redis, connect } = await startScenario()
  const { stream, state, consumers } = aSet('jobs')
  const publisher = createPublisher({ stream, redis })
  for (const priority of ['high', 'low', 'low']) await publisher.publish(Job, { id: 'a' }, { priority })
  for (const [name, rules] of Object.entries(accessOf(consumers)))
    await raw.call('ACL', 'SETUSER', name, '>secret', ...(rules.match(/\([^)]*\)|\S+/g) ?? []))
  const as = (name: string) => connect(server.url.replace('redis://', `redis://${name}:secret@`))

  expect(await poll(consumers, { redis: as('poller') })).toMatchObject({ acked: 3 })
  state.fails = true
  await publisher.publish(Job, { id: 'b' }, { priority: 'low' })
  await publisher.publish(Job, { id: 'c' }, { priority: 'high' })
  expect(await poll(consumers, { redis: as('poller') })).toMatchObject({ parked: 2 })
  state.fails = false
  await closeBreakers(consumers, { redis })
  expect(await claimOnce(consumers, { redis: as('claimer') })).toMatchObject({ acked: 2 })
})

test.each(use)('and those of $name alone', async (policy) => {
  const { server, raw, redis, connect } = await startScenario()
  const { stream, consumers } = aSet('jobs', [policy])
  const publisher = createPublisher({ stream, redis })
  for (const priority of ['high', 'low', 'low']) await publisher.publish(Job, { id: 'a' }, { priority })
  const [rules = ''] = Object.values(accessOf(consumers))
  await raw.call('ACL', 'SETUSER', 'poller', '>secret', ...(rules.match(/\([^)]*\)|\S+/g) ?? []))

  const polled = await poll(consumers, { redis: connect(server.url.replace('redis://', 'redis://poller:secret@')) })

  expect(polled).toMatchObject({ acked: 3 })
  expect(await raw.call('ACL', 'LOG')).toEqual([])
})

test('on a cluster limits, breakers and registries of a set lie where it does', { timeout: 60_000 }, async () => {
  const cluster = await startCluster()
  onTestFinished(() => cluster.stop())
  const redis = connectIoredis(cluster.url)
  onTestFinished(() => redis.close())
  for (const name of STREAM_OF) {
    const { stream, state, consumers } = aSet(name)
    const publisher = createPublisher({ stream, redis })
    const publish = (priority: string) => publisher.publish(Job, { id: 'a' }, { priority })
    for (const priority of ['high', 'low']) await publish(priority)

    expect(await poll(consumers, { redis })).toMatchObject({ acked: 2 })
    state.fails = true
    await publish('low')
    expect(await poll(consumers, { redis })).toMatchObject({ parked: 1, circuitOpen: 1 })
    expect(await closeBreakers(consumers, { redis })).toHaveLength(1)
    expect(await runJanitor({ stream, groups: { work: { owner: 'team' } } }, { redis })).toMatchObject({ trimmed: 0 })
    await claimOnce(consumers, { redis })
    expect(await runJanitor({ stream }, { redis })).toMatchObject({ trimmed: 2 })
  }
})

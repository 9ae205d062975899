import { createClaimer, createPoller, defineConsumer, on, prioritized, filterPatterns as withPatterns } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createPublisher } from '../../src/publish/publisher.ts'
import { applyDeployedSettings } from '../../src/run/event-source.ts'
import { billing, noting, OrderPaid } from '../support/scenario.ts'

const consumer = billing(() => {})
const read = (value: unknown) =>
  applyDeployedSettings([consumer], {
    MILLRACE_EVENT_SOURCE: typeof value === 'string' ? value : JSON.stringify(value),
  })

afterEach(() => void vi.unstubAllEnvs())

describe('what the deployment sets', () => {
  test('has the last word', () => {
    const settings = { batchSize: 7, concurrency: 3, mode: 'once', maxRunMs: 5_000, maxPollers: 2 }
    const [deployed] = read([{ stream: 'orders', group: 'billing', ...settings }])

    expect(deployed).toEqual({ ...consumer, settings: { ...consumer.settings, ...settings } })
  })

  test('is nothing where it says nothing, or speaks of others', () => {
    expect(applyDeployedSettings([consumer], {})).toEqual([consumer])
    expect(read([{ stream: 'orders', group: 'search', batchSize: 7 }])).toEqual([consumer])
  })

  test('holds for the poller that it is made for', async () => {
    vi.stubEnv('MILLRACE_EVENT_SOURCE', JSON.stringify([{ stream: 'orders', group: 'billing', batchSize: 2 }]))
    const redis = connectMemory()
    const publisher = createPublisher({ stream: 'orders', redis })
    for (const orderId of ['a', 'b', 'c']) await publisher.publish(OrderPaid, { orderId })

    expect(await createPoller(consumer, { redis })()).toMatchObject({ read: 3, batches: 2 })
  })

  test('names the events that are for the group, where its code can read that', async () => {
    const filterPatterns = [{ payload: { orderId: [{ prefix: 'b' }] } }]
    vi.stubEnv('MILLRACE_EVENT_SOURCE', JSON.stringify([{ stream: 'orders', group: 'billing', filterPatterns }]))
    const redis = connectMemory()
    const { calls, handler } = noting()
    const publisher = createPublisher({ stream: 'orders', redis })
    for (const orderId of ['a', 'b']) await publisher.publish(OrderPaid, { orderId })

    for (const filter of [withPatterns(), withPatterns([{ type: ['OrderShipped'] }])]) {
      const filtered = billing(handler, { filter })
      expect(() => createClaimer(filtered, { redis })).not.toThrow()
      await createPoller(filtered, { redis })()
    }

    expect(calls).toEqual(['b'])
  })

  test('holds for each stream of a set, unless that has its own', () => {
    const stream = prioritized('jobs', ['high', 'low'])
    const set = defineConsumer({ stream, group: 'work', routes: [on(OrderPaid, () => {})] })
    const sources = [
      { stream: 'jobs', group: 'work', batchSize: 7 },
      { stream: '{jobs}:low', group: 'work', batchSize: 3 },
    ]
    const deployed = applyDeployedSettings(set, { MILLRACE_EVENT_SOURCE: JSON.stringify(sources) })

    expect(deployed.map(({ stream: key, settings }) => [key, settings.batchSize])).toEqual([
      ['{jobs}:high', 7],
      ['{jobs}:low', 3],
    ])
  })

  test('does not change what the code filters by where it says nothing of it', () => {
    const filtered = billing(() => {}, { filter: withPatterns([{ type: ['OrderPaid'] }]) })
    const [deployed] = applyDeployedSettings([filtered], {
      MILLRACE_EVENT_SOURCE: JSON.stringify([{ stream: 'orders', group: 'billing', batchSize: 1 }]),
    })

    expect(deployed?.filter).toBe(filtered.filter)
  })

  test.each([
    [[], 'Cannot read MILLRACE_EVENT_SOURCE: filterPatterns must be an array of 1 to 10 patterns'],
    [null, 'Cannot read MILLRACE_EVENT_SOURCE: filterPatterns must be an array of 1 to 10 patterns'],
    [[{ type: 'OrderPaid' }], 'Cannot read MILLRACE_EVENT_SOURCE: filterPatterns[0].type must be an array of values'],
  ])('is refused with the patterns %j', (filterPatterns, message) => {
    const source = JSON.stringify([{ stream: 'orders', group: 'billing', filterPatterns }])
    const filtered = billing(() => {}, { filter: withPatterns() })

    expect(() => applyDeployedSettings([filtered], { MILLRACE_EVENT_SOURCE: source })).toThrow(message)
  })

  test.each([
    [
      [{ stream: 'orders', group: 'billing', filterPatterns: [{ type: ['OrderPaid'] }] }],
      'Cannot read MILLRACE_EVENT_SOURCE: filterPatterns need filter: filterPatterns() in the code of group "billing"',
    ],
    ['{', 'Cannot read MILLRACE_EVENT_SOURCE: it must be a JSON array of { stream, group, … }, one per consumer'],
    [{}, 'Cannot read MILLRACE_EVENT_SOURCE: it must be a JSON array of'],
    [[null], 'Cannot read MILLRACE_EVENT_SOURCE: it must be a JSON array of'],
    [[{ group: 'g' }], 'Cannot read MILLRACE_EVENT_SOURCE: it must be a JSON array of'],
    [[{ stream: 's', group: 'g', batch: 1 }], 'Cannot read MILLRACE_EVENT_SOURCE: unknown option "batch"'],
    [
      [{ stream: 'orders', group: 'billing', batchSize: 0 }],
      'Cannot read MILLRACE_EVENT_SOURCE: batchSize must be >= 1',
    ],
    [[{ stream: 'orders', group: 'billing', mode: 'tail' }], 'Cannot read MILLRACE_EVENT_SOURCE: mode must be one of'],
  ])('is refused when it is %j, when the module loads', (value, message) => {
    vi.stubEnv('MILLRACE_EVENT_SOURCE', typeof value === 'string' ? value : JSON.stringify(value))
    const redis = connectMemory()

    expect(() => createPoller(consumer, { redis })).toThrow(message)
    expect(() => createClaimer(consumer, { redis })).toThrow(message)
  })
})

test('the deployment sets the streams of a set by its name', () => {
  const consumers = defineConsumer({
    stream: prioritized('jobs', ['high', 'low']),
    group: 'work',
    routes: [on(OrderPaid, () => {})],
  })
  const sources = JSON.stringify([{ stream: 'jobs', group: 'work', batchSize: 7 }])

  const deployed = applyDeployedSettings(consumers, { MILLRACE_EVENT_SOURCE: sources })

  expect(deployed.map(({ settings }) => settings.batchSize)).toEqual([7, 7])
})

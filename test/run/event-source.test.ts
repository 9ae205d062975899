import { createClaimer, createPoller } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createPublisher } from '../../src/publish/publisher.ts'
import { deployedConsumers } from '../../src/run/event-source.ts'
import { billing, OrderPaid } from '../support/scenario.ts'

const consumer = billing(() => {})
const read = (value: unknown) =>
  deployedConsumers([consumer], { MILLRACE_EVENT_SOURCE: typeof value === 'string' ? value : JSON.stringify(value) })

afterEach(() => void vi.unstubAllEnvs())

describe('what the deployment sets', () => {
  test('has the last word', () => {
    const settings = { batchSize: 7, concurrency: 3, mode: 'once', maxRunMs: 5_000, maxPollers: 2 }
    const [deployed] = read([{ stream: 'orders', group: 'billing', ...settings }])

    expect(deployed).toEqual({ ...consumer, settings: { ...consumer.settings, ...settings } })
  })

  test('is nothing where it says nothing, or speaks of others', () => {
    expect(deployedConsumers([consumer], {})).toEqual([consumer])
    expect(read([{ stream: 'orders', group: 'search', batchSize: 7 }])).toEqual([consumer])
  })

  test('holds for the poller that it is made for', async () => {
    vi.stubEnv('MILLRACE_EVENT_SOURCE', JSON.stringify([{ stream: 'orders', group: 'billing', batchSize: 2 }]))
    const redis = connectMemory()
    const publisher = createPublisher({ stream: 'orders', redis })
    for (const orderId of ['a', 'b', 'c']) await publisher.publish(OrderPaid, { orderId })

    expect(await createPoller(consumer, { redis })()).toMatchObject({ read: 3, batches: 2 })
  })

  test.each([
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

import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, ConsumerSetOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, poll, prioritized } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { reportImbalance } from '../../src/report.ts'
import { PLACES } from '../support/places.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const PRIORITIES = ['high', 'normal', 'low'] as const
const many = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`)

function aGroup(redis: Connection, work: (id: string) => unknown, options: Partial<ConsumerSetOptions>) {
  const stream = prioritized('jobs', PRIORITIES)
  const calls: string[] = []
  const consumers = defineConsumer({
    stream,
    group: 'work',
    maxPollers: 1,
    routes: [
      on(Job, ({ payload: { id } }) => {
        calls.push(id)
        return work(id)
      }),
    ],
    ...options,
  })
  const publisher = createPublisher({ stream, redis })
  const publish = (priority: string, ...ids: string[]) =>
    publisher.publishMany(ids.map((id) => [Job, { id }, { priority }] as const))
  return { calls, consumers, publish }
}

describe.each(PLACES)('a set over %s', (_name, start) => {
  it('runs last deliveries alone while other streams have work, and ends', async () => {
    const redis = await start()
    const stop = new AbortController()
    let running = 0
    const besideLast: number[] = []
    const { calls, consumers, publish } = aGroup(
      redis,
      async (id) => {
        const isLast = calls.filter((one) => one === id).length === 2
        running++
        if (isLast) besideLast.push(running)
        await delay(5)
        running--
        if (calls.length === 318) stop.abort()
        if (id.includes('x') && !isLast) throw new Error('not yet')
      },
      { mode: 'listen', batchSize: 10, concurrency: 2, maxDeliveries: 2, backoff: { firstMs: 0 } },
    )
    for (const priority of PRIORITIES) await publish(priority, ...many(`${priority}x`, 3), ...many(priority, 100))

    const report = await poll(consumers, { redis, signal: stop.signal, remainingMs: 20_000 })

    expect(report).toMatchObject({ acked: 309, retried: 9, deadLettered: 0 })
    expect(besideLast).toHaveLength(9)
    expect(report.consumers.map(reportImbalance)).toEqual([0, 0, 0])
  })
})

import { createPublisher, defineConsumer, defineEvent, on, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { expect, it } from 'vitest'
import * as z from 'zod/mini'
import { atMostPerRun } from './at-most-per-run.ts'

const Paid = defineEvent('Paid', { payload: z.object({ id: z.string() }) })

it('atMostPerRun() calls so many, and parks the others at no delivery', async () => {
  const redis = connectMemory()
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, () => {})],
    use: [atMostPerRun(2)],
  })
  const publisher = createPublisher({ stream: 'orders', redis })
  for (const id of ['1', '2', '3']) await publisher.publish(Paid, { id })

  const report = await poll(consumer, { redis })

  expect(report).toMatchObject({ read: 3, acked: 2, parked: 1 })
  expect(redis.pending('orders', 'billing')).toMatchObject([{ consumerName: 'parked', deliveryCount: 0 }])
})

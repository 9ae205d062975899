import { createPublisher } from 'millrace'
import { expect, test } from 'vitest'
import { createRandom } from '../../demo/random.ts'
import { OrderPaid, OrderShipped } from '../../functions/events/orders.ts'
import { startSystem } from './kit/start-system.ts'

const BILLING = { stream: 'orders', group: 'billing' }

test('orders: every event is acknowledged or a dead letter, whatever is killed', { timeout: 120_000 }, async () => {
  const orders = await startSystem(['functions/orders/poller.ts', 'functions/orders/claimer.ts'], [BILLING])
  const publisher = createPublisher({ stream: 'orders', redis: orders.redis })
  const publications = Array.from({ length: 300 }, (_, n) =>
    n % 10 === 0
      ? ([OrderShipped, { orderId: `o-${n}`, carrier: 'pigeon', parcels: 1 }] as const)
      : ([OrderPaid, { orderId: `o-${n}`, amount: '1.00', currency: 'EUR' }] as const),
  )
  await publisher.publishMany(publications)

  await orders.start()
  await orders.killTimes(3, createRandom(1))
  await orders.drained()

  const letters = await orders.deadLetters(BILLING)
  expect(letters.map(({ reason }) => reason)).toEqual(Array.from({ length: 30 }, () => 'non-retryable'))
  expect(await orders.raw.xpending('orders', 'billing')).toEqual([0, null, null, null])
})

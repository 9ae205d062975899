import { createPublisher, defineConsumer, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { registerGroups } from 'millrace/janitor'
import { pause, resume } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import { STREAM_OF, startCluster } from '../support/cluster.ts'
import { OrderPaid } from '../support/consumer.ts'

test.each(['url', 'plainUrl'] as const)(
  'on a cluster every group is paused where its keys are, confirmed there: %s',
  {
    timeout: 60_000,
  },
  async (url) => {
    const cluster = await startCluster()
    onTestFinished(() => cluster.stop())
    const redis = connectIoredis(cluster[url])
    onTestFinished(() => redis.close())
    for (const stream of STREAM_OF) {
      const consumer = defineConsumer({ stream, group: 'billing', routes: [on(OrderPaid, () => {})] })
      await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'a' })
      await poll(consumer, { redis })

      expect(await pause(consumer, { redis })).toMatchObject({ isConfirmed: true })
      expect(await poll(consumer, { redis })).toMatchObject({ paused: true })
      expect(await resume(consumer, { redis })).toMatchObject({ unread: 0, isConfirmed: true })
    }
  },
)

test('on a cluster the backlog of each stream is measured where it is', { timeout: 60_000 }, async () => {
  const cluster = await startCluster()
  onTestFinished(() => cluster.stop())
  const redis = connectIoredis(cluster.url)
  onTestFinished(() => redis.close())
  for (const stream of STREAM_OF) {
    await registerGroups(stream, { billing: { owner: 'shop' } }, { redis })
    const publisher = createPublisher({ stream, redis, maxBacklog: 1 })
    await publisher.publish(OrderPaid, { orderId: 'a' })

    await expect(publisher.publish(OrderPaid, { orderId: 'b' })).rejects.toMatchObject({ group: 'billing', backlog: 1 })
  }
})

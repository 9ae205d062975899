import { createClaimer, createPoller, createPublisher, NonRetryableError } from 'millrace'
import { connect } from 'millrace/connect'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startRestServer } from '../support/rest-server.ts'
import { billing, counts, lambdaContext, noting, OrderPaid, startScenario } from '../support/scenario.ts'

describe('promise 15: over REST', () => {
  it('the main job gives the same outcomes: acked, retried, dead-lettered, text exact', async () => {
    const { server, pending, deadLetters } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    onTestFinished(() => rest.close())
    const redis = connect(rest.url.replace('://', '://:secret@'))
    const { calls, handler } = noting((event, { deliveryCount }) => {
      const { orderId } = (event as { payload: { orderId: string } }).payload
      if (orderId === 'bad ✓') throw new NonRetryableError('gone')
      if (orderId === 'again' && deliveryCount === 1) throw new Error('not yet')
    })
    const consumer = billing(handler, { backoff: { firstMs: 0 } })
    const orders = createPublisher({ stream: 'orders', redis })
    for (const orderId of ['42', 'again', 'bad ✓']) await orders.publish(OrderPaid, { orderId })

    const reports = [
      await createPoller(consumer, { redis })({}, lambdaContext()),
      await createClaimer(consumer, { redis, lingerMs: 0 })({}, lambdaContext()),
    ]

    expect(calls).toEqual(['42', 'again', 'bad ✓', 'again'])
    expect(reports.map(counts)).toEqual([
      { read: 3, acked: 1, retried: 1, deadLettered: 1, batches: 1, drained: true },
      { claimed: 1, acked: 1, batches: 1, drained: true },
    ])
    expect((await deadLetters()).map(({ fields }) => fields.at(-1))).toEqual([['payload', '{"orderId":"bad ✓"}']])
    expect(await pending()).toEqual([])
    await redis.close()
  })
})

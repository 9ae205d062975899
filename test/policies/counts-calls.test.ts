import type { Wrap } from 'millrace'
import { defineConsumer, on, onBatch } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer, Paid, Shipped } from './world.ts'

/** Counts calls: a wrap is a function. */
function countsCalls() {
  const calls: string[] = []
  const wrap: Wrap = (next) => (event, context) => {
    const one = event as { type: string } | readonly { type: string }[]
    calls.push(Array.isArray(one) ? `${one.length} ${one[0]?.type}` : (one as { type: string }).type)
    return next(event, context)
  }
  return { calls, wrap }
}

describeEverywhere('a policy that counts calls', (start) => {
  it('sees each call, of an event or of a batch, retries included', async () => {
    const world = await start()
    const { calls, wrap } = countsCalls()
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        on(Paid, (_event, { deliveryCount }) => deliveryCount === 1 && Promise.reject(new Error('no'))),
        onBatch(Shipped, () => {}),
      ],
      use: [wrap],
      backoff: { firstMs: 0 },
    })
    await world.publish('p1', 's1', 's2')

    const polled = await world.poll(consumer)
    await world.pass(60_000)
    const claimed = await world.claim(consumer)

    expect(calls.sort()).toEqual(['2 Shipped', 'Paid', 'Paid'])
    expect([polled, claimed].map(counts)).toEqual([
      { read: 3, acked: 2, retried: 1, invoked: 3 },
      { claimed: 1, acked: 1, invoked: 1 },
    ])
  })

  it.each<[string, Wrap, object]>([
    [
      'throws before next: the entry fails',
      () => () => {
        throw new Error('shut')
      },
      { read: 1, retried: 1, invoked: 1 },
    ],
    ['never calls next: its answer counts', () => () => 'cached', { read: 1, acked: 1, invoked: 1 }],
    [
      'calls next twice: a failure, and the handler runs once',
      (next) => async (event, context) => {
        await next(event, context)
        await next(event, context)
      },
      { read: 1, retried: 1, invoked: 1 },
    ],
    [
      'does not wait for next: it is waited for',
      (next) => (event, context) => void next(event, context),
      { read: 1, acked: 1, invoked: 1 },
    ],
    [
      'throws while next runs: it is waited for, and fails',
      (next) => (event, context) => {
        void next(event, context)
        throw new Error('shut')
      },
      { read: 1, retried: 1, invoked: 1 },
    ],
  ])('a wrap that %s', async (_title, wrap, expected) => {
    const world = await start()
    const ends: string[] = []
    const handler = async () => {
      await new Promise((resolve) => setImmediate(resolve))
      ends.push('end')
    }
    await world.publish('p1')

    const report = await world.poll(billing(handler, { use: [wrap] }))

    expect(counts(report)).toEqual(expected)
    expect(ends.length).toBeLessThanOrEqual(1)
  })

  it('sees as many calls as there were, though an answer is lost', async () => {
    const world = await start()
    const { calls, wrap } = countsCalls()
    const handled: string[] = []
    await world.publish('p1', 'p2')

    await loseAnswer(
      world,
      billing(({ payload }) => handled.push(payload.id), { use: [wrap] }),
      { nth: 2 },
    )

    expect(handled).toEqual(['p1', 'p2'])
    expect(calls).toEqual(['Paid', 'Paid'])
  })
})

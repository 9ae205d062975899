import type { ConsumerReport } from 'millrace'
import { circuitBreaker, orderedBy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, describeEverywhere, WORLDS, type World } from './world.ts'

/** The key of `a1` is `a`. */
const order = orderedBy(({ eventId }) => eventId?.replace(/\d+$/, ''))
const later = { firstMs: 60_000, factor: 1, maxMs: 60_000 }

function failing(...ids: string[]) {
  return ({ payload: { id } }: { payload: { id: string } }) => {
    if (ids.includes(id)) throw new Error('no')
  }
}

describeEverywhere('what waits behind another of its key', (start) => {
  it('is counted among what a run parked, and among what is set aside', async () => {
    const world = await start()
    const consumer = billing(failing('a1'), { use: [order], mode: 'once', backoff: later })
    await world.publish('a1', 'a2', 'a3', 'b1')

    const first = await world.poll(consumer)
    await world.publish('a4', 'b2')
    const second = await world.poll(consumer)
    const claimed = await world.claim(consumer)

    expect([first, second, claimed].map(({ parked, waiting }) => [parked, waiting])).toEqual([
      [2, 2],
      [1, 1],
      [0, 0],
    ])
    expect(claimed.consumers[0]?.backlog).toMatchObject({ pending: 4, parked: 4, waiting: 3 })
  })

  it('is counted under a policy that refused it first, and waits all the same', async () => {
    const world = await start()
    const breaker = circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })
    const consumer = billing(failing('a1'), { use: [breaker, order], mode: 'once', backoff: later })
    await world.publish('a1')
    await world.poll(consumer)
    await world.publish('c1', 'c2')

    const { parked, waiting, circuitOpen } = await world.poll(consumer)
    const { backlog } = (await world.claim(consumer)).consumers[0] as ConsumerReport

    expect([parked, waiting, circuitOpen]).toEqual([2, 0, 2])
    expect(backlog).toMatchObject({ parked: 3, waiting: 1 })
  })

  it('is not counted where no order is kept', async () => {
    const world = await start()
    const consumer = billing(failing('a1'), { mode: 'once', backoff: later })
    await world.publish('a1', 'a2')

    const polled = await world.poll(consumer)
    const claimed = await world.claim(consumer)

    for (const { consumers, ...sums } of [polled, claimed])
      for (const part of [sums, ...consumers]) expect(part).not.toHaveProperty('waiting')
    expect(claimed.consumers[0]?.backlog).not.toHaveProperty('waiting')
  })
})

it('what was to wait is not counted under a slot that went to another', async () => {
  const world = await (WORLDS.TCP as () => Promise<World>)()
  const handler = async () => {
    await world.command('SET', '{orders}:billing:slot:poller-0', 'another', 'PX', 60_000)
    throw new Error('no')
  }
  await world.publish('a1', 'a2', 'a3')

  const { parked, waiting, unsettled } = await world.poll(billing(handler, { use: [order], mode: 'once' }))

  expect([parked, waiting, unsettled]).toEqual([0, 0, 3])
})

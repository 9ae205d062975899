import type { Wake } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, OrderPaid, startScenario } from '../support/scenario.ts'

const FLAG = '{orders}:billing:wake'

/** A wake-up that is noted, and what went wrong with it. */
function aWake(wake: Partial<Wake> = {}) {
  const woken: number[] = []
  const errors: string[] = []
  const noted: Wake = {
    group: 'billing',
    windowMs: 60_000,
    wake: async () => void woken.push(woken.length),
    onError: (error) => void errors.push(error.message),
    ...wake,
  }
  return { woken, errors, wake: noted }
}

describe('a publisher that wakes the poller', () => {
  it('does so once until the poller has started to read, however many publish', async () => {
    const { redis, connect } = await startScenario()
    const { woken, wake } = aWake()
    const publishers = Array.from({ length: 10 }, () => createPublisher({ stream: 'orders', redis: connect(), wake }))

    await Promise.all(publishers.map((publisher) => publisher.publish(OrderPaid, { orderId: 'a' })))
    await Promise.all(publishers.map((publisher) => publisher.publish(OrderPaid, { orderId: 'b' })))
    expect(woken).toHaveLength(1)

    const report = await poll(
      billing(() => {}),
      { redis },
    )
    expect(report.acked).toBe(20)
    await publishers[0]?.publish(OrderPaid, { orderId: 'c' })
    expect(woken).toHaveLength(2)
  })

  it('wakes again for what is published while the poller runs', async () => {
    const { redis } = await startScenario()
    const { woken, wake } = aWake()
    const publisher = createPublisher({ stream: 'orders', redis, wake })
    await publisher.publish(OrderPaid, { orderId: 'a' })
    let published = false

    await poll(
      billing(async () => {
        if (!published) await publisher.publish(OrderPaid, { orderId: 'b' })
        published = true
      }),
      { redis },
    )

    expect(woken).toHaveLength(2)
  })

  it('has the poller read once more where the one that was woken found every slot taken', async () => {
    const { redis, pending } = await startScenario()
    const busy: boolean[] = []
    const consumer = billing(
      async (event) => {
        if ((event as { payload: { orderId: string } }).payload.orderId !== 'a') return
        await publisher.publish(OrderPaid, { orderId: 'b' })
        busy.push((await poll(consumer, { redis })).noFreeSlot)
      },
      { maxPollers: 1 },
    )
    // woken by b, which is published while the only slot reads: the last read must not have been before it
    const { wake, woken } = aWake()
    const publisher = createPublisher({ stream: 'orders', redis, wake })
    await publisher.publish(OrderPaid, { orderId: 'a' })

    const report = await poll(consumer, { redis })

    expect([report.acked, busy, woken.length, report.noFreeSlot]).toEqual([2, [true], 2, false])
    expect(await pending()).toEqual([])
    await publisher.publish(OrderPaid, { orderId: 'c' })
    expect(woken).toHaveLength(3)
  })

  it('wakes nobody for a while where more is pending than may be', async () => {
    const { redis } = await startScenario()
    const consumer = billing(() => Promise.reject(new Error('no')), { maxPending: 1 })
    const { wake, woken } = aWake()
    const publisher = createPublisher({ stream: 'orders', redis, wake })
    for (const orderId of ['a', 'b', 'c']) await publisher.publish(OrderPaid, { orderId })
    expect((await poll(consumer, { redis })).pendingLimitReached).toBe(true)

    await publisher.publish(OrderPaid, { orderId: 'd' })

    expect(woken).toHaveLength(1)
  })

  it('wakes also where the answer to its flag was lost and the flag was sent again', async () => {
    const { server, connect, raw } = await startScenario()
    const proxy = await startFaultProxy(server)
    const { wake, woken, errors } = aWake()
    const publisher = createPublisher({ stream: 'orders', redis: connect(proxy.url), wake })
    const cut = proxy.cutAfter('xadd')

    await publisher.publish(OrderPaid, { orderId: 'a' })

    await cut
    expect([woken.length, errors, await raw.exists(FLAG)]).toEqual([1, [], 1])
    await proxy.close()
  })

  it('does not fail for its onError', async () => {
    const { redis } = await startScenario()
    const { wake } = aWake({
      wake: () => Promise.reject(new Error('refused')),
      onError: () => {
        throw new Error('logger down')
      },
    })

    const { entryId } = await createPublisher({ stream: 'orders', redis, wake }).publish(OrderPaid, { orderId: 'a' })

    expect(entryId).toMatch(/-0$/)
  })

  it('leaves no flag behind that outlasts its window', async () => {
    const { redis, raw } = await startScenario()
    const { wake } = aWake({ windowMs: 5_000 })

    await createPublisher({ stream: 'orders', redis, wake }).publish(OrderPaid, { orderId: 'a' })

    const leftMs = await raw.pttl(FLAG)
    expect([leftMs > 0, leftMs <= 5_000]).toEqual([true, true])
  })

  it('wakes every group that its options name', async () => {
    const { redis } = await startScenario()
    const [billingWake, searchWake] = [aWake(), aWake({ group: 'search' })]

    const wakes = [billingWake.wake, searchWake.wake]
    await createPublisher({ stream: 'orders', redis, wake: wakes }).publish(OrderPaid, { orderId: 'a' })

    expect([billingWake.woken.length, searchWake.woken.length]).toEqual([1, 1])
  })

  it('publishes all the same where Lambda refuses, and does not ask again within the window', async () => {
    const { redis, raw } = await startScenario()
    let asked = 0
    const { errors, wake } = aWake({ wake: () => Promise.reject(new Error(`refused ${++asked}`)) })
    const publisher = createPublisher({ stream: 'orders', redis, wake })

    await publisher.publish(OrderPaid, { orderId: 'a' })
    await publisher.publish(OrderPaid, { orderId: 'b' })

    expect([errors, await raw.xlen('orders')]).toEqual([['refused 1'], 2])
  })

  it('publishes all the same where it may not raise the flag, and says so', async () => {
    const { server, raw, connect } = await startScenario()
    await raw.call('ACL', 'SETUSER', 'limited', 'on', '>pw', '~orders', '+xadd')
    const redis = connect(`redis://limited:pw@${server.host}:${server.port}`)
    const { woken, errors, wake } = aWake()

    const { entryId } = await createPublisher({ stream: 'orders', redis, wake }).publish(OrderPaid, { orderId: 'a' })

    expect([woken, errors]).toEqual([[], [expect.stringMatching(/^NOPERM /)]])
    expect((await raw.xrange('orders', '-', '+')).map(([id]) => id)).toEqual([entryId])
  })

  it.each([
    [{}, 'wake must come from wakePoller of millrace/lambda'],
    [aWake({ group: '' }).wake, 'wake.group must be a string that is not empty, got ""'],
    [aWake({ windowMs: 0 }).wake, 'wake.windowMs must be >= 1, got 0'],
  ])('is refused when it is made of %j', async (wake, rule) => {
    const { redis } = await startScenario()

    expect(() => createPublisher({ stream: 'orders', redis, wake: wake as Wake })).toThrow(rule)
  })
})

import type { Wake } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
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

  it('leaves no flag behind that outlasts its window', async () => {
    const { redis, raw } = await startScenario()
    const { wake } = aWake({ windowMs: 5_000 })

    await createPublisher({ stream: 'orders', redis, wake }).publish(OrderPaid, { orderId: 'a' })

    const leftMs = await raw.pttl(FLAG)
    expect([leftMs > 0, leftMs <= 5_000]).toEqual([true, true])
  })

  it('wakes every group that it is told to', async () => {
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

import { poll, RetryAfterError } from 'millrace'
import { describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'
import { billing, counts, names, noting, startScenario } from '../support/scenario.ts'

const HOUR_MS = 3_600_000
const fail = () => Promise.reject(new Error('no'))

describe('promise 6: a bounded pending list', () => {
  it('reads nothing new while more than maxPending entries are pending that are not set aside', async () => {
    const { redis, raw, publish } = await startScenario()
    const consumer = billing(() => {}, { maxPending: 15 })
    await poll(consumer, { redis })
    await publish(...names('o', 16), 'new')
    await raw.xreadgroup('GROUP', 'billing', 'poller-9', 'COUNT', 16, 'STREAMS', 'orders', '>')

    expect(counts(await poll(consumer, { redis }))).toEqual({ pendingLimitReached: true })
  })

  it('reads nothing new while more than maxParked entries are set aside, and says so', async () => {
    const { redis, publish, pending } = await startScenario()
    const { calls, handler } = noting(fail)
    const consumer = billing(handler, { batchSize: 10, maxParked: 15 })
    await publish(...names('o', 50))

    const first = await poll(consumer, { redis })
    const second = await poll(consumer, { redis })

    expect(counts(first)).toEqual({ read: 20, retried: 20, batches: 2, parkedLimitReached: true })
    expect(counts(second)).toEqual({ parkedLimitReached: true })
    expect([calls.length, (await pending()).length]).toEqual([20, 20])
  })

  it('holds every poller of the group, also one whose own handlers succeed', async () => {
    const { redis, connect, publish } = await startScenario()
    await publish(...names('o', 20))
    await poll(billing(fail, { batchSize: 20, maxParked: 15, mode: 'once' }), { redis })
    await publish('new')

    const report = await poll(
      billing(() => {}, { maxParked: 15 }),
      { redis: connect() },
    )

    expect(counts(report)).toEqual({ parkedLimitReached: true })
  })

  it('goes on once the claimer has caught up; retries go on meanwhile', async () => {
    const { redis, publish } = await startScenario()
    const options = { batchSize: 10, maxParked: 15, backoff: { firstMs: 0 } }
    await publish(...names('o', 30))
    await poll(billing(fail, options), { redis })
    const consumer = billing(() => {}, options)

    expect(counts(await claimOnce(consumer, { redis }))).toMatchObject({ claimed: 20, acked: 20 })
    expect(counts(await poll(consumer, { redis }))).toEqual({ read: 10, acked: 10, batches: 1, drained: true })
  })

  it('does not hold a group that has just as many set aside as it may', async () => {
    const { redis, publish } = await startScenario()
    const consumer = billing(fail, { batchSize: 10, maxParked: 20 })
    await publish(...names('o', 50))

    expect(counts(await poll(consumer, { redis }))).toEqual({
      read: 30,
      retried: 30,
      batches: 3,
      parkedLimitReached: true,
    })
  })

  it('costs one XPENDING an invocation, and one after each batch with failures', async () => {
    const { redis, raw, publish } = await startScenario()
    const summaries = async (handler: (event: never) => unknown) => {
      await publish(...names('o', 50))
      await raw.config('RESETSTAT')
      await poll(billing(handler, { batchSize: 10, mode: 'drain' }), { redis })
      return Number(/cmdstat_xpending:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1])
    }
    await poll(
      billing(() => {}),
      { redis },
    )
    const failing = ({ payload }: { payload: { orderId: string } }) => (payload.orderId === 'o15' ? fail() : undefined)

    // to take the slot, and to give it back, costs one more each
    expect(await summaries(() => {})).toBe(3)
    // and one to settle the entry that failed
    expect(await summaries(failing as (event: never) => unknown)).toBe(5)
  })

  it('leaves nothing in the index that outlives its entry', async () => {
    const { redis, raw, publish } = await startScenario()
    const later = billing(() => Promise.reject(new RetryAfterError(HOUR_MS)))
    const [acked = '', trimmed = ''] = await publish('acked by a zombie', 'trimmed', 'waiting')
    await poll(later, { redis })
    await raw.xack('orders', 'billing', acked)
    await raw.xdel('orders', trimmed)

    const early = await claimOnce(later, { redis })
    await passOnDue(raw, HOUR_MS)
    const due = await claimOnce(
      billing(() => {}),
      { redis },
    )

    expect([early.claimed, due.acked, due.lost]).toEqual([0, 1, 1])
    expect((await raw.keys('*')).sort()).toEqual(['orders', '{orders}:billing:state'])
  })

  it('a due time is no longer applied once the entry was delivered anew', async () => {
    const { redis, raw, publish, age } = await startScenario()
    const { calls, handler } = noting(() => Promise.reject(new RetryAfterError(HOUR_MS)))
    const consumer = billing(handler)
    await publish('a')
    await poll(consumer, { redis })
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    await raw.xreadgroup('GROUP', 'billing', 'poller-3', 'COUNT', 1, 'STREAMS', 'orders', '>')
    await age(60_000)

    await claimOnce(consumer, { redis })

    expect(calls).toEqual(['a', 'a'])
  })
})

import { inspect } from 'node:util'
import { Redis as Redis5 } from 'ioredis5'
import type { InvocationFailedError } from 'millrace'
import { createPoller, createPublisher, defineConsumer, NonRetryableError, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it } from 'vitest'
import { readUnlessPendingLimit } from '../../dist/group/redis/scripts/read-unless-pending-limit.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import {
  billing,
  counts,
  DLQ,
  difference,
  lambdaContext,
  names,
  noting,
  OrderPaid,
  startScenario,
} from '../support/scenario.ts'

describe('promise 8: a lost group', () => {
  it('is made again at 0 after FLUSHALL, and what was published meanwhile is handled', async () => {
    const { redis, raw, publish } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler, { startAt: '$' })
    await poll(consumer, { redis })
    await publish('a')
    await poll(consumer, { redis })
    await raw.flushall()
    await publish('b', 'c')

    expect(counts(await poll(consumer, { redis }))).toEqual({
      read: 2,
      acked: 2,
      batches: 1,
      drained: true,
      groupRecreated: true,
    })
    expect(calls).toEqual(['a', 'b', 'c'])
  })

  it('is made again at the mark after XGROUP DESTROY; what was set aside comes back', async () => {
    const { redis, raw, publish, pending, connect, age } = await startScenario()
    const { calls, handler } = noting((event) => {
      if ((event as { payload: { orderId: string } }).payload.orderId === 'bad') throw new Error('no')
    })
    const consumer = billing(handler)
    await publish('done', 'bad', 'also-done')
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await publish('new')
    calls.length = 0

    expect(counts(await poll(consumer, { redis: connect() }))).toMatchObject({
      read: 1,
      acked: 1,
      groupRecreated: true,
    })
    await age(120_000)
    expect(counts(await claimOnce(consumer, { redis }))).toMatchObject({ claimed: 1, retried: 1 })
    expect(calls).toEqual(['new', 'bad'])
    expect(await pending()).toEqual([['bad', 'parked', 2]])

    await raw.xgroup('DESTROY', 'orders', 'billing')
    expect(counts(await claimOnce(consumer, { redis }))).toEqual({ drained: true, groupRecreated: true })
    expect(await pending()).toEqual([['bad', 'parked', 2]])
  })

  it('while handlers run is made again by the next read, and the report adds up', async () => {
    const { redis, raw, publish } = await startScenario()
    let lost = false
    const { calls, handler } = noting(async (_event, { entryId }) => {
      if (!lost) await raw.xgroup('DESTROY', 'orders', 'billing')
      lost = true
      if (entryId === '') throw new Error()
    })
    await publish('a', 'b', 'c')

    const report = await poll(billing(handler, { batchSize: 2 }), { redis })

    expect(counts(report)).toEqual({ read: 5, acked: 5, ackMissed: 2, batches: 3, drained: true, groupRecreated: true })
    expect(calls).toEqual(['a', 'b', 'a', 'b', 'c'])
    expect(difference(report)).toBe(0)
  })
})

describe('promise 12: a cut connection', () => {
  it('after settle-and-read ran repeats it harmlessly: nothing is lost, nothing is settled twice', async () => {
    const { server, redis: _direct, raw, connect, publish, age, pending, deadLetters } = await startScenario()
    const proxy = await startFaultProxy(server)
    const redis = connect(proxy.url)
    const { calls, handler } = noting((event) => {
      const { orderId } = (event as { payload: { orderId: string } }).payload
      if (orderId === 'o1') throw new NonRetryableError('gone')
      if (orderId === 'o2') throw new Error('again')
    })
    const consumer = billing(handler, { batchSize: 4, backoff: { firstMs: 0 }, maxDeliveries: 1_000 })
    const orders = names('o', 12)
    await publish(...orders)
    const cut = proxy.cutAfter('xack')

    const report = await poll(consumer, { redis })
    await cut
    expect(difference(report)).toBe(0)
    await age(60_000)
    await claimOnce(consumer, { redis })

    expect(new Set(calls)).toEqual(new Set(orders))
    expect((await deadLetters()).map(({ fields }) => fields.at(-1)?.[1])).toEqual(['{"orderId":"o1"}'])
    expect((await pending()).map(([order]) => order)).toEqual(['o2'])
    expect((await raw.xpending('orders', 'billing'))[0]).toBe(1)
    await proxy.close()
  })

  it('after a read ran costs what it took no delivery', async () => {
    const { server, redis: direct, connect, publish, pending, age } = await startScenario()
    const proxy = await startFaultProxy(server)
    const { calls, handler } = noting()
    const consumer = billing(handler, { maxDeliveries: 1 })
    await poll(consumer, { redis: direct })
    await publish('a', 'b')
    const cut = proxy.cutAfter(String(evalsha(readUnlessPendingLimit, '', [], [])[1]))

    const report = await poll(consumer, { redis: connect(proxy.url) })
    await cut

    expect(counts(report)).toEqual({ drained: true })
    expect(await pending()).toEqual([
      ['a', 'parked', 0],
      ['b', 'parked', 0],
    ])
    await age(60_000)
    expect(counts(await claimOnce(consumer, { redis: direct }))).toMatchObject({ claimed: 2, acked: 2 })
    expect(calls).toEqual(['a', 'b'])
    await proxy.close()
  })

  it('after XADD ran repeats it with the same eventId', async () => {
    const { server, raw, connect } = await startScenario()
    const proxy = await startFaultProxy(server)
    const orders = createPublisher({ stream: 'orders', redis: connect(proxy.url) })
    const cut = proxy.cutAfter('xadd')

    const { eventId } = await orders.publish(OrderPaid, { orderId: 'a' })
    await cut

    expect((await raw.xrange('orders', '-', '+')).map(([, fields]) => fields[1])).toEqual([eventId, eventId])
    await proxy.close()
  })

  it('that stays cut fails the invocation once, with a report that adds up', async () => {
    const { server, connect, publish, pending } = await startScenario()
    const proxy = await startFaultProxy(server)
    const redis = connect(proxy.url)
    await publish('a', 'b')
    const { handler } = noting(() => proxy.close())

    const error = await poll(billing(handler, { concurrency: 1 }), { redis }).catch((caught: unknown) => caught)

    expect(error).toMatchObject({
      code: 'ERR_INVOCATION_FAILED',
      failures: [{ group: 'billing', error: { code: 'ERR_REDIS_CONNECTION' } }],
      report: { read: 2, unsettled: 2, acked: 0 },
    })
    expect((await pending()).map(([order]) => order)).toEqual(['a', 'b'])
  })

  it('that cannot be made says why, and not with which password', async () => {
    const { connect } = await startScenario()
    const redis = connect('redis://:secret@127.0.0.1:1')

    const error = await poll(
      billing(() => {}),
      { redis },
    ).catch((caught: unknown) => caught)

    expect(String(error)).toContain('Cannot reach Redis: connect ECONNREFUSED 127.0.0.1:1')
    expect(inspect(error, { depth: null })).not.toContain('secret')
  })

  it('that never answers ends in a timeout, and the next invocation has a new client', async () => {
    const { server, publish } = await startScenario()
    const proxy = await startFaultProxy(server)
    const clients: Redis5[] = []
    const redis = connectIoredis(() => {
      const client = new Redis5(proxy.url, { commandTimeout: 10_000, maxRetriesPerRequest: 1 })
      clients.push(client)
      return client
    })
    const { calls, handler } = noting()
    await poll(billing(handler), { redis })
    await publish('a')
    proxy.stall()
    ;(clients[0] as Redis5).options.commandTimeout = 200 // only where no answer comes at all

    await expect(poll(billing(handler), { redis })).rejects.toMatchObject({ code: 'ERR_INVOCATION_FAILED' })
    proxy.resume()
    expect(counts(await poll(billing(handler), { redis }))).toMatchObject({ read: 1, acked: 1 })

    expect(calls).toEqual(['a'])
    expect(clients.map(({ status }) => status)).toEqual(['end', 'ready'])
    await redis.close()
    await proxy.close()
  })

  it('that never answers ends before the invocation’s own end, with the report', async () => {
    const { server, connect, publish } = await startScenario()
    const proxy = await startFaultProxy(server)
    const { handler } = noting(() => proxy.stall())
    const consumer = billing(handler, { handlerTimeoutMs: 300, reserveMs: 200 })
    const redis = connect(proxy.url)
    await poll(consumer, { redis }) // connects, which is no part of the invocation's time
    await publish('a')
    const context = lambdaContext(1_500)

    const error = await createPoller(consumer, { redis })({}, context).catch((e: unknown) => e)

    expect(error).toMatchObject({ code: 'ERR_INVOCATION_FAILED', report: { read: 1, unsettled: 1 } })
    expect(context.getRemainingTimeInMillis()).toBeGreaterThan(0)
    await proxy.close()
  })

  it('to a server that hangs ends before the invocation’s own end too', async () => {
    const { server, redis, publish } = await startScenario()
    const { handler } = noting(() => server.kill('SIGSTOP'))
    const consumer = billing(handler, { handlerTimeoutMs: 300, reserveMs: 200 })
    await publish('a')
    const context = lambdaContext(1_500)

    const error = await createPoller(consumer, { redis })({}, context).catch((e: unknown) => e)
    server.kill('SIGCONT')

    expect(error).toMatchObject({ code: 'ERR_INVOCATION_FAILED', report: { read: 1, unsettled: 1 } })
    expect(context.getRemainingTimeInMillis()).toBeGreaterThan(0)
  })

  it('does not keep the slot once the server answers again', async () => {
    const { server, raw, publish } = await startScenario()
    const proxy = await startFaultProxy(server)
    const redis = connectIoredis(() => new Redis5(proxy.url, { commandTimeout: 150, maxRetriesPerRequest: 1 }))
    const { handler } = noting(() => {
      proxy.stall()
      setTimeout(() => proxy.resume(), 220)
    })
    await publish('a')

    await expect(poll(billing(handler), { redis })).rejects.toMatchObject({ code: 'ERR_INVOCATION_FAILED' })

    expect(await raw.exists('{orders}:billing:slot:poller-0')).toBe(0)
    await redis.close()
    await proxy.close()
  })

  it('to a server that became a replica is made anew', async () => {
    const { server, raw, publish } = await startScenario()
    const clients: Redis5[] = []
    const redis = connectIoredis(() => {
      clients.push(new Redis5(server.url))
      return clients.at(-1) as Redis5
    })
    const consumer = billing(() => {})
    await poll(consumer, { redis })
    await publish('a')
    await raw.call('REPLICAOF', '127.0.0.1', '1')

    await expect(poll(consumer, { redis })).rejects.toThrow('READONLY')
    await raw.call('REPLICAOF', 'NO', 'ONE')

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 1, acked: 1 })
    expect(clients.length).toBeGreaterThan(1)
    await redis.close()
  })
})

describe('promise 3: a server that refuses', () => {
  it('a dead letter leaves the entry pending, and the run says so once', async () => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    await raw.set(DLQ, 'no stream')
    const { calls, handler } = noting((event) => {
      if ((event as { payload: { orderId: string } }).payload.orderId.startsWith('bad'))
        throw new NonRetryableError('gone')
    })
    const consumer = billing(handler, { batchSize: 2 })
    await publish('bad-1', 'a', 'bad-2', 'b')

    const error = await poll(consumer, { redis }).catch((caught: unknown) => caught)

    expect(error).toMatchObject({
      code: 'ERR_INVOCATION_FAILED',
      failures: [{ error: { message: expect.stringContaining('WRONGTYPE') } }],
      report: { read: 4, acked: 2, unsettled: 2, drained: true },
    })
    expect(calls).toEqual(['bad-1', 'a', 'bad-2', 'b'])
    expect(await pending()).toEqual([
      ['bad-1', 'parked', 1],
      ['bad-2', 'parked', 1],
    ])

    await raw.del(DLQ)
    await passOnDue(raw, 60_000)
    await claimOnce(consumer, { redis })
    expect((await deadLetters()).map(({ head }) => head.reason)).toEqual(['non-retryable', 'non-retryable'])
  })

  it('every write for want of memory loses nothing: reading and acking go on without a lease', async () => {
    const { redis, raw, publish, pending } = await startScenario()
    const { calls, handler } = noting((event, { consumerName }) => {
      owners.push(consumerName)
      if ((event as { payload: { orderId: string } }).payload.orderId === 'bad') throw new NonRetryableError('gone')
    })
    const owners: string[] = []
    const consumer = billing(handler)
    await poll(consumer, { redis })
    await publish('a', 'bad', 'b')
    await raw.config('SET', 'maxmemory', '1')

    await expect(poll(consumer, { redis })).rejects.toMatchObject({ report: { read: 3, acked: 2, unsettled: 1 } })

    expect(calls).toEqual(['a', 'bad', 'b'])
    expect(owners[0]).toMatch(/^poller-[0-9a-f-]{36}$/)
    expect(await pending()).toEqual([['bad', 'parked', 1]])
  })

  it('the group’s creation fails after a handful of commands, with one clear error', async () => {
    const { redis, raw } = await startScenario()
    await raw.config('SET', 'maxmemory', '1')

    const error = await poll(
      billing(() => {}),
      { redis },
    ).catch((caught: unknown) => caught)

    expect(error).toMatchObject({ message: expect.stringMatching(/group "billing" on stream "orders": .*OOM/) })
    expect((error as InvocationFailedError).report.roundTrips).toBeLessThan(8)
  })
})

describe('promise 10: slots', () => {
  it('all taken: nothing is read, and that is no failure', async () => {
    const { redis, raw, publish } = await startScenario()
    await publish('a')
    for (const slot of names('poller-', 4)) await raw.set(`{orders}:billing:slot:${slot}`, 'another', 'PX', 60_000)

    expect(
      counts(
        await poll(
          billing(() => {}),
          { redis },
        ),
      ),
    ).toEqual({ noFreeSlot: true })
    expect(await raw.exists('orders')).toBe(1)
  })

  it('are given back, the lowest taken first, so that names stay few', async () => {
    const { redis, raw, publish } = await startScenario()
    const consumer = billing(() => {})
    for (let run = 0; run < 5; run++) {
      await publish('a')
      await poll(consumer, { redis })
      await claimOnce(consumer, { redis })
    }

    // before 7.2 a claim that finds nothing makes no name
    await raw.xgroup('CREATECONSUMER', 'orders', 'billing', 'claimer-0')
    const consumers = (await raw.xinfo('CONSUMERS', 'orders', 'billing')) as string[][]
    expect(consumers.map(([, name]) => name)).toEqual(['claimer-0', 'poller-0'])
    expect(await raw.keys('*:slot:*')).toEqual([])
  })
})

describe('promise 9: a trimmed entry', () => {
  it('that was pending is lost: counted, purged, never handled', async () => {
    const { redis, raw, publish, pending } = await startScenario()
    const { calls, handler } = noting(() => Promise.reject(new Error('no')))
    const consumer = billing(handler, { backoff: { firstMs: 0 } })
    const [first = ''] = await publish('a', 'b')
    await poll(consumer, { redis })
    await raw.xdel('orders', first)

    const report = await claimOnce(consumer, { redis })

    expect(counts(report)).toEqual({ claimed: 1, retried: 1, lost: 1, batches: 1, drained: true })
    expect(calls).toEqual(['a', 'b', 'b'])
    expect(await pending()).toEqual([['b', 'parked', 2]])
  })

  it('while its handler ran is lost when its dead letter is due', async () => {
    const { redis, raw, publish, deadLetters } = await startScenario()
    const consumer = billing(async (_event, { entryId }) => {
      await raw.xdel('orders', entryId)
      throw new NonRetryableError('gone')
    })
    await publish('a')

    const report = await poll(consumer, { redis })

    expect(counts(report)).toEqual({ read: 1, superseded: 1, lost: 1, batches: 1, drained: true })
    expect([difference(report), await deadLetters(), (await raw.xpending('orders', 'billing'))[0]]).toEqual([0, [], 0])
  })
})

describe('a stream', () => {
  it('whose keys belong to another stream is refused, before anything is shared', async () => {
    const { redis, publish, raw } = await startScenario()
    await publish('a')
    await poll(
      billing(() => {}),
      { redis },
    )
    await raw.xadd('{orders}', '*', 'a', 'b')
    const other = defineConsumer({ stream: '{orders}', group: 'billing', routes: [on(OrderPaid, () => {})] })

    await expect(poll(other, { redis })).rejects.toThrow('the keys of this group belong to stream orders')
  })
})

describe('promise 7: a zombie', () => {
  it('whose entry was claimed by another decides nothing', async () => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const consumer = billing(async (event, { entryId }) => {
      await raw.xclaim('orders', 'billing', 'poller-0', 0, entryId) // under the same name, delivered once more
      throw (event as { payload: { orderId: string } }).payload.orderId === 'a'
        ? new Error('no')
        : new NonRetryableError('gone')
    })
    await publish('a', 'b')

    expect(counts(await poll(consumer, { redis }))).toEqual({ read: 2, superseded: 2, batches: 1, drained: true })
    expect(await pending()).toEqual([
      ['a', 'poller-0', 2],
      ['b', 'poller-0', 2],
    ])
    expect(await deadLetters()).toEqual([])
  })

  it('whose lease has ended decides nothing, and reads no more', async () => {
    const { redis, raw, publish, pending } = await startScenario()
    const { calls, handler } = noting(async () => {
      await raw.set('{orders}:billing:slot:poller-0', 'another')
      throw new Error('no')
    })
    await publish('a', 'b')

    const report = await poll(billing(handler, { batchSize: 1 }), { redis })

    expect(counts(report)).toMatchObject({ read: 1, unsettled: 1 })
    expect(calls).toEqual(['a'])
    expect(difference(report)).toBe(0)
    expect(await pending()).toEqual([['a', 'poller-0', 1]])
    expect(await raw.get('{orders}:billing:slot:poller-0')).toBe('another')
  })
})

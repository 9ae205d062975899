import type { EventEmitter } from 'node:events'
import { getEventListeners } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Redis } from 'ioredis'
import type { Connection, Consumer, InvocationFailedError, Report, RunOptions } from 'millrace'
import { NonRetryableError, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, counts, DLQ, difference, lambdaContext, noting, startScenario } from '../support/scenario.ts'

type Run = (consumer: Consumer, options: RunOptions) => Promise<Report>
const ACTIONS: readonly (readonly [action: string, run: Run])[] = [
  ['poll', poll],
  ['claim', claimOnce],
]

/** How far the heap may grow over four hundred invocations: half a kilobyte each. */
const HEAP_NOISE_BYTES = 200_000
/** How long an answer is waited for before the connection is taken for dead. */
const CONNECT_TIMEOUT_MS = 2_000
/** What a busy machine may add. */
const BUSY_MS = 500

/** A client like the one for Lambda, open to be inspected. */
function inspectableConnection(url: string): { client: Redis; redis: Connection } {
  const client = new Redis(url, {
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: 5_000,
    maxRetriesPerRequest: 1,
    enableReadyCheck: false,
    disableClientInfo: true,
    keepAlive: 10_000,
  })
  const redis = connectIoredis(() => client)
  onTestFinished(() => redis.close())
  return { client, redis }
}

function listenersOf(emitter: EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]))
}

function resources(): { timers: number; sockets: number } {
  const active = process.getActiveResourcesInfo()
  const count = (kind: string) => active.filter((resource) => resource === kind).length
  return { timers: count('Timeout'), sockets: count('TCPSocketWrap') }
}

/** Resolves once it holds; the test's own time is the limit. */
async function settled(holds: () => boolean): Promise<void> {
  while (!holds()) await turn()
}

/** The system's clock, which knows how many of the timers that were set on it are still to come. */
function countingClock() {
  const open = new Set<NodeJS.Timeout>()
  return {
    open,
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after(ms: number, callback: () => void) {
      const timer = setTimeout(() => {
        open.delete(timer)
        callback()
      }, ms)
      open.add(timer)
      return () => {
        open.delete(timer)
        clearTimeout(timer)
      }
    },
  }
}

async function heapBytes(): Promise<number> {
  setFlagsFromString('--expose_gc')
  const gc = runInNewContext('gc') as () => void
  for (let round = 0; round < 3; round++) {
    await turn()
    gc()
  }
  return process.memoryUsage().heapUsed
}

describe('promise 11: a thousand invocations leave nothing behind', () => {
  it('on one connection: heap, listeners, timers and sockets are the same after them', async () => {
    const { server, raw, publish } = await startScenario()
    const { client, redis } = inspectableConnection(server.url)
    const { signal } = new AbortController()
    const consumer = billing(
      (event, context) => {
        context.signal.addEventListener('abort', () => {})
        const { orderId } = (event as { payload: { orderId: string } }).payload
        if (orderId === 'gone') throw new NonRetryableError('gone')
        return orderId === 'fails' ? Promise.reject(new Error('no')) : turn()
      },
      { backoff: { firstMs: 0 }, maxDeliveries: 2, deadLetters: { maxLength: 10 } },
    )
    const total = { read: 0, claimed: 0, acked: 0, deadLettered: 0 }
    const fourInvocations = async () => {
      await publish('good', 'fails', 'gone')
      for (const run of [poll, claimOnce, poll, claimOnce]) {
        const report = await run(consumer, { redis, signal })
        for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += report[name]
      }
    }
    const look = async () => ({
      ...resources(),
      client: listenersOf(client),
      socket: listenersOf(client.stream as EventEmitter),
      process: listenersOf(process),
      signal: getEventListeners(signal, 'abort').length,
    })

    const looks = []
    for (const rounds of [50, 100, 100]) {
      for (let round = 0; round < rounds; round++) await fourInvocations()
      looks.push({ left: await look(), heap: await heapBytes() })
    }
    const [first, second, third] = looks as [(typeof looks)[0], (typeof looks)[0], (typeof looks)[0]]

    expect([second.left, third.left, third.left.signal]).toEqual([first.left, first.left, 0])
    // what leaks grows every time, what is compiled late grows once
    expect(Math.min(second.heap - first.heap, third.heap - second.heap)).toBeLessThan(HEAP_NOISE_BYTES)
    expect(total).toEqual({ read: 750, claimed: 250, acked: 250, deadLettered: 500 })
    expect((await raw.keys('*')).toSorted()).toEqual(['orders', DLQ, '{orders}:billing:state'].toSorted())
  })
})

describe('promise 11: a warm start after a freeze', () => {
  it.each(ACTIONS)(
    'with a socket that the server closed meanwhile goes on in the same invocation: %s',
    async (action, run) => {
      const { redis, raw, publish } = await startScenario()
      const { calls, handler } = noting()
      const failing = billing(() => Promise.reject(new Error('no')), { backoff: { firstMs: 0 } })
      await publish('a')
      await poll(failing, { redis })
      await publish('b')

      // nothing of this process runs while it is frozen, so that the first command meets the dead socket
      void raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
      const report = await run(billing(handler), { redis })

      expect(counts(report)).toEqual({
        [action === 'poll' ? 'read' : 'claimed']: 1,
        acked: 1,
        batches: 1,
        drained: true,
      })
      expect(calls).toEqual([action === 'poll' ? 'b' : 'a'])
      expect(report.durationMs).toBeLessThan(CONNECT_TIMEOUT_MS)
    },
  )

  it('with a half-open socket continues in the same invocation, within the connect timeout: poll and claim', async () => {
    const { server, connect, publish, raw, pending } = await startScenario()
    const proxy = await startFaultProxy(server)
    const [polling, claiming] = [connect(proxy.url), connect(proxy.url)]
    const { calls, handler } = noting()
    const failing = billing(() => Promise.reject(new Error('no')), { backoff: { firstMs: 0 } })
    await publish('a')
    await poll(failing, { redis: polling })
    await claimOnce(failing, { redis: claiming })
    await publish('b')

    proxy.freezeLinks()
    const reports = await Promise.all([
      poll(billing(handler), { redis: polling }),
      claimOnce(billing(handler), { redis: claiming }),
    ])

    expect(reports.map(counts)).toEqual([
      { read: 1, acked: 1, batches: 1, drained: true },
      { claimed: 1, acked: 1, batches: 1, drained: true },
    ])
    expect(calls.toSorted()).toEqual(['a', 'b'])
    for (const { durationMs } of reports) expect(durationMs).toBeLessThan(CONNECT_TIMEOUT_MS + 5 * BUSY_MS)
    expect([await pending(), await raw.keys('*:slot:*'), proxy.connections]).toEqual([[], [], 4])
    await proxy.close()
  })

  it('whose socket goes dead in mid-batch settles over the next one', async () => {
    const { server, connect, publish, pending } = await startScenario()
    const proxy = await startFaultProxy(server)
    const { calls, handler } = noting((event) => {
      const { orderId } = (event as { payload: { orderId: string } }).payload
      if (orderId === 'a') proxy.freezeLinks()
      if (orderId === 'b') throw new Error('no')
    })
    await publish('a', 'b')

    const report = await poll(billing(handler), { redis: connect(proxy.url) })

    expect(counts(report)).toEqual({ read: 2, acked: 1, retried: 1, batches: 1, drained: true })
    expect(calls).toEqual(['a', 'b'])
    expect(await pending()).toEqual([['b', 'parked', 1]])
    await proxy.close()
  })
})

describe('promise 12: a connection that is gone ends the invocation with one error', () => {
  const faults = [
    ['severed before its first command', 'close', 'before'],
    ['severed in mid-batch', 'close', 'during'],
    ['half-open before its first command', 'stall', 'before'],
    ['half-open in mid-batch', 'stall', 'during'],
  ] as const

  it.each(
    ACTIONS.flatMap(([action, run]) => faults.map(([fault, how, when]) => [action, fault, run, how, when] as const)),
  )('%s: %s', async (_action, _fault, run, how, when) => {
    const { server, redis: direct, publish, pending } = await startScenario()
    const failing = billing(() => Promise.reject(new Error('no')), { backoff: { firstMs: 0 } })
    await publish('a', 'b')
    if (run === claimOnce) await poll(failing, { redis: direct })
    const before = resources()
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.close())
    const { redis } = inspectableConnection(proxy.url)
    const { signal } = new AbortController()
    const { calls, handler } = noting(() => (when === 'during' ? proxy[how]() : undefined))
    const consumer = billing(handler, { handlerTimeoutMs: 300, reserveMs: 300 })
    if (when === 'before') await proxy[how]()
    const context = lambdaContext(1_200)
    const clock = countingClock()

    const error = await run(consumer, { redis, signal, context, clock }).catch((caught: unknown) => caught)

    expect(clock.open.size).toBe(0)
    expect(context.getRemainingTimeInMillis()).toBeGreaterThan(-BUSY_MS)
    expect(error).toMatchObject({
      code: 'ERR_INVOCATION_FAILED',
      failures: [{ stream: 'orders', group: 'billing', error: { code: 'ERR_REDIS_CONNECTION' } }],
    })
    const { report, failures } = error as InvocationFailedError
    const taken = when === 'before' ? {} : { [run === poll ? 'read' : 'claimed']: 2, unsettled: 2, batches: 1 }
    expect([failures.length, counts({ ...report, drained: false }), difference(report)]).toEqual([1, taken, 0])
    expect(calls).toEqual(when === 'before' ? [] : ['a', 'b'])
    await redis.close()
    await proxy.close()
    await settled(() => resources().sockets <= before.sockets && resources().timers <= before.timers)
    expect(getEventListeners(signal, 'abort').length).toBe(0)
    if (run === claimOnce || when === 'during') expect((await pending()).map(([order]) => order)).toEqual(['a', 'b'])
  })

  it('and the next one on the same connection works, once the network does', async () => {
    const { server, connect, publish, age } = await startScenario()
    const proxy = await startFaultProxy(server)
    const redis = connect(proxy.url)
    const { calls, handler } = noting(() => (calls.length === 1 ? proxy.stall() : undefined))
    const consumer = billing(handler, { handlerTimeoutMs: 300, reserveMs: 300 })
    await publish('a')

    await expect(poll(consumer, { redis, remainingMs: 900 })).rejects.toMatchObject({ report: { unsettled: 1 } })
    proxy.severAll()
    proxy.resume()
    await age(60_000)

    expect(counts(await claimOnce(consumer, { redis }))).toEqual({ claimed: 1, acked: 1, batches: 1, drained: true })
    expect(calls).toEqual(['a', 'a'])
    await proxy.close()
  })
})

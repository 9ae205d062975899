import { setTimeout as delay } from 'node:timers/promises'
import type { EventHandler, InvocationFailedError, Report, ScaleOut } from 'millrace'
import { createPoller, createPublisher, defineConsumer, defineEvent, on, onBatch, UnavailableError } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import type { Scenario } from '../support/scenario.ts'
import {
  billing,
  counts,
  difference,
  lambdaContext,
  names,
  noting,
  OrderPaid,
  startScenario,
} from '../support/scenario.ts'

const OPTIONS = { batchSize: 10, concurrency: 10, maxPollers: 4 }
const eventOf = (hop: number) => ({ millrace: { hop } })

/** A poller whose calls are noted and, unless the test says otherwise, answered by as many invocations of itself. */
function aPoller({ redis }: Scenario, handler: EventHandler<never>, options = {}, call?: ScaleOut['call']) {
  const hops: number[] = []
  const called: Promise<Report>[] = []
  const invoke = (event: unknown, timeoutMs?: number) => poller(event, lambdaContext(timeoutMs))
  const scaleOut: ScaleOut = {
    entriesPerPoller: 20,
    async call(hop, context, signal) {
      hops.push(hop)
      if (call) await call(hop, context, signal)
      else called.push(invoke(eventOf(hop)))
    },
  }
  const poller = createPoller(billing(handler, { ...OPTIONS, ...options }), { redis, scaleOut })
  return { hops, called, invoke }
}

const nobody: ScaleOut['call'] = async () => {}

describe('a poller that sees a backlog', () => {
  it('calls as many others as it is worth, and every entry is handled once', async () => {
    const scenario = await startScenario()
    const orders = names('o', 70) // sixty wait after the first batch: three pollers
    await scenario.publish(...orders)
    const owners = new Set<string>()
    const { calls, handler } = noting(async (_event, { consumerName }) => {
      owners.add(consumerName)
      await delay(20)
    })
    const { hops, called, invoke } = aPoller(scenario, handler)

    const report = await invoke({})

    const others = await Promise.all(called)
    expect([hops, report.scaledOut, others.map(({ scaledOut }) => scaledOut)]).toEqual([[1, 1], 2, [0, 0]])
    expect(calls.toSorted()).toEqual(orders.toSorted())
    expect([...owners].toSorted()).toEqual(['poller-0', 'poller-1', 'poller-2'])
    expect([report, ...others].reduce((sum, { acked }) => sum + acked, 0)).toBe(70)
  })

  it.each([
    ['as many as one poller is left to deal with', 30, 0],
    ['one more', 31, 1],
    ['more than all slots', 500, 3],
  ])('calls none for a backlog that it can handle, and none beyond the slots: %s', async (_what, count, called) => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', count))
    const { hops, invoke } = aPoller(scenario, () => delay(50), {}, nobody)

    expect([(await invoke({})).scaledOut, hops]).toEqual([called, Array(called).fill(1)])
  })

  it('calls none in place of those that run', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 500))
    for (const slot of [1, 2]) await scenario.raw.set(`{orders}:billing:slot:poller-${slot}`, 'other', 'PX', 60_000)
    const { hops, invoke } = aPoller(scenario, () => {}, {}, nobody)

    expect([(await invoke({})).scaledOut, hops]).toEqual([1, [1]])
  })

  it('leaves the calling to the one in the lowest slot', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 500))
    await scenario.raw.set('{orders}:billing:slot:poller-0', 'other', 'PX', 60_000)
    const { hops, invoke } = aPoller(scenario, () => {}, {}, nobody)

    expect([(await invoke({})).scaledOut, hops]).toEqual([0, []])
  })

  it('calls one more after a long read if the server does not know the lag', async () => {
    const scenario = await startScenario()
    const ids = await scenario.publish(...names('o', 100))
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
    await scenario.raw.xdel('orders', ids[90] as string) // no lag until the group is past it
    const read: number[] = []
    let handled = 0
    const { hops, invoke } = aPoller(
      scenario,
      () => void handled++,
      {},
      async () => void read.push(handled),
    )

    const report = await invoke({})

    expect([report.scaledOut, hops, report.acked]).toEqual([1, [1], 99])
    expect(read[0]).toBeGreaterThanOrEqual(10) // the second batch was read by then
  })

  it('looks again after as many entries as one poller is left to deal with', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 25))
    let handled = 0
    const handler = async () => {
      if (++handled === 5) await scenario.publish(...names('late', 300))
    }
    const { hops, invoke } = aPoller(scenario, handler, {}, nobody)

    expect([(await invoke({})).scaledOut, hops]).toEqual([3, [1, 1, 1]])
  })

  it.each([
    ['hangs', () => new Promise<void>(() => {})],
    ['takes its time', (_hop: number, _context: unknown, signal: AbortSignal) => delay(1_900, undefined, { signal })],
  ])('settles batch after batch while Lambda %s, and ends in time', async (_what, call) => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 100))
    const options = { handlerTimeoutMs: 500, minIdleMs: 6_000, reserveMs: 500 }
    const { invoke } = aPoller(scenario, () => delay(5), options, call)
    const startedAt = performance.now()

    const ended = await invoke({}, 2_500).catch((error: InvocationFailedError) => error)

    const report = 'report' in ended ? ended.report : ended
    expect([report.acked, difference(report), await scenario.pending()]).toEqual([100, 0, []])
    expect(performance.now() - startedAt).toBeLessThan(2_500)
  })

  it('leaves an orphan of a lost reply to nobody, also where Lambda refuses its calls', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 100))
    const { raw } = scenario
    const refuse = async () => {
      // as if a read under this lease had never reached the poller
      await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
      throw new Error('not authorized')
    }
    const { invoke } = aPoller(scenario, () => delay(5), {}, refuse)

    await invoke({}).catch(() => {})

    expect((await scenario.pending()).map(([, owner, count]) => [owner, count])).toEqual(Array(3).fill(['parked', 0]))
  })

  it('fails once where it may call nobody, with everything settled', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 100))
    const refuse = () => Promise.reject(Object.assign(new Error('not authorized'), { name: 'AccessDeniedException' }))
    const { hops, invoke } = aPoller(scenario, () => {}, {}, refuse)

    const error = (await invoke({}).catch((caught: unknown) => caught)) as InvocationFailedError

    expect(error.message).toMatch(/: Cannot call a further poller: AccessDeniedException: not authorized$/)
    expect([error.failures.length, hops.length, difference(error.report)]).toEqual([1, 3, 0])
    expect(counts(error.report)).toEqual({ read: 100, acked: 100, batches: 10, drained: true })
  })
})

describe('a poller whose time is up before the backlog is', () => {
  const SLOW = { maxRunMs: 50, maxPollers: 1 }
  const slowly = () => delay(30)

  it('has another go on, which finds its slot free', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 150))
    const { calls, handler } = noting(slowly)
    const { hops, called, invoke } = aPoller(scenario, handler, { ...SLOW, maxRunMs: 200 })

    const reports = [await invoke({})]
    for (let n = 0; n < called.length; n++) reports.push(await (called[n] as Promise<Report>))

    expect(hops).toEqual(hops.map((_, n) => n + 1))
    expect(hops.length).toBeGreaterThan(0)
    expect(reports.map(({ noFreeSlot, continued }) => [noFreeSlot, continued])).toEqual(
      reports.map((_, n) => [false, n < reports.length - 1]),
    )
    // a batch whose read takes the last of the time is released
    const handled = reports.reduce((sum, { acked }) => sum + acked, 0)
    const released = reports.reduce((sum, report) => sum + report.released, 0)
    expect([new Set(calls).size, calls.length, handled + released]).toEqual([handled, handled, 150])
  })

  it('calls nobody in the last moments', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 50))
    const options = { ...SLOW, maxRunMs: 5_000, handlerTimeoutMs: 300, reserveMs: 100, minIdleMs: 6_000 }
    const { hops, invoke } = aPoller(scenario, slowly, options, nobody)

    const report = await invoke({}, 420)

    expect([report.read > 0, report.continued, hops]).toEqual([true, false, []])
  })

  it('calls nobody where the server is gone', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 50))
    let handled = 0
    const handler = () => {
      if (++handled === 20) scenario.server.kill('SIGKILL')
    }
    const { hops, invoke } = aPoller(scenario, handler, { maxPollers: 1 }, nobody)

    const error = (await invoke({}, 15_000).catch((caught: unknown) => caught)) as InvocationFailedError

    expect([error.code, error.report.continued, hops]).toEqual(['ERR_INVOCATION_FAILED', false, []])
  })

  it('goes on for one consumer where another is in trouble', async () => {
    const { redis, raw, publish } = await startScenario()
    await publish(...names('o', 50))
    await raw.set('broken', 'no stream')
    const routes = [on(OrderPaid, slowly)]
    const broken = defineConsumer({ stream: 'broken', group: 'billing', routes })
    const hops: number[] = []
    const scaleOut = { entriesPerPoller: 1_000, call: async (hop: number) => void hops.push(hop) }
    const handler = createPoller([billing(slowly, { ...OPTIONS, ...SLOW }), broken], { redis, scaleOut })

    const error = (await handler({}, lambdaContext()).catch((caught: unknown) => caught)) as InvocationFailedError

    expect([hops, error.failures.length, error.report.continued]).toEqual([[1], 1, true])
  })

  it('has another go on where its last read was full while events waited for others', async () => {
    const { redis, publish } = await startScenario()
    const PageViewed = defineEvent('PageViewed', { payload: z.object({}) })
    await createPublisher({ stream: 'orders', redis }).publish(PageViewed, {})
    const hops: number[] = []
    const scaleOut = { entriesPerPoller: 20, call: async (hop: number) => void hops.push(hop) }
    const routes = [on(OrderPaid, slowly), onBatch(PageViewed, () => {}, { maxBatchingWindowMs: 60_000 })]
    const options = { ...OPTIONS, concurrency: 1, maxRunMs: 400 }
    const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes, ...options })

    const polling = createPoller(consumer, { redis, scaleOut })({}, lambdaContext())
    await delay(20)
    await publish(...names('o', 60))
    const report = await polling

    expect([report.continued, report.scaledOut, hops]).toEqual([true, 2, [1, 1, 1]])
  })

  it('calls nobody to go on where its handler could not hand its work on', async () => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 15))
    const { hops, invoke } = aPoller(scenario, () => Promise.reject(new UnavailableError('throttled')), {}, nobody)

    const report = await invoke({})

    expect([report.read, report.continued, hops]).toEqual([10, false, []])
  })

  it.each([
    [7, [8]],
    [8, []],
    ['7', []],
    [-1, []],
  ])('ends the chain after eight calls: at hop %j', async (hop, calls) => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', 50))
    const { hops, invoke } = aPoller(scenario, slowly, SLOW, nobody)

    const report = await invoke(eventOf(hop as number))

    expect([hops, report.continued]).toEqual([calls, calls.length > 0])
  })

  it.each([
    ['once was all that it was to read', { mode: 'once' } as const, 50],
    ['nothing was left', {}, 5],
    ['too much is pending', { maxPending: 1, maxRunMs: 10_000 }, 50],
  ])('calls nobody where %s', async (_why, options, count) => {
    const scenario = await startScenario()
    await scenario.publish(...names('o', count))
    const fail = async () => {
      await delay(15)
      throw new Error('no')
    }
    const { hops, invoke } = aPoller(scenario, fail, { ...SLOW, ...options }, nobody)

    const report = await invoke({})

    expect([hops, report.continued]).toEqual([[], false])
  })
})

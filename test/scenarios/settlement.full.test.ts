import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Connection, ConsumerOptions, EventHandler, HandlerContext, Report } from 'millrace'
import { InvocationFailedError, NonRetryableError, poll, RetryAfterError } from 'millrace'
import { describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, counts, DLQ, difference, lambdaContext, names, noting, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'
import { watchCommands } from '../support/watch-commands.ts'

const ACTIONS = [
  ['poll', poll],
  ['claim', claimOnce],
] as const
const HOUR_MS = 3_600_000
const DUE = '{orders}:billing:due'
const lease = (slot: string) => `{orders}:billing:slot:${slot}`
const orderOf = (event: unknown) => (event as { payload: { orderId: string } }).payload.orderId
const fail = () => Promise.reject(new Error('no'))

/** Resolves once it holds; the test's own time is the limit. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(2)
}

/** The holder's time is over. */
async function endLease(raw: Redis, slot: string): Promise<void> {
  await raw.pexpire(lease(slot), 1)
  await until(async () => (await raw.exists(lease(slot))) === 0)
}

/** Publishes, and lets fail once what a claimer shall find. */
async function give({ redis, publish }: Scenario, action: 'poll' | 'claim', ...orderIds: string[]): Promise<string[]> {
  const ids = await publish(...orderIds)
  if (action === 'claim') await poll(billing(fail, { backoff: { firstMs: 0 } }), { redis })
  return ids
}

/** The entries whose dead letters there are, lowest id first. */
async function buried({ deadLetters }: Scenario): Promise<string[]> {
  return (await deadLetters()).map(({ head }) => head.originalId ?? '').toSorted()
}

async function setDeliveries(raw: Redis, owner: string, id: string, deliveryCount: number): Promise<void> {
  await raw.xclaim('orders', 'billing', owner, 0, id, 'IDLE', 60_000, 'RETRYCOUNT', deliveryCount, 'JUSTID')
}

describe('promise 7: a zombie whose slot, and whose entry, went to another of the same name', () => {
  const failures = [
    ['retry', () => new Error('no')],
    ['dead-letter', () => new NonRetryableError('gone')],
  ] as const

  it.each(failures)('can neither %s nor release what a poller read again', async (_outcome, makeError) => {
    const { redis, raw, connect, publish, pending, deadLetters } = await startScenario()
    const thaw = Promise.withResolvers<void>()
    const stop = new AbortController()
    const zombie = noting(async () => {
      await thaw.promise
      throw makeError()
    })
    const finish = Promise.withResolvers<void>()
    const sibling = noting(() => finish.promise)
    await publish('a', 'never started')
    const zombieRun = poll(billing(zombie.handler, { concurrency: 1 }), { redis, signal: stop.signal })
    await until(() => zombie.calls.length === 1)
    stop.abort()

    await endLease(raw, 'poller-0')
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    const siblingRun = poll(billing(sibling.handler), { redis: connect() })
    await until(() => sibling.calls.length === 2)
    const before = [await pending(), await raw.get(lease('poller-0'))]
    thaw.resolve()
    const report = await zombieRun

    // the same names, the same delivery counts: only the lease tells them apart
    expect(before[0]).toEqual([
      ['a', 'poller-0', 1],
      ['never started', 'poller-0', 1],
    ])
    expect(counts(report)).toEqual({ read: 2, unsettled: 2, batches: 1 })
    expect([await pending(), await raw.get(lease('poller-0'))]).toEqual(before)
    finish.resolve()
    expect(counts(await siblingRun)).toMatchObject({ read: 2, acked: 2 })
    expect([await pending(), await deadLetters()]).toEqual([[], []])
  })

  it.each(failures)('cannot %s what a claimer claimed again and has not started', async (_outcome, makeError) => {
    const scenario = await startScenario()
    const { server, redis, raw, connect, pending, age, deadLetters } = scenario
    const proxy = await startFaultProxy(server)
    const thaw = Promise.withResolvers<void>()
    const zombie = noting(async () => {
      await thaw.promise
      throw makeError()
    })
    const attempts: number[] = []
    const sibling = noting((_event, { deliveryCount }) => void attempts.push(deliveryCount))
    const [id = ''] = await give(scenario, 'claim', 'a')
    const zombieRun = claimOnce(billing(zombie.handler), { redis })
    await until(() => zombie.calls.length === 1)

    await endLease(raw, 'claimer-0')
    await age(60_000)
    const starting = proxy.pauseOn(id)
    const siblingRun = claimOnce(billing(sibling.handler), { redis: connect(proxy.url) })
    const held = await starting
    thaw.resolve()
    const report = await zombieRun

    expect(await pending()).toEqual([['a', 'claimer-0', 2]])
    expect([counts({ ...report, drained: false }), await deadLetters()]).toEqual([
      { claimed: 1, unsettled: 1, batches: 1 },
      [],
    ])
    held.release()
    expect(counts(await siblingRun)).toMatchObject({ claimed: 1, acked: 1 })
    expect([attempts, await pending(), await deadLetters()]).toEqual([[3], [], []])
    await proxy.close()
  })

  it('acks all the same, for its work is done', async () => {
    const { redis, raw, connect, publish, pending } = await startScenario()
    const thaw = Promise.withResolvers<void>()
    const zombie = noting(() => thaw.promise)
    const finish = Promise.withResolvers<void>()
    const sibling = noting(() => finish.promise)
    await publish('a')
    const zombieRun = poll(billing(zombie.handler), { redis })
    await until(() => zombie.calls.length === 1)

    await endLease(raw, 'poller-0')
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    const siblingRun = poll(billing(sibling.handler), { redis: connect() })
    await until(() => sibling.calls.length === 1)
    thaw.resolve()

    expect(counts(await zombieRun)).toMatchObject({ read: 1, acked: 1 })
    expect(await pending()).toEqual([])
    finish.resolve()
    expect(counts(await siblingRun)).toMatchObject({ read: 1, acked: 1, ackMissed: 1 })
  })
})

describe('promise 7: a claimer that was frozen', () => {
  /** A claimer in a process of its own, stopped while the handler of `a` runs; that one ends only by its time limit. */
  async function freezeClaimer(scenario: Scenario, options: Partial<ConsumerOptions>, handlerMs?: number) {
    const { server, pending, age } = scenario
    await give(scenario, 'claim', 'a')
    const dying = handlerMs === undefined ? ({ poison: 'a', death: 'hang' } as const) : { handlerMs }
    const frozen = startVictim({ url: server.url, action: 'claim', options, ...dying })
    await until(async () => (await pending())[0]?.[1] === 'claimer-0' && (await pending())[0]?.[2] === 2)
    frozen.freeze()
    await age(60_000)
    return frozen
  }

  it('does not bring back what another has put off', async () => {
    const scenario = await startScenario()
    const { redis, raw, pending } = scenario
    const frozen = await freezeClaimer(scenario, { handlerTimeoutMs: 700 })
    const putOff = billing(() => Promise.reject(new RetryAfterError(HOUR_MS)))
    expect(counts(await claimOnce(putOff, { redis }))).toMatchObject({ claimed: 1, retried: 1 })
    const before = [await pending(), await raw.zrange(DUE, '0', '-1', 'WITHSCORES')]

    frozen.thaw()
    await frozen.exit

    expect(before[0]).toEqual([['a', 'parked', 3]])
    expect([await pending(), await raw.zrange(DUE, '0', '-1', 'WITHSCORES')]).toEqual(before)
    expect(counts(frozen.report as Report)).toMatchObject({ claimed: 1, superseded: 1 })
    expect(difference(frozen.report as Report)).toBe(0)
  })

  it('writes no second dead letter', async () => {
    const scenario = await startScenario()
    const { redis, pending, deadLetters } = scenario
    const options = { handlerTimeoutMs: 700, maxDeliveries: 2 }
    const frozen = await freezeClaimer(scenario, options)
    const { calls, handler } = noting()
    expect(counts(await claimOnce(billing(handler, options), { redis }))).toMatchObject({ claimed: 1, deadLettered: 1 })

    frozen.thaw()
    await frozen.exit

    expect([calls, await pending()]).toEqual([[], []])
    expect((await deadLetters()).map(({ head }) => [head.reason, head.deliveryCount])).toEqual([['crashed', '2']])
    expect(counts(frozen.report as Report)).toMatchObject({ claimed: 1, superseded: 1 })
  })

  it('acks what it has done, also while the entry waits for another turn', async () => {
    const scenario = await startScenario()
    const { redis, pending } = scenario
    const frozen = await freezeClaimer(scenario, {}, 300)
    expect(counts(await claimOnce(billing(fail), { redis }))).toMatchObject({ claimed: 1, retried: 1 })
    expect(await pending()).toEqual([['a', 'parked', 3]])

    frozen.thaw()
    await frozen.exit

    expect([frozen.handled, await pending()]).toEqual([['a'], []])
    expect(counts(frozen.report as Report)).toMatchObject({ claimed: 1, acked: 1 })
  })
})

describe('promise 3: a dead letter', () => {
  it.each(ACTIONS)('is checked, added and only then acknowledged: %s', async (action, run) => {
    const scenario = await startScenario()
    const { server, redis, raw, deadLetters } = scenario
    const [id = ''] = await give(scenario, action, 'a')
    if (action === 'claim') await setDeliveries(raw, 'parked', id, 5)
    const watch = await watchCommands(server.url)

    await run(
      billing(() => Promise.reject(new NonRetryableError('gone'))),
      { redis },
    )

    const steps = (await watch.seen()).filter(
      ([name = '', ...args]) => ['xpending', 'xadd', 'xack'].includes(name) && args.includes(id),
    )
    expect(steps.map(([name]) => name).slice(-3)).toEqual(['xpending', 'xadd', 'xack'])
    expect(steps.filter(([name]) => name !== 'xpending').map(([name, key]) => [name, key])).toEqual([
      ['xadd', DLQ],
      ['xack', 'orders'],
    ])
    expect(await deadLetters()).toHaveLength(1)
  })

  const refusals = [
    ['memory', 'OOM', async ({ raw }: Scenario) => void (await raw.config('SET', 'maxmemory', '1'))],
    ['type', 'WRONGTYPE', async ({ raw }: Scenario) => void (await raw.set(DLQ, 'no stream'))],
    [
      'permission',
      'NOPERM',
      ({ raw }: Scenario) =>
        allow(raw, [
          'orders',
          lease('*'),
          DUE,
          '{orders}:billing:waiting',
          '{orders}:billing:paused',
          '{orders}:billing:state',
          '{orders}:billing:wake',
        ]),
    ],
  ] as const
  const urlOfLimited = ({ server }: Scenario) => `redis://limited:pw@${server.host}:${server.port}`

  /** A script that has written something may go on without memory, so that the second letter of a batch is accepted. */
  async function pendingAndBuried(scenario: Scenario): Promise<string[]> {
    const rows = (await scenario.raw.xpending('orders', 'billing', '-', '+', 9)) as string[][]
    const isStream = (await scenario.raw.type(DLQ)) === 'stream'
    return [...rows.map(([id = '']) => id), ...(isStream ? await buried(scenario) : [])].toSorted()
  }

  async function allow(raw: Redis, keys: readonly string[]): Promise<void> {
    await raw.call('ACL', 'SETUSER', 'limited', 'reset', 'on', '>pw', '+@all', ...keys.map((key) => `~${key}`))
  }

  async function repair({ raw }: Scenario): Promise<void> {
    await raw.config('SET', 'maxmemory', '0')
    if ((await raw.type(DLQ)) === 'string') await raw.del(DLQ)
    await allow(raw, ['*'])
  }

  it.each(refusals)(
    'that is refused for want of %s leaves its entry pending, once per run: claim',
    async (_kind, code, refuse) => {
      const scenario = await startScenario()
      const { raw, connect, pending, age } = scenario
      const [usedUp = '', last = ''] = await give(scenario, 'claim', 'used up', 'fails last', 'good')
      await setDeliveries(raw, 'poller-3', usedUp, 5)
      await setDeliveries(raw, 'parked', last, 4)
      await allow(raw, ['*'])
      const redis = connect(urlOfLimited(scenario))
      const { calls, handler } = noting((event) => (orderOf(event) === 'good' ? undefined : fail()))
      const consumer = billing(handler)

      await refuse(scenario)
      for (let run = 0; run < 2; run++) {
        const error = (await claimOnce(consumer, { redis }).catch((caught: unknown) => caught)) as InvocationFailedError
        expect(error).toMatchObject({ code: 'ERR_INVOCATION_FAILED', message: expect.stringContaining(code) })
        expect([error.failures.length, difference(error.report)]).toEqual([1, 0])
        expect(await pendingAndBuried(scenario)).toEqual(expect.arrayContaining([usedUp, last]))
        await age(60_000)
      }

      await repair(scenario)
      for (let run = 0; run < 2; run++) {
        await claimOnce(consumer, { redis })
        await age(60_000)
      }
      expect([calls.includes('good'), await pending()]).toEqual([true, []])
      expect(await buried(scenario)).toEqual([usedUp, last])
    },
  )

  it.each(refusals)('that is refused for want of %s leaves its entry pending: poll', async (_kind, code, refuse) => {
    const scenario = await startScenario()
    const { raw, connect, publish, pending, age } = scenario
    await allow(raw, ['*'])
    const redis = connect(urlOfLimited(scenario))
    await poll(
      billing(() => {}),
      { redis },
    )
    const bad = await publish('bad 1', 'good', 'bad 2')
    const { calls, handler } = noting((event) => {
      if (orderOf(event) !== 'good') throw new NonRetryableError('gone')
    })

    await refuse(scenario)
    const error = (await poll(billing(handler), { redis }).catch((caught: unknown) => caught)) as InvocationFailedError

    expect(error).toMatchObject({ code: 'ERR_INVOCATION_FAILED', message: expect.stringContaining(code) })
    const { acked, deadLettered, unsettled } = error.report
    expect([error.failures.length, difference(error.report), acked, deadLettered + unsettled]).toEqual([1, 0, 1, 2])
    expect(await pendingAndBuried(scenario)).toEqual([bad[0], bad[2]])
    await repair(scenario)
    await age(60_000)
    await claimOnce(billing(handler), { redis })
    expect(await buried(scenario)).toEqual([bad[0], bad[2]])
    expect([calls.slice(0, 3), await pending()]).toEqual([['bad 1', 'good', 'bad 2'], []])
  })

  it('that a missing permission refuses costs the neighbours of its entry no delivery', async () => {
    const scenario = await startScenario()
    const { raw, connect, pending, age } = scenario
    const [usedUp = ''] = await give(scenario, 'claim', 'used up', 'good')
    await setDeliveries(raw, 'poller-3', usedUp, 5)
    await allow(raw, [
      'orders',
      lease('*'),
      DUE,
      '{orders}:billing:waiting',
      '{orders}:billing:paused',
      '{orders}:billing:state',
      '{orders}:billing:wake',
    ])
    const redis = connect(urlOfLimited(scenario))
    const { calls, handler } = noting()

    for (let run = 0; run < 6; run++) {
      await claimOnce(billing(handler), { redis }).catch(() => {})
      await age(60_000)
    }
    await repair(scenario)
    for (let run = 0; run < 2; run++) {
      await claimOnce(billing(handler), { redis })
      await age(60_000)
    }

    expect([calls, await pending()]).toEqual([['good'], []])
    expect(await buried(scenario)).toEqual([usedUp])
  })
})

describe('promise 2: the last delivery', () => {
  it.each(ACTIONS)('that succeeds is acknowledged and makes no dead letter: %s', async (action, run) => {
    const scenario = await startScenario()
    const { redis, pending, deadLetters } = scenario
    const maxDeliveries = action === 'poll' ? 1 : 2
    const attempts: number[] = []
    await give(scenario, action, 'a')

    const report = await run(
      billing((_event, { deliveryCount }) => void attempts.push(deliveryCount), { maxDeliveries }),
      { redis },
    )

    expect(counts(report)).toMatchObject({ acked: 1 })
    expect([attempts, await pending(), await deadLetters()]).toEqual([[maxDeliveries], [], []])
  })

  it.each(ACTIONS)('that still runs is left alone by claimers: %s', async (action, run) => {
    const scenario = await startScenario()
    const { redis, connect, pending, deadLetters } = scenario
    const maxDeliveries = action === 'poll' ? 1 : 2
    const finish = Promise.withResolvers<void>()
    const { calls, handler } = noting(() => finish.promise)
    const options = { maxDeliveries, minIdleMs: 500, handlerTimeoutMs: 20_000, allowLongHandlers: true }
    await give(scenario, action, 'a')

    const running = run(billing(handler, options), { redis })
    await until(() => calls.length === 1)
    const passing = connect()
    const passed: unknown[] = []
    for (const from = performance.now(); performance.now() - from < 1_500; await delay(60))
      passed.push(counts(await claimOnce(billing(fail, options), { redis: passing })))
    finish.resolve()

    expect(new Set(passed.map((report) => JSON.stringify(report)))).toEqual(new Set(['{"drained":true}']))
    expect(counts(await running)).toMatchObject({ acked: 1 })
    expect([calls, await pending(), await deadLetters()]).toEqual([['a'], [], []])
  })
})

describe('promise 2: a release', () => {
  it.each(ACTIONS)('gives the delivery back in place, and nobody reads the history: %s', async (action, run) => {
    const scenario = await startScenario()
    const { server, redis, connect, pending } = scenario
    const orders = names('o', 6)
    await give(scenario, action, ...orders)
    const before = action === 'poll' ? 0 : 1
    const watch = await watchCommands(server.url)
    const stop = new AbortController()
    const first = noting(() => stop.abort())

    const options = { concurrency: 1, handlerTimeoutMs: 1_000 }
    const report = await run(billing(first.handler, options), { redis, signal: stop.signal })

    // a claimer takes no more than it can run
    expect(counts({ ...report, drained: false })).toMatchObject({ acked: 1, ...(action === 'poll' && { released: 5 }) })
    expect(await pending()).toEqual(orders.slice(1).map((order) => [order, 'parked', before]))
    const attempts: number[] = []
    const next = noting((_event, { deliveryCount }) => void attempts.push(deliveryCount))
    await claimOnce(billing(next.handler), { redis: connect() })
    expect([next.calls.toSorted(), attempts]).toEqual([orders.slice(1), orders.slice(1).map(() => before + 1)])
    const reads = (await watch.seen()).filter(([name]) => name === 'xreadgroup')
    expect(reads.filter((args) => args.at(-1) !== '>')).toEqual([])
    expect(reads.length > 0).toBe(action === 'poll')
  })
})

describe('promise 6: back-off', () => {
  it('beyond minIdleMs is kept and costs no attempt, and so is RetryAfterError', async () => {
    const { redis, publish, deadLetters } = await startScenario()
    const waitMs = 500
    const seen: Record<string, { attempts: number[]; times: number[] }> = {}
    const consumer = billing(
      (event, { deliveryCount }) => {
        seen[orderOf(event)] ??= { attempts: [], times: [] }
        seen[orderOf(event)]?.attempts.push(deliveryCount)
        seen[orderOf(event)]?.times.push(performance.now())
        throw orderOf(event) === 'asks' ? new RetryAfterError(waitMs) : new Error('no')
      },
      {
        maxDeliveries: 3,
        backoff: { firstMs: waitMs, factor: 1 },
        minIdleMs: 60,
        handlerTimeoutMs: 5_000,
        allowLongHandlers: true,
      },
    )
    await publish('asks', 'fails')

    await poll(consumer, { redis })
    while ((await deadLetters()).length < 2) {
      await claimOnce(consumer, { redis })
      await delay(20)
    }

    expect(Object.values(seen).map(({ attempts }) => attempts)).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ])
    for (const { times } of Object.values(seen))
      for (const [n, at] of times.slice(1).entries())
        expect(at - (times[n] as number)).toBeGreaterThanOrEqual(waitMs - 2)
    expect((await deadLetters()).map(({ head }) => head.deliveryCount)).toEqual(['3', '3'])
  })

  it('is lengthened by chance, never shortened', async () => {
    const { redis, raw, publish } = await startScenario()
    const failFor = (firstMs: number) => billing(fail, { backoff: { firstMs, maxMs: HOUR_MS }, batchSize: 200 })
    const spreads: { least: number; most: number; different: number }[] = []
    const note = (waits: readonly number[]) =>
      spreads.push({ least: Math.min(...waits), most: Math.max(...waits), different: new Set(waits).size })

    await publish(...names('within-', 200))
    const from = Date.now()
    const dues = async (since: number) => {
      const scores = (await raw.zrange(DUE, '0', '-1', 'WITHSCORES')).filter((_, n) => n % 2 === 1)
      await raw.del(DUE)
      return scores.map((score) => Math.floor(Number(score) / 1_024) - since)
    }
    await poll(failFor(30_000), { redis })
    note(await dues(from))
    await publish(...names('beyond-', 200))
    const between = Date.now()
    await poll(failFor(120_000), { redis })
    note(await dues(between))

    const [within, beyond] = spreads
    expect(within?.least).toBeGreaterThanOrEqual(30_000)
    expect(within?.most).toBeLessThanOrEqual(36_000 + Date.now() - from)
    expect(beyond?.least).toBeGreaterThanOrEqual(120_000)
    expect(beyond?.most).toBeLessThanOrEqual(144_000 + Date.now() - between)
    expect(spreads.map(({ different }) => different > 20)).toEqual([true, true])
  })

  it('does not put off what its process dropped: that is recovered after minIdleMs', async () => {
    const scenario = await startScenario()
    const { server, redis, raw, connect, publish, pending, age } = scenario
    const options = { backoff: { firstMs: HOUR_MS, maxMs: HOUR_MS } }
    const { calls, handler } = noting()
    await publish('put off')
    await poll(
      billing(() => Promise.reject(new RetryAfterError(HOUR_MS)), options),
      { redis },
    )
    const [id = ''] = await raw.zrange(DUE, '0', '0')
    await raw.zadd(DUE, 1, id) // an hour later
    await age(60_000)
    await publish('new')

    const victims = (['claim', 'poll'] as const).map((action) =>
      startVictim({ url: server.url, action, options, handlerMs: 600_000 }),
    )
    await until(async () => {
      const left = (await pending()).map(([, owner, deliveryCount]) => `${owner} ${deliveryCount}`)
      return left.join() === 'claimer-0 2,poller-0 1'
    })
    await Promise.all(victims.map((victim) => victim.kill()))
    expect(counts(await claimOnce(billing(handler, options), { redis: connect() }))).toEqual({ drained: true })
    await age(60_000)

    expect(counts(await claimOnce(billing(handler, options), { redis }))).toMatchObject({ claimed: 2, acked: 2 })
    expect(calls.toSorted()).toEqual(['new', 'put off'])
  })
})

describe('promises 2 and 3: a server that dies and comes back with its append-only file', () => {
  it('loses nothing, makes no dead letter twice, and its counts stay truthful', async () => {
    const scenario = await startScenario({ server: { args: ['--appendonly', 'yes', '--appendfsync', 'always'] } })
    const { server, raw, connect, publish, pending, age } = scenario
    const proxy = await startFaultProxy(server)
    const redis = connect(proxy.url)
    const orders = names('', 10).flatMap((n) => [`good-${n}`, `fails-${n}`, `bad-${n}`, `good-too-${n}`])
    const ids = await publish(...orders)
    const doomed = ids.filter((_, n) => !orders[n]?.startsWith('good'))
    const attempts = new Map<string, number[]>()
    let crash: Promise<void> | undefined
    let callsUntilCrash = Number.POSITIVE_INFINITY
    let crashes = 0
    const dieNow = () => {
      crashes++
      server.kill('SIGKILL')
      crash = server.restart()
    }
    const consumer = billing(
      async (event, { deliveryCount }) => {
        const orderId = orderOf(event)
        attempts.set(orderId, [...(attempts.get(orderId) ?? []), deliveryCount])
        if (--callsUntilCrash === 0) dieNow()
        await delay(3)
        if (orderId.startsWith('bad')) throw new NonRetryableError('gone')
        if (orderId.startsWith('fails')) throw new Error('no')
      },
      { batchSize: 12, concurrency: 4, maxDeliveries: 3, backoff: { firstMs: 0 }, mode: 'once' },
    )
    const invoke = async (run: typeof poll | typeof claimOnce, own: Connection) => {
      const report = await run(consumer, { redis: own }).catch((error: unknown) => {
        if (error instanceof InvocationFailedError) return error.report
        throw error
      })
      await crash
      for (const slot of [...names('poller-', 4), ...names('claimer-', 2)]) await raw.del(lease(slot))
      await age(60_000).catch(() => {})
      expect(difference(report)).toBe(0)
      return report
    }

    callsUntilCrash = 6
    await invoke(poll, redis)
    const whenSettled = proxy.cutAfter('xack').then(dieNow)
    await invoke(poll, redis)
    await whenSettled
    callsUntilCrash = 2
    await invoke(claimOnce, redis)
    const [first] = (await raw.xpending('orders', 'billing', '-', '+', 1)) as [string][]
    const whenStarted = proxy.cutAfter(String(first?.[0])).then(dieNow)
    await invoke(claimOnce, redis)
    await whenStarted
    for (let run = 0; run < 6; run++) for (const action of [poll, claimOnce]) await invoke(action, redis)

    expect([crashes, await pending()]).toEqual([4, []])
    expect([...attempts.keys()].toSorted()).toEqual(orders.toSorted())
    expect(await buried(scenario)).toEqual(doomed.toSorted())
    for (const [, seen] of attempts) {
      expect([seen, Math.max(...seen) <= 3]).toEqual([[...new Set(seen)].toSorted((a, b) => a - b), true])
    }
    await proxy.close()
  })
})

describe('promise 5: a batch', () => {
  it('whose queue waits for longer than minIdleMs never ages', async () => {
    const { redis, connect, publish } = await startScenario()
    const orders = names('o', 30)
    const { calls, handler } = noting(() => delay(50))
    const options = { concurrency: 1, minIdleMs: 450, handlerTimeoutMs: 5_000, allowLongHandlers: true }
    await publish(...orders)

    let isOver = false
    const polling = poll(billing(handler, options), { redis }).finally(() => {
      isOver = true
    })
    await until(() => calls.length > 0)
    const passing = connect()
    const passed: unknown[] = []
    for (; !isOver; await delay(40)) passed.push(counts(await claimOnce(billing(fail, options), { redis: passing })))

    expect(new Set(passed.map((report) => JSON.stringify(report)))).toEqual(new Set(['{"drained":true}']))
    expect(counts(await polling)).toEqual({ read: 30, acked: 30, batches: 1, drained: true })
    expect([passed.length > 10, calls]).toEqual([true, orders])
  })

  it('settles an overrun entry at once, and retries it while the others still run', async () => {
    const { redis, connect, publish, pending } = await startScenario()
    const options = { concurrency: 2, minIdleMs: 450, handlerTimeoutMs: 300, reserveMs: 200, allowLongHandlers: true }
    await publish('hangs', ...names('o', 50))
    const { calls, handler } = noting((event) => (orderOf(event) === 'hangs' ? new Promise(() => {}) : delay(100)))
    const attempts: number[] = []
    const second = noting((_event, { deliveryCount }) => void attempts.push(deliveryCount))

    let isOver = false
    const polling = poll(billing(handler, { ...options, backoff: { firstMs: 0 } }), { redis }).finally(() => {
      isOver = true
    })
    await until(() => calls.length > 0)
    const passing = connect()
    for (; !isOver; await delay(40)) await claimOnce(billing(second.handler, options), { redis: passing })

    expect([second.calls, attempts]).toEqual([['hangs'], [2]])
    expect(counts(await polling)).toMatchObject({ read: 51, acked: 50, retried: 1, overran: 1 })
    expect(await pending()).toEqual([])
  })
})

describe('promise 13: the report adds up', () => {
  interface Fault {
    readonly expected: Partial<Record<keyof Report, number | boolean>>
    readonly fails: boolean
    happen(scenario: Scenario, context: HandlerContext): Promise<unknown>
  }
  const FAULTS: Readonly<Record<string, Fault>> = {
    'ackMissed: somebody else acked it': {
      expected: { acked: 1, ackMissed: 1 },
      fails: false,
      happen: ({ raw }, { entryId }) => raw.xack('orders', 'billing', entryId),
    },
    'superseded: somebody else claimed it': {
      expected: { superseded: 1 },
      fails: true,
      happen: ({ raw }, { entryId }) => raw.xclaim('orders', 'billing', 'poller-9', 0, entryId),
    },
    'superseded: it was delivered once more, under the same name': {
      expected: { superseded: 1 },
      fails: true,
      happen: ({ raw }, { entryId, consumerName }) => raw.xclaim('orders', 'billing', consumerName, 0, entryId),
    },
    'superseded: somebody else acked what failed': {
      expected: { superseded: 1 },
      fails: true,
      happen: ({ raw }, { entryId }) => raw.xack('orders', 'billing', entryId),
    },
    'unsettled: the slot went to another': {
      expected: { unsettled: 1 },
      fails: true,
      happen: ({ raw }, { consumerName }) => raw.set(lease(consumerName), 'another'),
    },
    'unsettled: the group is gone when a failure is to be settled': {
      expected: { unsettled: 1 },
      fails: true,
      happen: ({ raw }) => raw.xgroup('DESTROY', 'orders', 'billing'),
    },
    'ackMissed: the group is gone when a success is to be settled': {
      expected: { acked: 1, ackMissed: 1 },
      fails: false,
      happen: ({ raw }) => raw.del('orders'),
    },
    'lost: the entry was trimmed before its failure was settled': {
      expected: { superseded: 1, lost: 1 },
      fails: true,
      happen: ({ raw }, { entryId }) => raw.xdel('orders', entryId),
    },
    'acked: the entry was trimmed, and its work is done': {
      expected: { acked: 1, ackMissed: 0, lost: 0 },
      fails: false,
      happen: ({ raw }, { entryId }) => raw.xdel('orders', entryId),
    },
  }

  it.each(Object.keys(FAULTS).flatMap((name) => ACTIONS.map(([action, run]) => [name, action, run] as const)))(
    '%s: %s',
    async (name, action, run) => {
      const fault = FAULTS[name] as Fault
      const scenario = await startScenario()
      await give(scenario, action, 'a')
      let isFirst = true
      const handler: EventHandler = async (_event, context) => {
        if (!isFirst) return
        isFirst = false
        await fault.happen(scenario, context)
        if (fault.fails) throw new Error('no')
      }

      const report = await run(billing(handler, { mode: 'once' }), { redis: scenario.redis })

      expect(report).toMatchObject({ [action === 'poll' ? 'read' : 'claimed']: 1, ...fault.expected })
      expect(difference(report)).toBe(0)
    },
  )

  it.each(ACTIONS)('groupRecreated: the group was gone before %s', async (action, run) => {
    const scenario = await startScenario()
    const { redis, raw, publish } = scenario
    const consumer = billing(() => {})
    await give(scenario, action, 'a')
    await poll(consumer, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await publish('b')

    const report = await run(consumer, { redis })

    expect(report).toMatchObject({ groupRecreated: true, drained: true })
    expect([difference(report), report.acked]).toEqual([0, report.read])
  })
})

describe('promises 3 and 16: what a handler receives is its own copy', () => {
  it('changing it changes nothing on the retry, in the dead letter, or for other entries', async () => {
    const { redis, raw, deadLetters } = await startScenario()
    const bytes = Buffer.from([0, 255, 254, 13, 10])
    const id = (await raw.xadd(
      'orders',
      '*',
      'eventType',
      'OrderPaid',
      'eventId',
      'e-1',
      'bytes',
      bytes,
      'payload',
      '{"orderId":"a"}',
    )) as string
    await raw.xadd('orders', '*', 'eventType', 'OrderPaid', 'eventId', 'e-2', 'payload', '{"orderId":"b"}')
    const lambda = { ...lambdaContext(), callbackWaitsForEmptyEventLoop: false, clientContext: 'kept' }
    const seen: unknown[] = []
    const consumer = billing(
      async (event, context) => {
        const { entryId, deliveryCount, maxDeliveries, idempotencyKey, stream, group, consumerName } = context
        const fields = context.fields.map((field) => field.map((value) => value.toString('latin1')))
        seen.push(
          structuredClone({ ...(event as object) }),
          { entryId, deliveryCount, maxDeliveries, idempotencyKey, stream, group, consumerName },
          {
            fields,
            waits: context.callbackWaitsForEmptyEventLoop,
            client: (context as { clientContext?: unknown }).clientContext,
          },
        )
        spoil(event, context)
        await delay(1)
        if (seen.length < 7) throw new Error('no')
        throw new NonRetryableError('gone')
      },
      { backoff: { firstMs: 0 }, concurrency: 1 },
    )

    await poll(consumer, { redis, context: lambda })
    await claimOnce(consumer, { redis, context: lambda })

    expect(seen.slice(6)).toEqual(
      seen.slice(0, 6).map((sight) => {
        const { entryId } = sight as Partial<HandlerContext>
        return entryId === undefined ? sight : { ...(sight as object), deliveryCount: 2, consumerName: 'claimer-0' }
      }),
    )
    expect(seen.slice(0, 3)).toEqual([
      { type: 'OrderPaid', version: 1, eventId: 'e-1', payload: { orderId: 'a' } },
      {
        entryId: id,
        deliveryCount: 1,
        maxDeliveries: 5,
        idempotencyKey: 'billing:e-1',
        stream: 'orders',
        group: 'billing',
        consumerName: 'poller-0',
      },
      {
        fields: [
          ['eventType', 'OrderPaid'],
          ['eventId', 'e-1'],
          ['bytes', bytes.toString('latin1')],
          ['payload', '{"orderId":"a"}'],
        ],
        waits: false,
        client: 'kept',
      },
    ])
    const letters = await deadLetters()
    expect(letters.map(({ head }) => [head.originalId, head.eventId, head.deliveryCount])).toEqual([
      [id, 'e-1', '2'],
      [expect.any(String), 'e-2', '2'],
    ])
    const [[, stored] = []] = (await raw.xrangeBuffer(DLQ, '-', '+', 'COUNT', 1)) as unknown as [Buffer, Buffer[]][]
    const [[, original] = []] = (await raw.xrangeBuffer('orders', id, id)) as unknown as [Buffer, Buffer[]][]
    expect(stored?.slice(-8)).toEqual(original)
    expect(lambda).toMatchObject({ callbackWaitsForEmptyEventLoop: false, clientContext: 'kept' })
  })
})

/** All that a handler could do to what it was given. */
function spoil(event: unknown, context: HandlerContext): void {
  for (const field of context.fields) for (const value of field) if (Buffer.isBuffer(value)) value.fill(0x78)
  const fields = context.fields as unknown as unknown[]
  fields.reverse().push(['more', 'fields'])
  Object.assign((event as { payload: object }).payload, { orderId: 'spoiled', more: true })
  Object.assign(event as object, { type: 'Spoiled', eventId: 'spoiled', version: 9, payload: null })
  for (const name of ['entryId', 'deliveryCount', 'maxDeliveries', 'idempotencyKey', 'stream', 'group', 'consumerName'])
    Object.assign(context, { [name]: 'spoiled' })
  Object.assign(context, { callbackWaitsForEmptyEventLoop: true, clientContext: 'spoiled' })
}

import { Redis } from 'ioredis'
import type { Connection, ConsumerOptions, InvocationFailedError, Report } from 'millrace'
import { poll, RetryAfterError } from 'millrace'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createAppender } from '../../src/group/redis/append.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { createAclUsers, urlOf } from '../infra/acl-users.ts'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, counts, difference, names, noting, startScenario } from '../support/scenario.ts'
import { startMonitor } from '../support/start-monitor.ts'

const STATE = '{orders}:billing:state'
const DUE = '{orders}:billing:due'

/** Where a new group starts: a group that lived must not start there again. */
const ONLY_NEW: Partial<ConsumerOptions> = { startAt: '$', backoff: { firstMs: 0 }, maxDeliveries: 3 }

const PATHS = [
  { path: 'poll', run: poll },
  { path: 'claim', run: claimOnce },
] as const

/** What takes a group away. */
interface Loss {
  readonly loss: string
  /** The stream stays, and with it what was published before. */
  readonly keepsEntries: boolean
  readonly args?: readonly string[]
  happen(scenario: Scenario, connections: readonly Connection[]): Promise<unknown>
}

const LOSSES: readonly Loss[] = [
  { loss: 'FLUSHALL', keepsEntries: false, happen: ({ raw }) => raw.flushall() },
  { loss: 'DEL of the stream', keepsEntries: false, happen: ({ raw }) => raw.del('orders') },
  {
    loss: 'the stream’s expiry',
    keepsEntries: false,
    async happen({ raw }) {
      await raw.pexpire('orders', 1)
      await expect.poll(() => raw.exists('orders')).toBe(0)
    },
  },
  { loss: 'XGROUP DESTROY', keepsEntries: true, happen: ({ raw }) => raw.xgroup('DESTROY', 'orders', 'billing') },
  {
    loss: 'a restart without persistence',
    keepsEntries: false,
    happen: restart,
  },
]

async function restart({ server, raw }: Scenario, connections: readonly Connection[]): Promise<void> {
  // `once` of node:events would reject with the first refusal
  const ready = new Promise<void>((resolve) => void raw.once('ready', resolve))
  await server.restart()
  await ready
  // a client that was refused meanwhile may fail its next command, once
  const elsewhere = connections.map((connection) =>
    createAppender('append', connection)('elsewhere', [[['a', 'b']]], { kind: 'none' }),
  )
  await Promise.allSettled(elsewhere)
}

/** A handler that fails as long as the test says so, for orders whose name starts with `bad`. */
function failing(then: () => never = fail) {
  const state = { isFailing: true }
  const noted = noting((event) => {
    if (state.isFailing && (event as { payload: { orderId: string } }).payload.orderId.startsWith('bad')) then()
  })
  return { ...noted, state }
}

function fail(): never {
  throw new Error('no')
}

/** Where the group stands, as a second client sees it: ids delivered before are not delivered again. */
async function lastDeliveredId(raw: Redis): Promise<unknown> {
  const [info = []] = (await raw.xinfo('GROUPS', 'orders')) as unknown[][]
  return info[info.indexOf('last-delivered-id') + 1]
}

async function adding(reports: Promise<Report>): Promise<Report> {
  const report = await reports
  expect(difference(report)).toBe(0)
  return report
}

describe.each(PATHS)('promise 8: a lost group is recreated by $path()', ({ run }) => {
  it.each(LOSSES)('after $loss, with all that was pending or published meanwhile', async ({ happen, keepsEntries }) => {
    const scenario = await startScenario()
    const { redis, raw, connect, publish, pending, deadLetters } = scenario
    const { calls, handler, state } = failing(() => {
      throw new RetryAfterError(3_600_000)
    })
    const consumer = billing(handler, ONLY_NEW)
    const claimer = connect()
    await publish('before-the-group')
    await poll(consumer, { redis })
    await publish('done', 'bad')
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis: claimer })
    await raw.hset(STATE, 'cursor', '99-9')
    expect(calls).toEqual(['done', 'bad'])

    await happen(scenario, [redis, claimer])
    await publish('new-1', 'new-2')
    calls.length = 0
    state.isFailing = false
    const healing = await adding(run(consumer, { redis: run === poll ? redis : claimer }))
    const sideKeys = [await raw.exists(DUE), await raw.hget(STATE, 'cursor')]
    const next = await adding(poll(consumer, { redis }))
    await passOnDue(raw, 3_600_000)
    await adding(claimOnce(consumer, { redis: claimer }))

    expect([healing.groupRecreated, healing.drained, next.groupRecreated]).toEqual([true, true, false])
    // a claimer gives back, or forgets, what was set aside in the life before
    expect(sideKeys.slice(1)).toEqual([run === poll ? null : '0-0'])
    expect(calls.toSorted()).toEqual(keepsEntries ? ['bad', 'new-1', 'new-2'] : ['new-1', 'new-2'])
    expect([await pending(), await deadLetters()]).toEqual([[], []])
  })

  it('by a process that never saw it, at the mark', async () => {
    const { redis, raw, connect, publish } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler, ONLY_NEW)
    await poll(consumer, { redis })
    await publish('done')
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await publish('new')

    const { groupRecreated } = await adding(run(consumer, { redis: connect() }))
    await poll(consumer, { redis: connect() })

    expect([groupRecreated, calls]).toEqual([true, ['done', 'new']])
  })

  it('from the start where its mark is above the stream’s last id', async () => {
    const { redis, raw, publish } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler, ONLY_NEW)
    await poll(consumer, { redis })
    const [id = ''] = await publish('done')
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    const [[, fields] = ['', []]] = await raw.xrange('orders', id, id)
    await raw.del('orders')
    for (const lower of ['5-1', '5-2']) await raw.xadd('orders', lower, ...fields)

    const { groupRecreated } = await adding(run(consumer, { redis }))
    const start = await lastDeliveredId(raw)
    await poll(consumer, { redis })

    expect([groupRecreated, start, calls]).toEqual([true, run === poll ? '5-2' : '0-0', ['done', 'done', 'done']])
  })

  it('each time anew, by a process that knew it alive', async () => {
    const { redis, raw, publish } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler, ONLY_NEW)
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    const groupRecreated: boolean[] = []
    for (const order of ['a', 'b', 'c']) {
      await raw.flushall()
      await publish(order)
      groupRecreated.push((await adding(run(consumer, { redis }))).groupRecreated)
      await poll(consumer, { redis })
    }

    expect([groupRecreated, calls]).toEqual([
      [true, true, true],
      ['a', 'b', 'c'],
    ])
  })

  it('after a failover to a replica that had stopped before the group was made', async () => {
    const scenario = await startScenario()
    const { raw, connect, publish } = scenario
    const { calls, handler } = noting()
    const consumer = billing(handler, ONLY_NEW)
    const failover = await startFailover(scenario)
    const redis = connect(failover.proxy.url)
    await publish('early')
    await failover.detach()
    await poll(consumer, { redis })
    await publish('late')
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    expect(calls).toEqual(['late'])

    failover.happen()
    await failover.replica.xadd('orders', '*', ...(await fieldsOf(raw, 'late')))
    const { groupRecreated } = await adding(run(consumer, { redis }))
    await poll(consumer, { redis })

    expect([groupRecreated, calls]).toEqual([true, ['late', 'early', 'late']])
  })

  it('after a restart from a snapshot that is older than the group', async () => {
    const scenario = await startScenario()
    const { redis, raw, publish } = scenario
    const { calls, handler } = noting()
    const consumer = billing(handler, ONLY_NEW)
    await publish('early')
    await raw.save()
    await poll(consumer, { redis })
    await publish('late')
    await poll(consumer, { redis })
    await restart(scenario, [redis])
    await publish('new')

    const { groupRecreated } = await adding(run(consumer, { redis }))
    await poll(consumer, { redis })

    expect([groupRecreated, calls]).toEqual([true, ['late', 'early', 'new']])
  })
})

/** A replica behind a proxy that leads to the primary until the failover. */
async function startFailover({ server, raw: primary }: Scenario) {
  await primary.config('SET', 'repl-diskless-sync-delay', '0')
  const replica = await startRedisServer({ args: ['--replicaof', server.host, String(server.port)] })
  const raw = new Redis(replica.url)
  const target = { host: server.host, port: server.port }
  const proxy = await startFaultProxy(target)
  onTestFinished(async () => {
    raw.disconnect()
    await proxy.close()
    await replica.stop()
  })
  return {
    proxy,
    replica: raw,
    /** Ends the replication once everything so far has arrived. */
    async detach() {
      await expect.poll(() => raw.info('replication'), { timeout: 10_000 }).toContain('master_link_status:up')
      // WAIT speaks of what its own client wrote
      await primary.set('last', 'before the replica was detached')
      await primary.wait(1, 10_000)
      await raw.replicaof('NO', 'ONE')
    },
    happen() {
      target.port = replica.port
      proxy.severAll()
    },
  }
}

async function fieldsOf(raw: Redis, orderId: string): Promise<string[]> {
  const entries = await raw.xrange('orders', '-', '+')
  return entries.find(([, fields]) => fields.at(-1) === JSON.stringify({ orderId }))?.[1] ?? []
}

describe('promise 8: a group that went back', () => {
  it('in a failover to a stale replica handles unreplicated entries again, and skips nothing', async () => {
    const scenario = await startScenario()
    const { connect, publish, deadLetters } = scenario
    const { calls, handler, state } = failing()
    const consumer = billing(handler, ONLY_NEW)
    const failover = await startFailover(scenario)
    const redis = connect(failover.proxy.url)
    await poll(consumer, { redis })
    await publish('bad', 'done')
    await poll(consumer, { redis })
    await publish('unread')
    await failover.detach()
    state.isFailing = false
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    expect(calls).toEqual(['bad', 'done', 'unread', 'bad'])

    failover.happen()
    calls.length = 0
    const polled = await adding(poll(consumer, { redis }))
    const claimed = await adding(claimOnce(consumer, { redis }))

    expect([counts(polled), counts(claimed)]).toEqual([
      { read: 1, acked: 1, batches: 1, drained: true },
      { claimed: 1, acked: 1, batches: 1, drained: true },
    ])
    expect([calls, await deadLetters()]).toEqual([['unread', 'bad'], []])
  })

  it('by XGROUP SETID delivers everything again, at most maxDeliveries times in its new life', async () => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const { calls, handler } = failing()
    const consumer = billing(handler, ONLY_NEW)
    await poll(consumer, { redis })
    await publish('done', 'bad')
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    expect(await pending()).toEqual([['bad', 'parked', 2]])
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    await publish('new')
    calls.length = 0

    const polled = await adding(poll(consumer, { redis }))
    for (let run = 0; run < 4; run++) await adding(claimOnce(consumer, { redis }))

    expect(counts(polled)).toMatchObject({ read: 3, acked: 2, retried: 1 })
    expect(calls).toEqual(['done', 'bad', 'new', 'bad', 'bad'])
    expect(await pending()).toEqual([])
    expect((await deadLetters()).map(({ head }) => [head.reason, head.deliveryCount])).toEqual([
      ['max-deliveries', '3'],
    ])
  })

  it('by XGROUP SETID to the start delivers even dead letters again, and skips nothing', async () => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const { calls, handler } = failing()
    const consumer = billing(handler, { ...ONLY_NEW, maxDeliveries: 2 })
    await poll(consumer, { redis })
    await publish('done', 'bad')
    await poll(consumer, { redis })
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    await adding(claimOnce(consumer, { redis }))
    await adding(poll(consumer, { redis }))
    await adding(claimOnce(consumer, { redis }))

    expect(calls).toEqual(['done', 'bad', 'bad', 'done', 'bad', 'bad'])
    expect([await pending(), (await deadLetters()).map(({ head }) => head.deliveryCount)]).toEqual([[], ['2', '2']])
  })

  it('by XGROUP SETID is not held up by what was due before', async () => {
    const { redis, raw, publish, age, pending } = await startScenario()
    const { calls, handler } = noting((_event, { deliveryCount }) => {
      if (calls.length === 1) throw new RetryAfterError(3_600_000)
      if (deliveryCount === 1) throw new Error('no')
    })
    const consumer = billing(handler, ONLY_NEW)
    await poll(consumer, { redis })
    await publish('a')
    await poll(consumer, { redis })
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    await poll(consumer, { redis })
    await age(60_000)
    await claimOnce(consumer, { redis })

    expect([calls, await pending(), await raw.exists(DUE)]).toEqual([['a', 'a', 'a'], [], 0])
  })
})

describe('promise 8: a group lost while handlers run', () => {
  const inTheMiddle: readonly {
    readonly how: string
    readonly keepsEntries: boolean
    lose(raw: Redis): Promise<unknown>
  }[] = [
    { how: 'XGROUP DESTROY', keepsEntries: true, lose: (raw) => raw.xgroup('DESTROY', 'orders', 'billing') },
    { how: 'DEL of the stream', keepsEntries: false, lose: (raw) => raw.del('orders') },
    { how: 'FLUSHALL', keepsEntries: false, lose: (raw) => raw.flushall() },
  ]
  const orders = names('o', 30)

  it.each(inTheMiddle)('by $how ends no entry: a claimer’s last deliveries', async ({ lose, keepsEntries }) => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const loseOnce = doOnce(() => lose(raw))
    let isClaiming = false
    const { calls, handler } = noting(async (event) => {
      if (isClaiming) await loseOnce()
      if (!isClaiming || isOdd(event)) throw new Error('no')
    })
    const consumer = billing(handler, { ...ONLY_NEW, concurrency: 4, maxDeliveries: 2 })
    await poll(consumer, { redis })
    await publish(...orders)
    await poll(consumer, { redis })
    isClaiming = true
    const report = await adding(claimOnce(consumer, { redis }))
    calls.length = 0
    await publish('new')
    await adding(poll(consumer, { redis }))

    expect([report.deadLettered, report.retried, await deadLetters()]).toEqual([0, 0, []])
    expect(calls).toEqual(keepsEntries ? [...orders, 'new'] : ['new'])
    expect((await pending()).map(([, , count]) => count)).toEqual(keepsEntries ? Array(15).fill(1) : [])
  })

  it.each(inTheMiddle)('by $how ends no entry: a poller’s last deliveries', async ({ lose, keepsEntries }) => {
    const { redis, raw, publish, pending, deadLetters } = await startScenario()
    const loseOnce = doOnce(() => lose(raw))
    const { calls, handler } = noting(async (event) => {
      const isFirst = calls.length <= 30
      await loseOnce()
      if (isFirst && isOdd(event)) throw new Error('no')
    })
    const consumer = billing(handler, { ...ONLY_NEW, maxDeliveries: 1, concurrency: 30 })
    await poll(consumer, { redis })
    await publish(...orders)
    const report = await adding(poll(consumer, { redis }))
    await publish('new')
    await adding(poll(consumer, { redis }))

    expect([report.unsettled, report.ackMissed, await deadLetters()]).toEqual([15, 15, []])
    expect(calls).toEqual(keepsEntries ? [...orders, ...orders, 'new'] : [...orders, 'new'])
    expect(await pending()).toEqual([])
  })
})

/** The first call does it, the others wait for that. */
function doOnce(work: () => Promise<unknown>): () => Promise<unknown> {
  let doing: Promise<unknown> | undefined
  return () => {
    doing ??= work()
    return doing
  }
}

function isOdd(event: unknown): boolean {
  return Number((event as { payload: { orderId: string } }).payload.orderId.slice(1)) % 2 === 1
}

describe('promise 8: twenty pollers at once', () => {
  it('on a lost group make it again once, and handle every entry once', async () => {
    const { server, redis, raw, connect, publish, pending } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler, { ...ONLY_NEW, maxPollers: 20, batchSize: 10 })
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    const orders = names('o', 300)
    await publish(...orders)
    const proxy = await startFaultProxy(server)
    // all of them have found the group missing before the first one has made it again
    proxy.latencyMs = 30
    await raw.config('RESETSTAT')

    const processes = Array.from({ length: 20 }, () => connect(proxy.url))
    const reports = await Promise.all(processes.map((redis) => adding(poll(consumer, { redis }))))
    const tries = Number(/cmdstat_xgroup(?:\|create)?:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1])
    await proxy.close()

    expect(tries).toBeGreaterThan(1)
    expect([
      reports.filter(({ groupRecreated }) => groupRecreated).length,
      reports.some(({ noFreeSlot }) => noFreeSlot),
    ]).toEqual([1, false])
    expect([calls.toSorted(), await pending()]).toEqual([orders.toSorted(), []])
  })
})

/** Requests that reach a server while something is done, as the server's own monitor shows them. */
async function requestsDuring(raw: Redis, work: () => Promise<unknown>): Promise<string[]> {
  const requests: string[] = []
  const over = Promise.withResolvers<void>()
  const stop = await startMonitor(raw, ([name = '', text], source) => {
    if (name.toLowerCase() === 'echo' && text === 'over') over.resolve()
    else if (source !== 'lua') requests.push(name.toLowerCase())
  })
  await work()
  await raw.echo('over')
  await over.promise
  stop()
  return requests
}

describe.each(PATHS)('promise 8: a group whose creation is refused, on the way of $path()', ({ path, run }) => {
  interface Refusal {
    readonly by: string
    readonly says: RegExp
    refuse(raw: Redis): Promise<unknown>
    allow(raw: Redis): Promise<unknown>
  }
  const refusals: readonly Refusal[] = [
    {
      by: 'the ACL',
      says: /group "billing" on stream "orders": .*(NOPERM|can't run this command|ACL failure in script)/,
      // before 7.0 a single subcommand cannot be taken away
      refuse: (raw) => raw.call('ACL', 'SETUSER', `orders-${path}er`, '-xgroup', '+xgroup|delconsumer'),
      allow: (raw) => raw.call('ACL', 'SETUSER', `orders-${path}er`, '+xgroup|create'),
    },
    {
      by: 'want of memory',
      says: /group "billing" on stream "orders": .*OOM/,
      refuse: (raw) => raw.config('SET', 'maxmemory', '1'),
      allow: (raw) => raw.config('SET', 'maxmemory', '0'),
    },
  ]

  it.each(refusals)('by $by ends in one clear error after a handful of commands', async ({ says, refuse, allow }) => {
    const { server, redis: admin, raw, connect, publish } = await startScenario()
    await createAclUsers(raw)
    const { calls, handler } = noting()
    const consumer = billing(handler, ONLY_NEW)
    const redis: Connection = connect(urlOf(server, `orders-${path}er`))
    await poll(consumer, { redis: admin })
    await run(consumer, { redis })
    await claimOnce(consumer, { redis: admin })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await publish('a')
    await refuse(raw)

    let error: unknown
    const requests = await requestsDuring(raw, async () => {
      error = await run(consumer, { redis }).catch((caught: unknown) => caught)
    })
    await allow(raw)

    const { code, message, failures, report } = error as InvocationFailedError
    expect([code, failures.length, message]).toEqual(['ERR_INVOCATION_FAILED', 1, expect.stringMatching(says)])
    expect(report).toMatchObject({ read: 0, claimed: 0, groupRecreated: false })
    expect(requests.length, requests.join(' ')).toBeLessThan(12)
    expect([calls, await raw.keys('*:slot:*')]).toEqual([[], []])

    expect((await adding(run(consumer, { redis }))).groupRecreated).toBe(true)
    await poll(consumer, { redis: admin })
    expect(calls).toEqual(['a'])
  })
})

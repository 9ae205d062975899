import { Redis as Upstash } from '@upstash/redis'
import { Redis } from 'ioredis'
import { type Consumer, type ConsumerOptions, defineConsumer, NonRetryableError, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { diagnose, type Finding, redriveDeadLetters } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createAclUsers, urlOf } from '../../infra/acl-users.ts'
import { publishAgo, quietSince } from '../../support/past.ts'
import { startRestServer } from '../../support/rest-server.ts'
import { billing, DLQ, names, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'
import { watchCommands } from '../../support/watch-commands.ts'

const DURABLE = { server: { args: ['--appendonly', 'yes', '--enable-debug-command', 'yes'] } }

/** A server on which nothing is wrong: a stream, a group that has read it all, nothing left over. */
async function healthy(options = DURABLE): Promise<Scenario> {
  const scenario = await startScenario(options)
  await scenario.publish('o-1', 'o-2')
  await poll(sound(), { redis: scenario.redis })
  return scenario
}

function sound(options: Partial<ConsumerOptions> = {}): Consumer {
  return billing(() => {}, options)
}

async function findings({ redis }: Scenario, consumers: Consumer | Consumer[] = sound(), options = {}) {
  return diagnose(consumers, { redis, functionTimeoutMs: 55_000, ...options })
}

const SHOWN = { error: 0, warning: 0, info: 1, unknown: 1 } satisfies Record<Finding['severity'], number>

/** What a check found, as `severity: message → fix`. */
function of(check: string, found: readonly Finding[]): string[] {
  return found
    .filter((finding) => finding.check === check)
    .map(({ severity, message, fix }) => `${severity}: ${message} → ${fix}`)
}

/** Without the flaws of the server's own release, which is whichever is here. */
function above(found: readonly Finding[]): readonly Finding[] {
  return found.filter(({ severity, check }) => SHOWN[severity] === 0 && check !== 'version')
}

describe('diagnose()', () => {
  test('finds nothing above info where all is well, and says of which server version it is', async () => {
    const found = await findings(await healthy())

    expect(above(found)).toEqual([])
    expect(found.filter(({ severity }) => severity === 'unknown')).toEqual([])
  })

  test('changes nothing, and asks the more consumers the same of the server once', async () => {
    const scenario = await healthy()
    const before = await scenario.raw.dump('orders')
    const watch = await watchCommands(scenario.server.url)
    await findings(scenario, [sound(), sound({ group: 'search' })])
    const sent = (await watch.seen()).map(([name]) => name)

    expect(sent.filter((name) => name === 'info')).toHaveLength(1)
    expect(sent.length).toBeLessThan(84)
    expect(new Set(sent)).toEqual(
      new Set(
        'info time evalsha eval xinfo memory pttl xpending exists hget hgetall get zcount zcard zrangebyscore'.split(
          ' ',
        ),
      ),
    )
    expect(await scenario.raw.dump('orders')).toEqual(before)
    expect(await scenario.raw.keys('*')).toHaveLength(2)
  })

  test.each<[string, unknown, object, RegExp]>([
    ['an unknown option', sound(), { fast: true }, /unknown option "fast"/],
    ['no connection', sound(), { redis: {} }, /redis must be a connection/],
    ['streams in memory', sound(), { redis: connectMemory() }, /redis must be a connection to a server/],
    ['nothing to inspect', [], {}, /at least one consumer/],
    ['what is no consumer', {}, {}, /must come from defineConsumer/],
    ['a timeout of 0', sound(), { functionTimeoutMs: 0 }, /functionTimeoutMs must be >= 1/],
  ])('refuses %s', async (_what, consumers, options, message) => {
    const redis = connectIoredis('redis://127.0.0.1:1')

    await expect(diagnose(consumers as Consumer, { redis, ...options })).rejects.toThrow(message)
  })

  test('fails where no reply comes, within timeoutMs', async () => {
    const { server, redis } = await startScenario()
    await diagnose(sound(), { redis })
    server.kill('SIGSTOP')
    onTestFinished(() => server.kill('SIGCONT'))

    await expect(diagnose(sound(), { redis, timeoutMs: 50 })).rejects.toMatchObject({ code: 'ERR_REDIS_CONNECTION' })
  })

  test('inspects the groups of a stream that nobody gave a consumer for', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd(DLQ, '*', 'a', 'b')
    const found = await diagnose([], { redis: scenario.redis, streams: ['orders'] })

    expect(above(found)).toMatchObject([{ check: 'dead-letters', stream: 'orders', group: 'billing' }])
  })
})

describe('timeouts', () => {
  test('a function that ends before a handler does is an error', async () => {
    const found = await findings(await healthy(), sound(), { functionTimeoutMs: 10_500 })

    expect(of('timeouts', found)).toEqual([
      "error: The function's timeout, 10500 ms, is below handlerTimeoutMs + reserveMs, 10000 + 1000 ms: nothing runs → " +
        "set the function's timeout to 11 s or more, or handlerTimeoutMs to at most 9500",
    ])
  })

  test('a function that ends before the longest handler of a route does is an error', async () => {
    const routes = [on(OrderPaid, () => {}, { handlerTimeoutMs: 30_000 })]
    const found = await findings(await healthy(), sound({ routes }), { functionTimeoutMs: 20_000 })

    expect(of('timeouts', found)).toEqual([
      'error: The function\'s timeout, 20000 ms, is below handlerTimeoutMs of "OrderPaid" + reserveMs, 30000 + 1000 ms: nothing runs → ' +
        'set the function\'s timeout to 31 s or more, or handlerTimeoutMs of "OrderPaid" to at most 19000',
    ])
  })

  test('handlers that may outlast minIdleMs are a finding', async () => {
    const found = await findings(await healthy(), sound({ minIdleMs: 5_000, allowLongHandlers: true }))

    expect(of('timeouts', found)).toEqual([
      expect.stringMatching(/^info: .*10000 ms.*5000 ms.* → set minIdleMs to 15000 or more/),
    ])
  })

  test.each<[string, number | undefined, Record<string, number>, RegExp[]]>([
    [
      'that runs on after it was given up overlaps with the retry',
      undefined,
      { OrderPaid: 70_000 },
      [
        /^warning: .* may run for 70000 ms and is waited for 10000 ms: .* → set handlerTimeoutMs to 70000 and minIdleMs to 75000/,
      ],
    ],
    [
      'that is given up before its time does, too',
      5_000,
      { OrderPaid: 6_000 },
      [/^warning: .* may run for 6000 ms and is waited for 5000 ms: .* or its timeout to at most 5 s/],
    ],
    [
      'whose timeout nobody gave is unknown',
      undefined,
      {},
      [/^unknown: .* → give it: --target-timeout OrderPaid=SECONDS/],
    ],
    ['that ends in time is fine', undefined, { OrderPaid: 10_000 }, []],
  ])('another function %s', async (_title, timeoutMs, targetTimeoutsMs, expected) => {
    const remote = billing(Object.assign(() => {}, { timeoutMs }))
    const found = await findings(await healthy(), remote, { targetTimeoutsMs })

    expect(of('timeouts', found)).toEqual(expected.map((pattern) => expect.stringMatching(pattern)))
  })
})

describe('the server', () => {
  test.each([
    ['allkeys-lru', '100mb', 'error: maxmemory-policy is "allkeys-lru": a full server may evict the stream'],
    ['volatile-lru', '100mb', 'warning: maxmemory-policy is "volatile-lru": a full server may evict leases'],
    ['allkeys-lru', '0', 'info: maxmemory-policy is "allkeys-lru"; nothing is evicted while maxmemory is 0'],
  ])('eviction by %s of %s is a finding', async (policy, maxmemory, said) => {
    const args = ['--appendonly', 'yes', '--maxmemory-policy', policy, '--maxmemory', maxmemory]
    const found = await findings(await healthy({ server: { args } }))

    expect(of('eviction', found)).toEqual([expect.stringContaining(said)])
    expect(of('eviction', found)[0]).toContain('CONFIG SET maxmemory-policy noeviction')
  })

  test('memory that is nearly full is a warning', async () => {
    const scenario = await healthy()
    const [, used] = /used_memory:(\d+)/.exec(await scenario.raw.info('memory')) ?? []
    await scenario.raw.config('SET', 'maxmemory', Math.round(Number(used) * 1.05))

    expect(of('memory', await findings(scenario))).toEqual([
      expect.stringMatching(/^warning: 9\d % of maxmemory are used: .* → trim the streams/),
    ])
  })

  test('two consumers of one group are found, as a poller refuses them', async () => {
    const scenario = await healthy()
    const other = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [on({ ...OrderPaid, type: 'OrderShipped' }, () => {})],
    })

    expect(of('same-group', await findings(scenario, [sound(), other]))).toEqual([
      'error: 2 consumers were given for this group, and each entry goes to whichever reads it: not all of them have a route for "OrderPaid", "OrderShipped", which is unrouted where one of the others reads it → ' +
        'give one consumer the routes of all, or each a group of its own',
    ])
    expect(of('same-group', await findings(scenario, [sound(), sound({ concurrency: 2 })]))).toEqual([
      expect.stringMatching(/^warning: 2 consumers were given for this group, .* settings are those of either →/),
    ])
    const one = sound()
    expect(of('same-group', await findings(scenario, [one, sound({ group: 'search' })]))).toEqual([])
    expect(of('same-group', await findings(scenario, one, { streams: ['orders'], group: 'billing' }))).toEqual([])
  })

  test('without an append-only file and replicas a restart loses what was written', async () => {
    const scenario = await healthy({ server: { args: [] } })
    const [before] = of('persistence', await findings(scenario))
    await scenario.raw.save()
    const [after] = of('persistence', await findings(scenario))

    expect(before).toMatch(
      /^warning: No append-only file and no replica, and no snapshot since the server started .* ago: .* → .*CONFIG SET appendonly yes/,
    )
    expect(after).toMatch(/^warning: No append-only file and no replica, the last snapshot .* old: a restart loses/)
  })

  test('with a replica a failover may lose the last writes; the replica itself takes no writes', async () => {
    const scenario = await healthy({ server: { args: [] } })
    const replica = await startScenario({
      server: { args: ['--replicaof', scenario.server.host, String(scenario.server.port)] },
    })
    await expect.poll(() => scenario.raw.info('replication')).toContain('connected_slaves:1')

    expect(of('persistence', await findings(scenario))).toEqual([
      expect.stringMatching(/^info: No append-only file; 1 replica: a failover may lose the last writes/),
    ])
    expect(of('role', await findings(replica))).toEqual([
      expect.stringMatching(/^error: The server is a replica: .*READONLY.* → connect to the primary's endpoint/),
    ])
  })

  test('in a cluster a prefix of the client breaks the hash slot', async () => {
    const scenario = await startScenario({ server: { args: ['--appendonly', 'yes', '--cluster-enabled', 'yes'] } })
    await scenario.raw.cluster('ADDSLOTSRANGE', 0, 16_383)
    await expect.poll(() => scenario.raw.cluster('INFO'), { timeout: 10_000 }).toContain('cluster_state:ok')
    const prefixed = (keyPrefix: string) => prefixing(scenario, keyPrefix)

    expect(of('cluster', await findings(scenario))).toEqual([])
    expect(of('cluster', await diagnose(sound(), { redis: prefixed('shop:') }))).toEqual([
      expect.stringMatching(
        /^error: .*prefix "shop:" puts "shop:orders" into another hash slot than "shop:{orders}":… → leave keyPrefix out/,
      ),
    ])
    expect(of('cluster', await diagnose(sound(), { redis: prefixed('{shop}:') }))).toEqual([])
  })
})

describe('the client', () => {
  test('one that prefixes keys is a warning', async () => {
    const found = await diagnose(sound(), { redis: prefixing(await healthy(), 'shop:') })

    expect(of('key-prefix', found)).toEqual([
      expect.stringMatching(/^warning: The client sends key "shop:orders" for "orders".* → leave keyPrefix out/),
    ])
  })

  test('one that parses values is an error', async () => {
    const scenario = await healthy()
    const redis = connectIoredis(() => parsing(new Redis(scenario.server.url, { lazyConnect: true })))
    onTestFinished(() => redis.close())

    expect(of('bytes', await diagnose(sound(), { redis }))).toEqual([
      expect.stringMatching(
        /^error: The client changes what the server answers.*: "42", "1.0", "true", "null".* → connect by connectIoredis/,
      ),
    ])
  })

  test('Upstash over REST is sound with any client, except with a parsing middleware', async () => {
    const { server } = await healthy()
    const { url, token, close } = await startRestServer({ redisUrl: server.url, token: 't' })
    onTestFinished(close)
    const client = () => new Upstash({ url, token, responseEncoding: false, automaticDeserialization: true })
    const middleware = () => {
      const redis = client()
      redis.use(async (request, next) => parsed(await next(request)) as never)
      return redis
    }

    expect(of('bytes', await diagnose(sound(), { redis: connectUpstash({ url, token }) }))).toEqual([])
    expect(of('bytes', await diagnose(sound(), { redis: connectUpstash(client) }))).toEqual([])
    expect(of('bytes', await diagnose(sound(), { redis: connectUpstash(middleware) }))).toEqual([
      expect.stringMatching(/^error: The client changes/),
    ])
  })
})

describe('the stream', () => {
  test('a key of another type is an error', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.raw.set('orders', 'no stream')

    expect(of('stream', await findings(scenario))).toEqual([
      'error: Key "orders" holds no stream → name another stream, or remove it: DEL orders',
    ])
  })

  test('a stream that is not there yet is a finding', async () => {
    expect(above(await findings(await startScenario(DURABLE)))).toEqual([])
    expect(of('stream', await findings(await startScenario(DURABLE)))).toEqual([
      expect.stringMatching(/^info: There is no stream "orders" yet → publish something/),
    ])
  })

  test('one that expires is an error', async () => {
    const scenario = await healthy()
    await scenario.raw.expire('orders', 3_700)

    expect(of('expiry', await findings(scenario))).toEqual([
      'error: The stream is gone in 1 h, with its groups and all that is pending → PERSIST orders',
    ])
  })

  test('ids ahead of the server’s clock are a warning', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd('orders', `${Date.now() + 7_300_000}-0`, 'a', 'b')

    expect(of('ids-ahead', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^warning: The ids are 2 h ahead of the server's clock: .* → .*ids of orders never go back/,
      ),
    ])
  })

  test('a group of nobody is a finding, with what it holds back', async () => {
    const scenario = await healthy()
    await scenario.raw.xgroup('CREATE', 'orders', 'old', '0')

    expect(of('other-groups', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^info: Group "old" belongs to none .* 0 entries pending, 2 entries not read.* → .*XGROUP DESTROY orders old/,
      ),
    ])
  })
})

describe('where a group starts', () => {
  test('one that was made in mid-stream by hand is a warning', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1', 'o-2')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '$')

    expect(of('group-start', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^warning: The group was made in mid-stream: of 2 entries those up to .* may never have been read.* → .*XGROUP SETID orders billing 0 /,
      ),
    ])
  })

  test('one that was made there as startAt says is a finding', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1', 'o-2')
    const atTheEnd = sound({ startAt: '$' })
    const before = await findings(scenario, atTheEnd)
    await poll(atTheEnd, { redis: scenario.redis })

    expect(of('group-start', before)).toEqual([
      expect.stringMatching(
        /^warning: There is no such group yet; .* at "\$", and what is before that of 2 entries is never read → set startAt to "0"/,
      ),
    ])
    expect(of('group-start', await findings(scenario, atTheEnd))).toEqual([
      expect.stringMatching(/^info: The group was made in mid-stream/),
    ])
  })

  test('one that is gone is a warning, with where it will go on', async () => {
    const scenario = await healthy()
    await scenario.raw.xgroup('DESTROY', 'orders', 'billing')

    expect(of('group-start', await findings(scenario))).toEqual([
      expect.stringMatching(/^warning: The group is gone; it had got to 0(-0)? → poll: it is made again there/),
    ])
  })

  test('a group that is not there yet is a finding', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1')

    expect(of('group-start', await findings(scenario))).toEqual([
      'info: There is no such group yet; the first poll makes it, before all of 1 entry → poll',
    ])
  })

  test('one whose keys belong to another stream is an error', async () => {
    const scenario = await healthy()

    expect(of('group-start', await findings(scenario, sound({ stream: '{orders}' })))).toEqual([
      expect.stringMatching(
        /^error: The keys of this group belong to stream "orders".* → rename the stream or the group/,
      ),
    ])
  })
})

describe('retention', () => {
  test('a group that starts at the end of a now empty stream has lost nothing', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1', 'o-2')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '$')
    await scenario.raw.xtrim('orders', 'MAXLEN', 0)

    expect(of('retention', await findings(scenario))).toEqual([])
  })

  test('entries that were trimmed before they were read are an error, with their number', async () => {
    const scenario = await healthy()
    await scenario.publish('o-3', 'o-4', 'o-5')
    await scenario.raw.xtrim('orders', 'MAXLEN', 1)

    expect(of('retention', await findings(scenario))).toEqual([
      'error: 2 entries were trimmed or deleted before the group read them: 4 are gone, 2 were read → raise maxLength or retentionMs of every publisher ' +
        'of the stream, or poll faster (scaleOut, pollers, concurrency, batchSize)',
    ])
  })

  test('what was trimmed after it was read is none of it', async () => {
    const scenario = await healthy()
    await scenario.publish('o-3')
    await scenario.raw.xtrim('orders', 'MAXLEN', 1)

    expect(of('retention', await findings(scenario))).toEqual([])
  })

  test('entries that were trimmed while pending are an error', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1', 'o-2')
    await poll(billing(fail), { redis: scenario.redis })
    await scenario.raw.xtrim('orders', 'MAXLEN', 1)

    expect(of('retention', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^error: 2 entries are pending, from .* on, and the stream begins at .*: .* is lost → raise maxLength/,
      ),
    ])
  })

  test('something not done near the end that is trimmed is a warning, with the rate', async () => {
    const scenario = await startScenario(DURABLE)
    await ticking(scenario, 200)
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
    await scenario.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 110, 'STREAMS', 'orders', '>')
    await scenario.raw.xtrim('orders', 'MAXLEN', 100)
    await scenario.raw.xack('orders', 'billing', ...names('', 105).map((n) => `${Number(n) + 1}000-0`))

    expect(of('retention', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^warning: The slowest entry, 106000-0, is 5 s from the end .*; it keeps 100 entries, .* at 1.01 a second → poll faster/,
      ),
    ])
  })
})

describe('polling', () => {
  const HOUR_MS = 3_600_000

  test('what waits for long, with nobody who reads, is an error', async () => {
    const scenario = await healthy()
    await publishAgo(scenario, 0, 'o-3')
    const early = await findings(scenario)
    await quietSince(scenario, 'poller-0', HOUR_MS)
    const fresh = await findings(scenario)
    await scenario.raw.del('orders')
    await publishAgo(scenario, HOUR_MS, 'o-4')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')

    expect([early, fresh].map((found) => of('polling', found))).toEqual([[], []])
    expect(of('polling', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^error: Nobody polls: what was published since \d+-0, (60 min|1 h) ago, is not read; no poller has read yet, and none runs → see that the poller is scheduled/,
      ),
    ])
  })

  test('a slot that is held, or a poller that reads, is somebody', async () => {
    const scenario = await startScenario(DURABLE)
    await publishAgo(scenario, HOUR_MS, 'o-1', 'o-2')
    await poll(sound({ batchSize: 1, mode: 'once' }), { redis: scenario.redis })
    const reading = await findings(scenario)
    await quietSince(scenario, 'poller-0', HOUR_MS)
    expect(of('polling', await findings(scenario))).toHaveLength(1)
    await scenario.raw.set('{orders}:billing:slot:poller-2', 'token')

    expect([reading, await findings(scenario)].map((found) => of('polling', found))).toEqual([[], []])
  })

  test('a group above maxPending is held, which is said instead', async () => {
    const scenario = await startScenario(DURABLE)
    await publishAgo(scenario, HOUR_MS, 'o-1', 'o-2', 'o-3', 'o-4')
    await poll(billing(fail, { batchSize: 1, mode: 'once' }), { redis: scenario.redis })
    await scenario.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 2, 'STREAMS', 'orders', '>')
    await quietSince(scenario, 'poller-0', HOUR_MS)
    const found = await findings(scenario, sound({ maxPending: 1 }))

    expect([of('polling', found), of('pending', found).length]).toEqual([[], 1])
  })
})

describe('claiming', () => {
  test('entries that are idle and due, with nobody who claims, are an error', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1')
    await poll(billing(fail), { redis: scenario.redis })
    const early = await findings(scenario)
    await scenario.age(400_000)

    expect(of('claiming', early)).toEqual([])
    expect(of('claiming', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^error: Nobody claims: 1 entry that was set aside is due, the first for 7 min → see that the claimer is scheduled/,
      ),
    ])
  })

  test('an entry that waits for its due time is left alone', async () => {
    const scenario = await startScenario(DURABLE)
    const [id = ''] = await scenario.publish('o-1')
    await poll(billing(fail), { redis: scenario.redis })
    await scenario.age(400_000)
    await scenario.raw.zadd('{orders}:billing:due', (Date.now() + 60_000) * 1_024, id)

    expect(of('claiming', await findings(scenario))).toEqual([])
  })

  test('an entry just due is no finding until a claimer had time to start it', async () => {
    const scenario = await startScenario(DURABLE)
    const [id = ''] = await scenario.publish('o-1')
    await poll(billing(fail), { redis: scenario.redis })
    await scenario.age(400_000)
    const dueAgo = async (ms: number) => {
      await scenario.raw.zadd('{orders}:billing:due', (Date.now() - ms) * 1_024, id)
      return of('claiming', await findings(scenario))
    }

    expect(await dueAgo(1_000)).toEqual([])
    expect(await dueAgo(301_000)).toEqual([expect.stringMatching(/^error: Nobody claims/)])
  })

  test('an entry that was just redriven is left alone', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1')
    const { redis } = scenario
    await poll(
      billing(() => Promise.reject(new NonRetryableError('no'))),
      { redis },
    )
    const { redriven } = await redriveDeadLetters(sound(), { redis, all: true })

    expect(redriven).toBe(1)
    expect(of('claiming', await findings(scenario))).toEqual([])
  })

  test('more pending entries than maxPending are a warning', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1', 'o-2', 'o-3')
    await poll(billing(fail), { redis: scenario.redis })
    const aside = await findings(scenario, sound({ maxPending: 2 }))
    await scenario.publish('o-4', 'o-5', 'o-6')
    await scenario.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'STREAMS', 'orders', '>')

    expect(of('pending', aside)).toEqual([])
    expect(of('pending', await findings(scenario, sound({ maxPending: 2 })))).toEqual([
      expect.stringMatching(
        /^warning: 3 entries are pending and not set aside, above maxPending, 2: .* → fix what fails/,
      ),
    ])
  })

  test('what a dead poller left behind is an error', async () => {
    const scenario = await startScenario(DURABLE)
    await scenario.publish('o-1')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
    await scenario.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'STREAMS', 'orders', '>')
    await scenario.age(400_000)

    expect(of('claiming', await findings(scenario))).toEqual([
      expect.stringMatching(/^error: Nobody claims: 1 of the 1 oldest .* of consumer "poller-0", for 7 min → see that/),
    ])
  })
})

describe('slots', () => {
  test('leases under names beyond maxPollers, and more pollers than slots, are warnings', async () => {
    const scenario = await healthy()
    await scenario.raw.set('{orders}:billing:slot:poller-5', 'token')

    expect(of('slots', await findings(scenario, sound(), { pollers: 6 }))).toEqual([
      'warning: 6 pollers are woken at once, and there are 4 slots → set maxPollers to 6',
      expect.stringMatching(
        /^warning: 1 lease is held under poller names beyond maxPollers, 4: .* → give every deployment/,
      ),
    ])
  })

  test('slots that are all taken are a finding, and so are the claimers’', async () => {
    const scenario = await healthy()
    for (const name of ['poller-0', 'claimer-0', 'claimer-1'])
      await scenario.raw.set(`{orders}:billing:slot:${name}`, 't')

    expect(of('slots', await findings(scenario, sound({ maxPollers: 1 })))).toEqual([
      expect.stringMatching(/^info: All of 1 slot are taken/),
      expect.stringMatching(/^info: All of 2 claimer slots are taken/),
    ])
  })

  test('64 slots are asked for as well', async () => {
    expect(above(await findings(await healthy(), sound({ maxPollers: 64 })))).toEqual([])
  })
})

describe('consumers', () => {
  test('another reader of the group is a warning', async () => {
    const scenario = await healthy()
    await scenario.raw.xgroup('CREATECONSUMER', 'orders', 'billing', 'laptop')

    expect(of('consumers', await findings(scenario))).toEqual([
      expect.stringMatching(
        /^warning: Something else reads as the same group, under "laptop".* → give it a group of its own/,
      ),
    ])
  })

  test('our own names are none', async () => {
    const scenario = await healthy()
    for (const name of ['parked', 'poller-9', 'claimer-0', 'poller-7f3b2c1e-0000-4000-8000-000000000000'])
      await scenario.raw.xgroup('CREATECONSUMER', 'orders', 'billing', name)

    expect(of('consumers', await findings(scenario))).toEqual([])
  })

  test.each([
    [1, false, /^info: 1 consumer name that nobody uses any more: "host-0" → XGROUP DELCONSUMER/],
    [
      25,
      false,
      /^warning: 25 consumer names that nobody uses any more: .* and 20 more; something makes a name for every process → /,
    ],
    [
      1,
      true,
      /^warning: 1 entry is pending under names that are dead: "host-0"; "host-0" last read 12 d ago → run the claimer/,
    ],
  ])('%i dead ones, holding entries: %s', async (count, isHolding, said) => {
    const scenario = await healthy()
    if (isHolding) await scenario.publish('o-3')
    for (const name of names('host-', count))
      await scenario.raw.xreadgroup('GROUP', 'billing', name, 'STREAMS', 'orders', '>').catch(() => {})
    for (const name of names('host-', count)) await scenario.raw.xgroup('CREATECONSUMER', 'orders', 'billing', name)
    await letTimePass(scenario)

    expect(of('consumers', await findings(scenario))).toEqual([expect.stringMatching(said)])
  })
})

describe('dead letters', () => {
  test('of a stream with a name of its own are listed by that name', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd('{orders}:broken', '*', 'a', 'b')
    const consumer = sound({ deadLetters: { stream: '{orders}:broken' } })

    expect(of('dead-letters', await findings(scenario, consumer))).toEqual([
      expect.stringContaining("millrace dlq ls --stream orders --group billing --dead-letters '{orders}:broken'; then"),
    ])
  })

  test('are a warning, with their age', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd(DLQ, Date.now() - 7_200_000, 'a', 'b')

    expect(of('dead-letters', await findings(scenario))).toEqual([
      'warning: 1 dead letter in "{orders}:billing:dlq", the oldest 2 h old, the newest 2 h old → millrace dlq ls --stream orders --group billing; ' +
        'then redrive or drop them',
    ])
  })

  test('under a name of their own are named in the fix', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd('{orders}:dead letters', '*', 'a', 'b')
    const elsewhere = sound({ deadLetters: { stream: '{orders}:dead letters' } })

    expect(of('dead-letters', await findings(scenario, elsewhere))[0]).toMatch(
      / → millrace dlq ls --stream orders --group billing --dead-letters '\{orders\}:dead letters'; then/,
    )
  })

  test('that cannot be written are an error', async () => {
    const scenario = await healthy()
    await scenario.raw.set(DLQ, 'no stream')

    expect(of('dead-letters', await findings(scenario))).toEqual([
      expect.stringMatching(/^error: Key "{orders}:billing:dlq" holds no stream: dead letters are refused → /),
    ])
  })
})

describe('what is refused', () => {
  test.each([
    ['orders-claimer', 'cluster eviction memory persistence role sizing version'],
    [
      'orders-poller',
      'aging claiming cluster consumers dead-group eviction index memory pending persistence polling role set-aside sizing unknown-types version',
    ],
  ])('is unknown to %s, with the missing right, and all else is known', async (user, expected) => {
    const scenario = await healthy()
    await createAclUsers(scenario.raw)
    const redis = scenario.connect(urlOf(scenario.server, user))
    const found = await diagnose(sound(), { redis })
    const untold = found.filter(({ severity }) => severity === 'unknown')

    expect(untold.map(({ check }) => check).sort()).toEqual(expected.split(' '))
    expect(of('eviction', found)).toEqual([
      expect.stringMatching(/^unknown: Not told: NOPERM .* → look with a user that has \+info$/),
    ])
    expect(above(found)).toEqual([])
  })

  test('is unknown for keys as well', async () => {
    const scenario = await healthy()
    await scenario.raw.call('ACL', 'SETUSER', 'other', 'on', '>p', '~else', '+@all')
    const redis = scenario.connect(`redis://other:p@${scenario.server.host}:${scenario.server.port}`)

    expect(of('stream', await diagnose(sound(), { redis }))).toEqual([
      expect.stringMatching(/^unknown: Not told: NOPERM .* → look with a user that has rights on the keys of "orders"/),
    ])
  })

  test('is unknown where the server has no such command', async () => {
    const scenario = await startScenario({ server: { args: ['--rename-command', 'INFO', ''] } })

    expect(of('version', await findings(scenario))).toEqual([
      expect.stringMatching(/^unknown: Not told: ERR unknown command .* → ask somewhere that answers INFO$/),
    ])
  })
})

async function fail(): Promise<void> {
  throw new Error('no')
}

/** Entries a second apart, from 1000-0 on. */
async function ticking({ raw }: Scenario, count: number): Promise<void> {
  const pipeline = raw.pipeline()
  for (let n = 1; n <= count; n++) pipeline.xadd('orders', `${n}000-0`, 'a', 'b')
  await pipeline.exec()
}

/** Has twelve days go by for the group's consumers: a dump says when they were last seen, in milliseconds, lowest byte first. */
async function letTimePass({ raw }: Scenario): Promise<void> {
  const dump = await raw.dumpBuffer('orders')
  for (let at = 0; at + 8 <= dump.length; at++) {
    const seen = Number(dump.readBigUInt64LE(at))
    if (Math.abs(Date.now() - seen) < 60_000) dump.writeBigUInt64LE(BigInt(seen - 12 * 86_400_000), at)
  }
  await raw.call('DEBUG', 'SET-SKIP-CHECKSUM-VALIDATION', 1)
  await raw.restore('orders', 0, dump, 'REPLACE')
}

function prefixing({ server }: Scenario, keyPrefix: string) {
  const redis = connectIoredis(server.url, { keyPrefix })
  onTestFinished(() => redis.close())
  return redis
}

/** A client whose replies are parsed as JSON where they can be. */
function parsing(client: Redis): Redis {
  const pipeline = client.pipeline.bind(client)
  client.pipeline = () => {
    const made = pipeline()
    const exec = made.exec.bind(made)
    made.exec = async () => (await exec())?.map(([error, reply]) => [error, parsed(reply)]) ?? null
    return made
  }
  return client
}

function parsed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(parsed)
  if (Buffer.isBuffer(value)) return parsed(value.toString())
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, parsed(member)]))
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

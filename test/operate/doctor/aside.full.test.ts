import { type ConsumerOptions, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { diagnose, type Finding, repairIndexes } from 'millrace/operate'
import { describe, expect, onTestFinished, test } from 'vitest'
import { millrace } from '../../cli/millrace.ts'
import { billing, names, type Scenario, startScenario } from '../../support/scenario.ts'
import { watchCommands } from '../../support/watch-commands.ts'

const DUE = '{orders}:billing:due'
const WAITING = '{orders}:billing:waiting'
const STATE = '{orders}:billing:state'
const DAY_MS = 86_400_000

const consumer = (options: Partial<ConsumerOptions> = {}) =>
  billing(() => Promise.reject(new Error('down')), { backoff: { firstMs: 60_000 }, ...options })

/** A group that has so many entries set aside, all of them for a time. */
async function withAside(count: number): Promise<Scenario & { readonly ids: string[] }> {
  const scenario = await startScenario()
  const ids = await scenario.publish(...names('o', count))
  await poll(consumer(), { redis: scenario.redis })
  return { ...scenario, ids }
}

async function found(
  check: string,
  { redis }: Pick<Scenario, 'redis'>,
  options: Partial<ConsumerOptions> = {},
): Promise<string[]> {
  const all = await diagnose(consumer(options), { redis })
  return all.filter((finding) => finding.check === check).map(asLine)
}

const asLine = ({ severity, message, fix }: Finding) => `${severity}: ${message} → ${fix}`

/** What a member of the index looks like for an entry of the first of January 2026, or of just now. */
const wait = (condition: string, seq: number, ms = 1_767_225_600_000) => `${condition}\nM${ms}A${seq}:0`

async function addWaits({ raw }: Pick<Scenario, 'raw'>, ...members: string[]): Promise<void> {
  await raw.zadd(WAITING, ...members.flatMap((member) => [0, member]))
}

describe('index', () => {
  test('is sound where everything that is set aside has a place', async () => {
    const scenario = await withAside(3)
    await scenario.raw.zadd(DUE, 9e15 + 1, '1-1') // was taken

    expect(await found('index', scenario)).toEqual([])
  })

  test('that lost places is an error, and the repair makes what has none due', async () => {
    const scenario = await withAside(1_203)
    const [kept = ''] = scenario.ids
    await scenario.raw.zremrangebyrank(DUE, 1, -1)
    const before = await found('index', scenario)
    const score = await scenario.raw.zscore(DUE, kept)

    expect(before).toEqual([
      expect.stringMatching(
        /^error: 1,203 entries are set aside, but the indexes have 1: what has no place there does not come back → the next claimer compares all of it and repairs, or run millrace doctor --repair$/,
      ),
    ])
    expect(await repairIndexes(consumer(), { redis: scenario.redis })).toEqual([
      { stream: 'orders', group: 'billing', repaired: 1_202 },
    ])
    expect(await found('index', scenario)).toEqual([])
    expect(await scenario.raw.zcount(DUE, '-inf', Date.now() * 1_024 + 1_023)).toBe(1_202)
    expect(await scenario.raw.zscore(DUE, kept)).toBe(score)
  })

  test('is repaired from its start where a claimer stopped on the way', async () => {
    const scenario = await withAside(5)
    await scenario.raw.hset(STATE, 'repairing', scenario.ids[3] as string)
    await scenario.raw.del(DUE)

    expect(await repairIndexes([], { redis: scenario.redis, streams: ['orders'] })).toMatchObject([{ repaired: 5 }])
    expect(await scenario.raw.zcard(DUE)).toBe(5)
  })

  test('keeps what waits for a condition where it is', async () => {
    const scenario = await withAside(3)
    const [first = '', second = '', third = ''] = scenario.ids
    await scenario.raw.del(DUE)
    const parts = first.split('-') as [string, string]
    await scenario.raw.zadd(WAITING, 0, `held Order\nM${parts[0]}A${parts[1]}:1`)

    expect(await repairIndexes(consumer(), { redis: scenario.redis })).toMatchObject([{ repaired: 2 }])
    expect(await scenario.raw.zrange(DUE, 0, '-1')).toEqual([second, third])
  })

  test('with more places than entries is an error until all was compared', async () => {
    const scenario = await withAside(2)
    await scenario.raw.xack('orders', 'billing', scenario.ids[0] as string)
    const before = await found('index', scenario)
    await repairIndexes(consumer(), { redis: scenario.redis })

    expect(before).toEqual([
      expect.stringMatching(/^error: The indexes have 2 places, but only 1 entry is set aside: /),
    ])
    expect(await found('index', scenario)).toEqual([])
  })

  test('of a group that was just made again is left alone', async () => {
    const scenario = await withAside(2)
    await scenario.raw.xgroup('DESTROY', 'orders', 'billing')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '$')
    await scenario.raw.hset(STATE, 'healing', '9-9')

    expect(await found('index', scenario)).toEqual([])
  })

  test('that is something else is an error that names the key', async () => {
    const scenario = await withAside(1)
    await scenario.raw.set(WAITING, 'text')

    expect(await found('index', scenario)).toEqual([
      'error: "{orders}:billing:waiting" is no sorted set: what is set aside has no place there → ' +
        "RENAME '{orders}:billing:waiting' to another name; then millrace doctor --repair --stream orders --group billing",
    ])
  })
})

describe('aging', () => {
  test('entries that an index refused are a warning that names the key', async () => {
    const scenario = await startScenario()
    await scenario.publish('o-1')
    await scenario.raw.set(DUE, 'text')
    await poll(consumer(), { redis: scenario.redis })

    expect(await scenario.pending()).toEqual([['o-1', 'aging', 1]])
    expect(await found('aging', scenario)).toEqual([
      expect.stringMatching(
        /^warning: 1 entry lies under "aging": .* as "\{orders\}:billing:due" is no sorted set; .* → RENAME '\{orders\}:billing:due'/,
      ),
    ])
  })

  test('entries that were refused for want of a right say which', async () => {
    const scenario = await startScenario()
    await scenario.publish('o-1')
    await scenario.raw.call('ACL', 'SETUSER', 'narrow', 'on', '>p', '~*', '+@all', '-zadd')
    const redis = connectIoredis(`redis://narrow:p@${scenario.server.host}:${scenario.server.port}`)
    onTestFinished(() => redis.close())
    await poll(consumer(), { redis })

    expect(await scenario.pending()).toEqual([['o-1', 'aging', 1]])
    expect(await found('aging', scenario)).toEqual([
      expect.stringMatching(
        /^warning: 1 entry lies .*, as a right is missing there; .* → give poller and claimer \+zadd on '\{orders\}:billing:due'/,
      ),
    ])
  })

  test('is a name of ours', async () => {
    const scenario = await withAside(1)
    await scenario.raw.xgroup('CREATECONSUMER', 'orders', 'billing', 'aging')

    expect(await found('consumers', scenario)).toEqual([])
  })
})

describe('set-aside', () => {
  test('more than maxParked is a warning that names what fills it', async () => {
    const scenario = await withAside(3)
    const byTime = await found('set-aside', scenario, { maxParked: 2 })
    await addWaits(scenario, wait('breaker A', 1), wait('breaker B', 2), wait('held C', 3), wait('breaker C', 4))
    await addWaits(scenario, wait('breaker D', 5))

    expect(byTime).toEqual([
      expect.stringMatching(
        /^warning: 3 entries are set aside, above maxParked, 2: pollers read nothing new; most of them, 3, wait for their time/,
      ),
    ])
    expect(await found('set-aside', scenario, { maxParked: 2 })).toEqual([
      expect.stringMatching(/most of them, 4, wait with reason "breaker" → end what they wait for/),
    ])
    expect(await found('set-aside', scenario, { maxParked: 3 })).toEqual([])
  })
})

describe('unknown-types', () => {
  test('what nobody knows for more than a day is a warning that names types and versions', async () => {
    const scenario = await withAside(1)
    const now = Date.now()
    await addWaits(
      scenario,
      wait('newer-version OrderPaid 3', 1),
      wait('newer-version OrderPaid 3', 2),
      wait('unrouted OrderLost', 1),
      wait('held OrderPaid', 1),
      wait('newer-version OrderPaid 4', 1, now - DAY_MS + 60_000),
    )

    expect(await found('unknown-types', scenario)).toEqual([
      expect.stringMatching(
        /^warning: 3 entries wait for a consumer that knows the type and version, the oldest published \d+ d ago: "OrderPaid 3 \(newer-version, 2\)", "OrderLost \(unrouted, 1\)" → deploy/,
      ),
    ])
  })
})

describe('millrace doctor --repair', () => {
  const run = async ({ server }: Scenario, ...args: string[]) => {
    const program = millrace(['doctor', '--repair', ...args, '--redis', server.url], {
      env: { PATH: process.env.PATH },
    })
    return { code: await program.exit, lines: program.lines }
  }

  test('says how many had no place, and that none has none', async () => {
    const scenario = await withAside(3)
    await scenario.raw.del(DUE)

    expect(await run(scenario, '--stream', 'orders', '--group', 'billing')).toEqual({
      code: 0,
      lines: ['orders/billing: 3 entries had no place in an index; due now'],
    })
    expect(await run(scenario, '--stream', 'orders')).toEqual({
      code: 0,
      lines: ['orders/billing: nothing had no place in an index'],
    })
    const { lines } = await run(scenario, '--stream', 'orders', '--json')
    expect(JSON.parse(lines.join('\n'))).toEqual([{ stream: 'orders', group: 'billing', repaired: 0 }])
  })

  test('touches nothing of a stream without anything set aside', async () => {
    const scenario = await startScenario()
    await scenario.raw.xgroup('CREATE', 'orders', 'search', '0', 'MKSTREAM')
    const watch = await watchCommands(scenario.server.url)

    expect((await run(scenario, '--stream', 'orders')).lines).toEqual(['No group has anything set aside'])
    expect((await watch.seen()).some(([name]) => name?.startsWith('eval'))).toBe(false)
  })
})

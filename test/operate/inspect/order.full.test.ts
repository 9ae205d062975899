import type { Consumer, ConsumerOptions, EventHandler } from 'millrace'
import { circuitBreaker, createPublisher, NonRetryableError, orderedBy, poll } from 'millrace'
import { connect } from 'millrace/connect'
import type { GroupInspection } from 'millrace/operate'
import { inspectStreams, pause, redriveDeadLetters } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import { millrace } from '../../cli/millrace.ts'
import { claimOnce } from '../../support/claim-once.ts'
import { startRestServer } from '../../support/rest-server.ts'
import { billing, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'
import { watchCommands } from '../../support/watch-commands.ts'

const order = orderedBy(({ aggregateId }) => aggregateId)
const fails = () => Promise.reject(new Error('mail is down'))
const [LANES, LANE_OF, WAITING] = ['lanes', 'lane-of', 'waiting'].map((name) => `{orders}:billing:${name}`) as [
  string,
  string,
  string,
]

function ordered(handler: EventHandler<never>, options: Partial<ConsumerOptions> = {}): Consumer {
  return billing(handler, { use: [order], mode: 'once', backoff: { firstMs: 60_000 }, ...options })
}

/** An event for each key, in turn; answers their entry ids. */
async function publish({ redis }: Scenario, ...keys: string[]): Promise<string[]> {
  const events = keys.map((aggregateId) => [OrderPaid, { orderId: aggregateId }, { aggregateId }] as const)
  return (await createPublisher({ stream: 'orders', redis }).publishMany(events)).map(({ entryId }) => entryId)
}

async function inspected({ redis }: Pick<Scenario, 'redis'>, consumer?: Consumer): Promise<GroupInspection> {
  const { streams } = await inspectStreams({ redis, streams: ['orders'], ...(consumer && { consumers: [consumer] }) })
  return streams[0]?.groups[0] as GroupInspection
}

async function firstOf(scenario: Scenario, consumer?: Consumer) {
  return (await inspected(scenario, consumer)).order?.longest?.[0]?.first
}

async function printed({ server }: Scenario, ...args: string[]): Promise<string[]> {
  const run = millrace(['status', ...args, '--redis', server.url], { env: { PATH: process.env.PATH } })
  await run.exit
  return run.lines.map((line) => line.replaceAll(/\d+-\d+/g, 'ID').replaceAll(/\b\d+[dhms]( \d+[dhms])?|<1s/g, 'AGE'))
}

test('inspectStreams() names the keys that wait longest, and what they wait behind', async () => {
  const scenario = await startScenario()
  const ids = await publish(scenario, 'a', 'b', 'a', 'alone', 'a', 'b')
  await poll(ordered(fails), { redis: scenario.redis })

  const { parked, order: seen, aside, oldestPending, unknown } = await inspected(scenario)

  expect(unknown).toEqual({})
  expect([parked, aside?.byTime?.entries, aside?.byCondition]).toEqual([6, 3, { entries: 0, conditions: [] }])
  const age = expect.any(Number)
  const about = { state: 'time', deliveryCount: 1, dueInMs: age, error: 'Error: mail is down' }
  const first = { ageMs: age, eventType: 'OrderPaid', ...about }
  expect(seen).toEqual({
    waiting: 3,
    suspects: 0,
    unplaced: 0,
    lanes: 3,
    isSample: false,
    longest: [
      { key: 'a', waiting: 2, oldestId: ids[2], ageMs: age, first: { id: ids[0], ...first } },
      { key: 'b', waiting: 1, oldestId: ids[5], ageMs: age, first: { id: ids[1], ...first } },
    ],
  })
  expect(seen?.longest?.[0]?.first.dueInMs).toSatisfy((ms: number) => ms > 0 && ms <= 60_000)
  expect(oldestPending?.inOrder).toEqual({ key: 'a', isBehind: false })
})

test('inspectStreams() says nothing of order where none is kept, and asks for one number more', async () => {
  const scenario = await startScenario()
  await publish(scenario, 'a', 'a')
  await poll(ordered(fails, { use: [] }), { redis: scenario.redis })
  const watch = await watchCommands(scenario.server.url)

  const group = await inspected(scenario)

  expect([group.order, group.oldestPending?.inOrder]).toEqual([undefined, undefined])
  const beyond = (await watch.seen()).filter(([name = '']) => /^(h(len|mget|scan)|zlexcount)/.test(name))
  expect(beyond).toEqual([['zlexcount', WAITING, '[orderedBy ', '(orderedBy!']])
})

test('inspectStreams() says that the first of a key is paused', async () => {
  const scenario = await startScenario()
  const { redis } = scenario
  await publish(scenario, 'a', 'a')
  await poll(ordered(fails, { backoff: { firstMs: 0 } }), { redis })
  await pause(ordered(fails), { redis, type: 'OrderPaid' })
  await claimOnce(ordered(fails), { redis })

  expect(await firstOf(scenario)).toMatchObject({
    state: 'condition',
    isPaused: true,
    condition: { reason: 'paused', what: 'OrderPaid' },
  })
})

test('inspectStreams() names the circuit breaker that a key waits for, and its error', async () => {
  const scenario = await startScenario()
  const { redis } = scenario
  await publish(scenario, 'a', 'a')
  const breaker = circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })
  await poll(ordered(fails, { use: [breaker, order] }), { redis })

  expect(await firstOf(scenario)).toMatchObject({
    state: 'condition',
    condition: { reason: 'circuitBreaker', what: 'OrderPaid' },
    error: 'Error: mail is down',
  })
})

test('inspectStreams() shows no error that is not kept, or what a circuit breaker saw', async () => {
  const scenario = await startScenario()
  const { redis, raw } = scenario
  await publish(scenario, 'a', 'a')
  const breaker = circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })
  await poll(ordered(fails, { use: [breaker, order] }), { redis })
  const forget = async () => {
    const id = (await firstOf(scenario))?.id
    expect(await raw.hdel('{orders}:billing:state', `error:${id}`)).toBe(1)
  }

  await forget()
  expect(await firstOf(scenario)).toMatchObject({ state: 'condition', error: 'Error' })
  await raw.flushall()
  await publish(scenario, 'a', 'a')
  // the first one makes the group again
  for (let run = 0; run < 2; run++) await poll(ordered(fails), { redis })
  await forget()
  expect(await firstOf(scenario)).not.toHaveProperty('error')
  await raw.hset('{orders}:billing:state', `error:${(await firstOf(scenario))?.id}`, 'x\u001b[2J'.repeat(9_000))
  expect((await firstOf(scenario))?.error).toMatch(/^x \[2Jx .{190,194}…$/)
})

test('inspectStreams() says whose process died, and who has one in hand', async () => {
  const scenario = await startScenario()
  const { redis, raw } = scenario
  await publish(scenario, 'a', 'a', 'b', 'b')
  await poll(
    ordered(() => {}, { batchSize: 1 }),
    { redis, remainingMs: 1 },
  ).catch(() => {})
  await raw.xgroup('CREATE', 'orders', 'billing', '0').catch(() => {})
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 4, 'STREAMS', 'orders', '>')
  await poll(
    ordered(() => {}),
    { redis },
  )
  const dead = await inspected(scenario)
  const held = dead.order?.longest?.[1]?.first.id as string
  await raw.xclaim('orders', 'billing', 'claimer-0', 0, held)
  await raw.zrem(WAITING, `orderedBy !\n${held}`)

  expect(dead.order).toMatchObject({ waiting: 2, suspects: 2 })
  expect(dead.order?.longest?.map(({ first }) => first.state)).toEqual(['suspect', 'suspect'])
  const { order: later } = await inspected(scenario)
  expect(later?.longest?.map(({ first: { state, consumerName } }) => [state, consumerName])).toEqual([
    ['suspect', undefined],
    ['in-hand', 'claimer-0'],
  ])
})

test('inspectStreams() counts what was redriven, and waits for the next poller to look up its key', async () => {
  const scenario = await startScenario()
  const { redis } = scenario
  await publish(scenario, 'a', 'a', 'a')
  await poll(ordered(fails, { maxDeliveries: 1 }), { redis })
  await redriveDeadLetters(ordered(fails), { redis, all: true })
  await claimOnce(ordered(fails), { redis })

  const { order: seen } = await inspected(scenario)

  expect(seen).toMatchObject({ waiting: 0, unplaced: 3, unplacedAgeMs: expect.any(Number) })
  expect(await printed(scenario, '--details')).toContainEqual(
    expect.stringMatching(/redriven, for the next poller {2}3, the oldest published AGE ago$/),
  )
})

test('inspectStreams() says where an entry has another key by now', async () => {
  const scenario = await startScenario()
  await publish(scenario, 'a', 'a')
  await poll(ordered(fails), { redis: scenario.redis })
  const renamed = ordered(fails, { use: [orderedBy(({ aggregateId }) => `${aggregateId}2`)] })
  const unordered = ordered(fails, { use: [orderedBy(() => undefined)] })

  expect(await firstOf(scenario, ordered(fails))).not.toHaveProperty('keyNow')
  expect((await firstOf(scenario, renamed))?.keyNow).toBe('a2')
  expect((await firstOf(scenario, unordered))?.keyNow).toBe('')
})

test('millrace status shows keys as text, cut, and with nothing that a terminal would do', async () => {
  const scenario = await startScenario()
  const [long, strange] = ['k'.repeat(700), '"\u001b[31%0A\n']
  await publish(scenario, long, strange, long, strange)
  await poll(ordered(fails), { redis: scenario.redis })

  const { order: seen } = await inspected(scenario)
  expect(seen?.longest?.map(({ key, isCut }) => [key, isCut])).toEqual([
    ['k'.repeat(179), true],
    [strange, undefined],
  ])
  const lines = await printed(scenario, '--details')
  const behind =
    '1 waits, the oldest published AGE ago, behind ID OrderPaid, delivery 1, due in AGE, last error Error: mail is down'
  expect(
    lines
      .slice(
        lines.findIndex((line) => line.includes('behind another')),
        -1,
      )
      .slice(0, 3),
  ).toEqual([
    '    behind another of their key  2, of the longest:',
    `      "${'k'.repeat(60)}… (119 more)"  ${behind}`,
    `      "\\"\\u{1b}[31%0A\\u{a}"  ${behind}`,
  ])
})

test.each([
  ['begins with others', `${'k'.repeat(178)}😀😀`],
  ['has nothing else', '😀'.repeat(200)],
])('inspectStreams() knows a long key again that is cut within an emoji, and %s', async (_what, long) => {
  const scenario = await startScenario()
  await publish(scenario, long, long)
  await poll(ordered(fails), { redis: scenario.redis })

  const { order: seen } = await inspected(scenario, ordered(fails))
  const [{ key, isCut, first } = { key: '' }] = seen?.longest ?? []

  expect([key.length, key.slice(0, -1), isCut]).toEqual([179, long.slice(0, 178), true])
  expect(first).not.toHaveProperty('keyNow')
})

test('millrace status notes the key that has waited long', async () => {
  const scenario = await startScenario()
  const { raw, redis } = scenario
  const at = Date.now() - 3_600_000
  for (let n = 0; n < 3; n++)
    await raw.xadd('orders', `${at}-${n}`, 'eventType', 'OrderPaid', 'aggregateId', 'a', 'payload', '{"orderId":"a"}')
  await poll(ordered(fails), { redis })

  expect(await printed(scenario)).toContainEqual(
    '  ! billing: "a"  2 wait, the oldest published AGE ago, behind ID OrderPaid, delivery 1, due in AGE, last error Error: mail is down',
  )
})

test('inspectStreams() says how much waits where the server shows no keys', async () => {
  const scenario = await startScenario()
  const { raw, server } = scenario
  await publish(scenario, 'a', 'a')
  await poll(ordered(fails), { redis: scenario.redis })
  await raw.call('ACL', 'SETUSER', 'console', 'on', '>secret', '~*', '+@all', '-hmget')
  const redis = scenario.connect(`redis://console:secret@${server.host}:${server.port}`)

  const { order: seen, unknown } = await inspected({ redis })

  expect(seen).toEqual({ waiting: 1, suspects: 0, unplaced: 0 })
  expect(unknown).toEqual({ order: expect.stringMatching(/^NOPERM /) })
})

/** Lanes as failures make them: a first entry that waits for its time, and what waits behind it. */
const MAKE_LANES = `
local lanes, behind, from = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function set(id, key, score, member)
  redis.call('XADD', 'orders', id, 'eventType', 'OrderPaid')
  redis.call('XREADGROUP', 'GROUP', 'billing', 'parked', 'COUNT', 1, 'STREAMS', 'orders', '>')
  redis.call('ZADD', key, score, member)
end
for n = 1, lanes do
  local ms = from + 10 * n
  local lane = 'orderedBy =k' .. ms
  set(ms .. '-0', '{orders}:billing:due', string.format('%.0f', (ms + 6e7) * 1024 + 1), ms .. '-0')
  redis.call('HSET', KEYS[1], lane, ms .. '-0')
  redis.call('HSET', KEYS[2], ms .. '-0', lane)
  for b = 1, behind do
    local digits = string.format('%d', b)
    set(ms .. '-' .. b, KEYS[3], 0, lane .. '\\n' .. string.char(64 + #tostring(ms)) .. ms .. string.char(64 + #digits) .. digits .. ':0')
    redis.call('HSET', KEYS[2], ms .. '-' .. b, lane)
  end
end`

async function makeLanes({ raw }: Scenario, lanes: number, behind: number, from: number): Promise<void> {
  await raw.call('XGROUP', 'CREATE', 'orders', 'billing', '0', 'MKSTREAM').catch(() => {})
  await raw.eval(MAKE_LANES, 3, LANES, LANE_OF, WAITING, lanes, behind, from)
}

test('inspectStreams() asks no more of 100,000 lanes than of a few', async () => {
  const scenario = await startScenario()
  await makeLanes(scenario, 100_000, 1, 1_000_000)
  const watch = await watchCommands(scenario.server.url)

  const { order: seen, parked, unknown } = await inspected(scenario)

  expect([parked, seen?.waiting, seen?.lanes, unknown]).toEqual([200_000, 100_000, 100_000, {}])
  expect(seen?.longest?.map(({ key }) => key)).toEqual([1, 2, 3, 4, 5].map((n) => `k${1_000_000 + 10 * n}`))
  const sent = await watch.sent()
  expect(sent.length).toBeLessThan(70)
  expect(sent.filter(([name]) => name === 'hscan' || name === 'zrangebylex').length).toBeLessThan(5)
})

test('inspectStreams() finds other keys behind one that has thousands', async () => {
  const scenario = await startScenario()
  await makeLanes(scenario, 1, 5_000, 1_000_000)
  await makeLanes(scenario, 3, 0, 2_000_000)
  await makeLanes(scenario, 12, 2, 3_000_000)
  const watch = await watchCommands(scenario.server.url)

  const { order: seen } = await inspected(scenario)

  expect(seen?.longest?.map(({ key, waiting }) => [key, waiting])).toEqual([
    ['k1000010', 5_000],
    ...[1, 2, 3, 4].map((n) => [`k${3_000_000 + 10 * n}`, 2]),
  ])
  expect(seen?.isSample).toBe(false)
  expect((await watch.sent()).length).toBeLessThan(100)
})

test('inspectStreams() says where others may have waited longer', async () => {
  const scenario = await startScenario()
  await makeLanes(scenario, 1, 2_000, 1_000_000)
  await makeLanes(scenario, 40_000, 1, 2_000_000)

  const { order: seen } = await inspected(scenario)

  expect([seen?.isSample, seen?.longest?.length, seen?.longest?.[0]?.key]).toEqual([true, 5, 'k1000010'])
})

test('inspectStreams() says of a lane whose first entry is done that it is pending no more', async () => {
  const scenario = await startScenario()
  const { raw, redis } = scenario
  const [first = ''] = await publish(scenario, 'a', 'a')
  await poll(ordered(fails), { redis })
  await raw.xack('orders', 'billing', first)

  expect(await firstOf(scenario)).toMatchObject({ id: first, eventType: 'OrderPaid', state: 'not-pending' })
  await raw.hset(LANES, 'orderedBy =a', 'anything')
  expect(await firstOf(scenario)).toEqual({ id: '0-0', state: 'not-pending' })
})

test('inspectStreams() names keys over REST as it does over TCP', async () => {
  const scenario = await startScenario()
  await publish(scenario, 'a', 'b', 'a', 'b')
  await poll(ordered(fails), { redis: scenario.redis })
  const rest = await startRestServer({ redisUrl: scenario.server.url, token: 'secret' })
  onTestFinished(() => rest.close())
  const redis = connect(rest.url.replace('://', '://:secret@'))

  const named = async (given: Pick<Scenario, 'redis'>) =>
    (await inspected(given)).order?.longest?.map(({ key, waiting, first: { id, state, error } }) => [
      key,
      waiting,
      id,
      state,
      error,
    ])
  expect(await named({ redis })).toEqual(await named(scenario))
  expect(await named({ redis })).toHaveLength(2)
  await redis.close()
})

test('inspectStreams() says that a key waits for a dead letter', async () => {
  const scenario = await startScenario()
  const [first] = await publish(scenario, 'a', 'a')
  const hopeless = () => Promise.reject(new NonRetryableError('never'))
  const use = [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter: 'wait' })]
  await poll(ordered(hopeless, { use }), { redis: scenario.redis })

  expect(await firstOf(scenario)).toMatchObject({ id: first, state: 'dead-letter' })
  expect((await printed(scenario, '--details')).join('\n')).toContain('a dead letter, to be redriven or dropped')
})

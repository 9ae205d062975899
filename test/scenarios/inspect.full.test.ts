import { defineConsumer, NonRetryableError, on, poll } from 'millrace'
import type { Inspection } from 'millrace/operate'
import { inspectStreams } from 'millrace/operate'
import { connectUpstash } from 'millrace/upstash'
import { expect, onTestFinished, test } from 'vitest'
import { startRestServer } from '../support/rest-server.ts'
import { billing, DLQ, names, OrderPaid, type Scenario, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'
import { watchCommands } from '../support/watch-commands.ts'

const AGE = expect.any(Number)

/** All that the server keeps of stream and group: nobody may change it by looking. */
async function everything({ raw }: Scenario) {
  const keys = (await raw.keys('*')).sort()
  const pending = (await raw.xpending('orders', 'billing', '-', '+', 100_000)) as [string, string, number, number][]
  const consumers = (await raw.xinfo('CONSUMERS', 'orders', 'billing')) as (string | number)[][]
  return {
    keys,
    groups: await raw.xinfo('GROUPS', 'orders'),
    delivered: pending.map(([id, owner, , count]) => [id, owner, count]),
    // when they were delivered, which looking would move
    deliveredAt: pending.map(([, , idleMs]) => idleMs),
    consumers: consumers.map((info) => [info[info.indexOf('name') + 1], info[info.indexOf('pending') + 1]]),
    idle: consumers.map((info) => Number(info[info.indexOf('idle') + 1])),
  }
}

async function theGroup(inspection: Promise<Inspection>, name = 'billing') {
  const { streams } = await inspection
  const group = streams[0]?.groups.find(({ group }) => group === name)
  if (!group) throw new Error('no such group')
  return group
}

test('a group is shown as pollers and claimers left it', async () => {
  const { redis, raw, publish } = await startScenario()
  const consumer = billing((event) => {
    const { orderId } = (event as { payload: { orderId: string } }).payload
    if (orderId === 'hopeless') throw new NonRetryableError('hopeless')
    if (orderId.startsWith('fails')) throw new Error('down')
  })
  const ids = await publish('fails-0', 'hopeless', 'fine', 'fails-1')
  await poll(consumer, { redis })
  await publish('later-0', 'later-1')

  const inspection = await inspectStreams({ redis, streams: ['orders'] })
  const info = (await raw.xinfo('CONSUMERS', 'orders', 'billing')) as (string | number)[][]
  expect(inspection).toEqual({
    at: AGE,
    clock: 'server',
    incomplete: undefined,
    streams: [
      {
        stream: 'orders',
        state: 'stream',
        length: await raw.xlen('orders'),
        entriesAdded: 6,
        firstId: ids[0],
        firstAgeMs: inspection.at - Number(ids[0]?.split('-')[0]),
        lastId: expect.stringMatching(/^\d+-\d+$/),
        lastAgeMs: AGE,
        memoryBytes: AGE,
        groups: [
          {
            group: 'billing',
            lastDeliveredId: ids[3],
            lag: 2,
            undeliveredAgeMs: AGE,
            pending: 2,
            oldestPending: {
              id: ids[0],
              consumerName: 'parked',
              ageMs: inspection.at - Number(ids[0]?.split('-')[0]),
              idleMs: AGE,
              deliveryCount: 1,
              isTrimmed: false,
            },
            deliveries: { sampled: 2, counts: { 1: 2 } },
            inHand: 0,
            parked: 2,
            aside: {
              byTime: {
                entries: 2,
                due: 0,
                handedBack: 0,
                nextDueInMs: AGE,
                sample: { sampled: 2, atNoDelivery: 0 },
                running: 0,
              },
              byCondition: { entries: 0, conditions: [] },
            },
            flow: { breakers: [], limits: [] },
            consumerCount: info.length,
            consumers: [
              { name: 'parked', pending: 2, idleMs: AGE },
              { name: 'poller-0', pending: 0, idleMs: AGE, isLeased: false },
            ],
            deadLetters: { stream: DLQ, length: await raw.xlen(DLQ), trimmed: 0, oldestAgeMs: AGE, newestAgeMs: AGE },
            sinceLastSuccessMs: AGE,
            isOurs: true,
            unknown: {},
          },
        ],
        missingGroups: [],
        doneBeforeId: ids[0],
        unknown: {},
      },
    ],
  })
})

test('may be trimmed up to the first entry that any group has not handled yet', async () => {
  const { redis, raw, publish } = await startScenario()
  const ids = await publish(...names('o', 6))
  const doneBefore = async (group?: string) =>
    (await inspectStreams({ redis, streams: ['orders'], ...(group === undefined ? {} : { group }) })).streams[0]
      ?.doneBeforeId
  const none = await doneBefore()
  await poll(
    billing((_event, { entryId }) => (entryId === ids[3] ? Promise.reject(new Error('down')) : undefined)),
    { redis },
  )
  const pending = await doneBefore()
  await raw.xgroup('CREATE', 'orders', 'search', ids[1] as string)
  const behind = await doneBefore()
  const unknown = await doneBefore('billing')
  await raw.xgroup('DESTROY', 'orders', 'search')
  await raw.xack('orders', 'billing', ids[3] as string)
  const all = (await doneBefore()) ?? ''

  expect([none, pending, unknown]).toEqual([undefined, ids[3], undefined])
  expect((await raw.xrange('orders', behind ?? '', '+'))[0]?.[0]).toBe(ids[2])
  expect(await raw.xrange('orders', all, '+')).toEqual([])
  expect(await raw.xtrim('orders', 'MINID', all)).toBe(6)
})

test('looking changes nothing, and costs the same whatever is pending', async () => {
  const scenario = await startScenario()
  const { redis, raw, server, publish } = scenario
  await publish(...names('o', 30))
  await raw.xgroup('CREATE', 'orders', 'billing', '0')
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 3, 'STREAMS', 'orders', '>')
  const watch = await watchCommands(server.url)
  const look = async () => {
    const from = (await watch.seen()).length
    const inspection = await inspectStreams({ redis })
    return {
      inspection,
      commands: (await watch.seen()).slice(from).map((words) => words.join(' ').replace(/\d+-\d+|\d{15,}/, 'ID')),
    }
  }
  const few = await look()

  for (let n = 0; n < 10; n++) await publish(...names(`more-${n}-`, 1_000))
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 5_000, 'STREAMS', 'orders', '>')
  const before = await everything(scenario)
  const many = await look()
  const after = await everything(scenario)

  expect(many.commands).toEqual(few.commands)
  expect(many.commands.filter((command) => /^x(range|pending)/.test(command)).sort()).toEqual([
    'xpending orders billing - + 100',
    'xrange orders (ID + COUNT 10',
  ])
  const [seen] = many.inspection.streams[0]?.groups ?? []
  expect(seen).toMatchObject({ pending: 5_003, lag: 5_027, deliveries: { sampled: 100 } })
  const { deliveredAt, idle, ...same } = before
  expect(after).toMatchObject(same)
  expect(after.deliveredAt.every((idleMs, n) => idleMs >= (deliveredAt[n] ?? 0))).toBe(true)
  expect(after.idle.every((idleMs, n) => idleMs >= (idle[n] ?? 0))).toBe(true)
})

test('an entry of a killed poller is pending under a slot that is still held', async () => {
  const { redis, server, publish } = await startScenario()
  const [id] = await publish('o-0')
  const victim = startVictim({ url: server.url, action: 'poll', options: {}, poison: 'o-0', death: 'hang' })
  await victim.poisoned
  await victim.kill()

  expect(await theGroup(inspectStreams({ redis, streams: ['orders'] }))).toMatchObject({
    pending: 1,
    parked: 0,
    oldestPending: { id, consumerName: 'poller-0', deliveryCount: 1 },
    consumers: [{ name: 'poller-0', pending: 1, isLeased: true, leaseMs: AGE }],
  })
})

/** What a second client counts beyond a group. */
async function countLag({ raw }: Scenario, name = 'billing'): Promise<number> {
  const groups = (await raw.xinfo('GROUPS', 'orders')) as (string | number)[][]
  const info = groups.find((fields) => fields.includes(name)) ?? []
  return (await raw.xrange('orders', `(${info[info.indexOf('last-delivered-id') + 1]}`, '+')).length
}

const read = ({ raw }: Scenario, count: number) =>
  raw.xreadgroup('GROUP', 'billing', 'c', 'COUNT', count, 'STREAMS', 'orders', '>')

/** States of a stream of 30 entries in which the server's own lag is missing or wrong, or could be. */
const LAGS: readonly [title: string, into: (scenario: Scenario, ids: string[]) => Promise<unknown>][] = [
  ['of a new group is all there is', () => Promise.resolve()],
  ['of a group that has read some is told by the server', (scenario) => read(scenario, 5)],
  ['below ten is counted', (scenario) => read(scenario, 25)],
  ['of a group that has read all is 0', (scenario) => read(scenario, 100)],
  ['of an emptied stream is 0', ({ raw }) => raw.xtrim('orders', 'MAXLEN', 0)],
  [
    'of a group that missed trimmed entries is all there is',
    async (scenario) => [await read(scenario, 5), await scenario.raw.xtrim('orders', 'MAXLEN', 12)],
  ],
  [
    'of a group that has read all after entries were trimmed unread is 0',
    async (scenario) => [await scenario.raw.xtrim('orders', 'MAXLEN', 12), await read(scenario, 100)],
  ],
  [
    'below ten is counted where an entry ahead was deleted',
    async (scenario, ids) => [await read(scenario, 22), await scenario.raw.xdel('orders', ids[24] ?? '')],
  ],
  [
    'below ten is counted for a group made in mid-stream',
    ({ raw }, ids) => raw.xgroup('SETID', 'orders', 'billing', ids[23] ?? ''),
  ],
]

test.each(LAGS)('lag %s', async (_title, into) => {
  const scenario = await startScenario()
  const ids = await scenario.publish(...names('o', 30))
  await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
  await into(scenario, ids)

  const { lag, lagAtLeast, unknown } = await theGroup(inspectStreams({ redis: scenario.redis, streams: ['orders'] }))
  expect({ lag, lagAtLeast, unknown }).toEqual({ lag: await countLag(scenario), lagAtLeast: undefined, unknown: {} })
})

test.each<[string, (scenario: Scenario, ids: string[]) => Promise<unknown>]>([
  [
    'an entry ahead was deleted',
    async (scenario, ids) => [await read(scenario, 5), await scenario.raw.xdel('orders', ids[20] ?? '')],
  ],
  ['the group was made in mid-stream', ({ raw }, ids) => raw.xgroup('SETID', 'orders', 'billing', ids[4] ?? '')],
  [
    'the group was told that it had read all',
    ({ raw }, ids) => raw.call('XGROUP', 'SETID', 'orders', 'billing', ids[4] ?? '', 'ENTRIESREAD', 30),
  ],
])('lag is ten at least where %s', async (_title, into) => {
  const scenario = await startScenario()
  const ids = await scenario.publish(...names('o', 30))
  await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
  await into(scenario, ids)

  const { lag, lagAtLeast, unknown } = await theGroup(inspectStreams({ redis: scenario.redis, streams: ['orders'] }))
  expect({ lag, lagAtLeast, unknown }).toEqual({
    lag: undefined,
    lagAtLeast: 10,
    unknown: { lag: expect.stringMatching(/^the server lost count/) },
  })
})

test('what a read-only user may not ask is unknown with its reason, the rest known', async () => {
  const { raw, server, connect, publish } = await startScenario()
  await publish(...names('o', 30))
  await raw.xgroup('CREATE', 'orders', 'billing', '0')
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 2, 'STREAMS', 'orders', '>')
  // the least that redis-semantics gives a console
  const rules = '%R~orders %R~{orders}:billing:dlq +xinfo +xpending +xrange +xrevrange +xlen +info +ping'
  await raw.call('ACL', 'SETUSER', 'console', 'on', '>secret', ...rules.split(' '))
  const redis = connect(`redis://console:secret@${server.host}:${server.port}`)
  const refused = expect.stringMatching(/^NOPERM /)

  const inspection = await inspectStreams({ redis, streams: ['orders', 'others'] })
  expect(inspection).toMatchObject({
    clock: 'local',
    streams: [
      {
        stream: 'orders',
        length: 30,
        memoryBytes: undefined,
        groups: [
          {
            lag: 28,
            pending: 2,
            oldestPending: { consumerName: 'poller-0' },
            consumers: [{ name: 'poller-0', pending: 2 }],
            deadLetters: { length: 0 },
            isOurs: true,
            unknown: { isOurs: refused, leases: refused },
          },
        ],
        unknown: { memoryBytes: refused },
      },
      { stream: 'others', state: 'unknown', groups: [], unknown: { groups: refused, length: refused } },
    ],
  })
  await expect(inspectStreams({ redis })).rejects.toThrow(/^Cannot search for streams, name them instead: NOPERM /)
})

test('without XINFO STREAM the server is believed, but never a 0', async () => {
  const scenario = await startScenario()
  const { raw, server, connect, publish } = scenario
  const ids = await publish(...names('o', 30))
  await raw.xgroup('CREATE', 'orders', 'billing', '0')
  await raw.call('XGROUP', 'SETID', 'orders', 'billing', ids[4] ?? '', 'ENTRIESREAD', 30)
  await raw.call('ACL', 'SETUSER', 'console', 'on', '>secret', '~*', '+xinfo|groups', '+time')
  const redis = connect(`redis://console:secret@${server.host}:${server.port}`)

  const { lag, lagAtLeast, unknown, pending } = await theGroup(inspectStreams({ redis, streams: ['orders'] }))
  expect({ lag, lagAtLeast, pending }).toEqual({ lag: undefined, lagAtLeast: undefined, pending: 0 })
  expect(Object.keys(unknown).sort()).toEqual([
    'breakers',
    'byCondition',
    'byTime',
    'consumers',
    'deadLetters',
    'isOurs',
    'lag',
    'oldestPending',
    'paused',
    'undeliveredAgeMs',
  ])
})

test('a missing stream, a key of another type and missing groups are reported as such', async () => {
  const { redis, raw, publish } = await startScenario()
  await publish('o-0')
  await raw.set('text', 'no stream')

  const { streams } = await inspectStreams({ redis, streams: ['orders', 'text', 'nowhere'], group: 'billing' })
  expect(streams).toMatchObject([
    { stream: 'orders', state: 'stream', length: 1, groups: [], missingGroups: ['billing'] },
    { stream: 'text', state: 'other-type', groups: [], missingGroups: ['billing'] },
    { stream: 'nowhere', state: 'missing', groups: [], missingGroups: ['billing'] },
  ])
  expect((await raw.keys('*')).sort()).toEqual(['orders', 'text'])
})

test('a group that another library made has no consumers, leases or dead letters of ours', async () => {
  const { redis, raw, publish } = await startScenario()
  await publish('o-0')
  await raw.xgroup('CREATE', 'orders', 'search', '0')

  expect(await theGroup(inspectStreams({ redis, streams: ['orders'] }), 'search')).toMatchObject({
    lag: 1,
    pending: 0,
    oldestPending: undefined,
    deliveries: undefined,
    parked: 0,
    consumerCount: 0,
    consumers: [],
    deadLetters: { length: 0 },
    isOurs: false,
  })
})

test("a consumer's module shows its group before it exists, and its dead letters elsewhere", async () => {
  const { redis, raw, publish } = await startScenario()
  await publish('hopeless')
  const fail = () => {
    throw new NonRetryableError('hopeless')
  }
  const consumer = billing(fail, { deadLetters: { stream: '{orders}:graves' } })
  const other = defineConsumer({ stream: 'orders', group: 'other', routes: [on(OrderPaid, fail)] })
  await poll(consumer, { redis })
  await raw.xadd('unnamed', '*', 'a', 'b')

  const { streams } = await inspectStreams({ redis, consumers: [consumer, other] })
  expect(streams).toMatchObject([
    {
      stream: 'orders',
      missingGroups: ['other'],
      groups: [{ group: 'billing', deadLetters: { stream: '{orders}:graves', length: 1 } }],
    },
  ])
})

test('streams are searched for, and dead letters are shown only with their group', async () => {
  const { redis, raw, publish } = await startScenario()
  await publish('hopeless')
  const consumer = billing(() => {
    throw new NonRetryableError('hopeless')
  })
  await poll(consumer, { redis })
  await raw.set('text', 'no stream')
  for (const name of names('stream-', 5)) await raw.xadd(name, '*', 'a', 'b')

  const seen = async (options: { maxStreams?: number; group?: string }) => {
    const { streams, incomplete } = await inspectStreams({ redis, ...options })
    return { streams: streams.map(({ stream }) => stream), incomplete }
  }
  expect(await seen({})).toEqual({ streams: ['orders', ...names('stream-', 5)], incomplete: undefined })
  expect(await seen({ group: 'billing' })).toEqual({ streams: ['orders'], incomplete: undefined })
  expect((await seen({ maxStreams: 3 })).incomplete).toBe('stopped after 3 streams')
})

test('a pending entry that was trimmed is told apart', async () => {
  const scenario = await startScenario()
  const [id] = await scenario.publish('o-0', 'o-1')
  await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
  await read(scenario, 10)
  await scenario.raw.xtrim('orders', 'MAXLEN', 1)

  expect(await theGroup(inspectStreams({ redis: scenario.redis, streams: ['orders'] }))).toMatchObject({
    pending: 2,
    oldestPending: { id, isTrimmed: true },
  })
})

test('over REST it sees the same', async () => {
  const scenario = await startScenario()
  await scenario.publish(...names('o', 12))
  await poll(
    billing(() => {}),
    { redis: scenario.redis },
  )
  await scenario.publish(...names('more', 3))
  const rest = await startRestServer({ redisUrl: scenario.server.url, token: 'token' })
  onTestFinished(() => rest.close())
  const overRest = connectUpstash({ url: rest.url, token: rest.token })

  /** Without what time changes. */
  const timeless = (inspection: Inspection) =>
    JSON.parse(JSON.stringify(inspection), (name, value) => (/(ageMs|idleMs|successMs|^at)$/i.test(name) ? AGE : value))
  expect(await inspectStreams({ redis: overRest })).toEqual(timeless(await inspectStreams({ redis: scenario.redis })))
})

test.each<[string, object, RegExp]>([
  ['no connection', { redis: 'redis://x' }, /redis must be a connection/],
  ['an unknown option', { stream: 'orders' }, /unknown option "stream"; known are redis, streams/],
  ['an empty name', { streams: [''] }, /each of streams must be a string that is not empty/],
  ['no consumer', { consumers: [{}] }, /each of consumers must come from defineConsumer/],
  ['too many streams', { maxStreams: 5_000 }, /maxStreams must be <= 1000, got 5000/],
])('inspectStreams() refuses %s', async (_title, options, message) => {
  await expect(inspectStreams(options as never)).rejects.toThrow(message)
})

test('inspectStreams() fails where nobody answers', async () => {
  const { redis, server } = await startScenario()
  await server.stop()

  await expect(inspectStreams({ redis })).rejects.toMatchObject({ code: 'ERR_REDIS_CONNECTION' })
})

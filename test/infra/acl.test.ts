import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Connection, Consumer } from 'millrace'
import {
  createPoller,
  createPublisher,
  defineConsumer,
  defineEvent,
  NonRetryableError,
  on,
  poll,
  promoteDelays,
  RetryAfterError,
  rateLimit,
  readEvents,
  type Wake,
} from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { runJanitor, unregisterGroups } from 'millrace/janitor'
import {
  analyze,
  closeBreakers,
  dropDeadLetters,
  inspectStreams,
  pause,
  redriveDeadLetters,
  resume,
} from 'millrace/operate'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { getCommand } from '../../src/group/redis/commands/get.ts'
import { expireAfter, setIfAbsent } from '../../src/group/redis/commands/set.ts'
import { timeCommand } from '../../src/group/redis/commands/time.ts'
import { xack } from '../../src/group/redis/commands/xack.ts'
import { xadd } from '../../src/group/redis/commands/xadd.ts'
import { xdel } from '../../src/group/redis/commands/xdel.ts'
import { xinfoConsumers } from '../../src/group/redis/commands/xinfo-consumers.ts'
import { xinfoGroups } from '../../src/group/redis/commands/xinfo-groups.ts'
import { xinfoStream } from '../../src/group/redis/commands/xinfo-stream.ts'
import { xlen } from '../../src/group/redis/commands/xlen.ts'
import { xpending } from '../../src/group/redis/commands/xpending.ts'
import { newestEntryCommand, xrange } from '../../src/group/redis/commands/xrange.ts'
import { xreadgroup } from '../../src/group/redis/commands/xreadgroup.ts'
import { appendExpectingScript } from '../../src/group/redis/scripts/append-expecting.ts'
import { cancelDelayedScript } from '../../src/group/redis/scripts/cancel-delayed.ts'
import { claimPageScript } from '../../src/group/redis/scripts/claim-page.ts'
import { createGroupScript } from '../../src/group/redis/scripts/create-group.ts'
import { delayEventScript } from '../../src/group/redis/scripts/delay-event.ts'
import { acknowledgeWithEffectsScript } from '../../src/group/redis/scripts/effects.ts'
import { finishClaimerRunScript } from '../../src/group/redis/scripts/finish-claims.ts'
import { finishPollerRunScript } from '../../src/group/redis/scripts/finish-reads.ts'
import { giveSlotBackScript } from '../../src/group/redis/scripts/give-slot.ts'
import { releaseUnreceivedScript } from '../../src/group/redis/scripts/hand-back.ts'
import { healGroupScript } from '../../src/group/redis/scripts/heal.ts'
import { holdMarkersScript } from '../../src/group/redis/scripts/hold-markers.ts'
import { acknowledgeWithCommandsScript as joinScript } from '../../src/group/redis/scripts/join.ts'
import { measureBacklogScript } from '../../src/group/redis/scripts/measure.ts'
import { passGatesScript } from '../../src/group/redis/scripts/pass-gates.ts'
import { pause as pauseScript, resume as resumeScript } from '../../src/group/redis/scripts/pause.ts'
import { peekScript } from '../../src/group/redis/scripts/peek.ts'
import { planClaimScript } from '../../src/group/redis/scripts/plan-claim.ts'
import { promoteDelayedScript } from '../../src/group/redis/scripts/promote-delayed.ts'
import { publishOnceScript } from '../../src/group/redis/scripts/publish-once.ts'
import { readAggregateScript } from '../../src/group/redis/scripts/read-aggregate.ts'
import { readBytesScript } from '../../src/group/redis/scripts/read-bytes.ts'
import { readUnlessPendingLimit } from '../../src/group/redis/scripts/read-unless-pending-limit.ts'
import { redriveScript } from '../../src/group/redis/scripts/redrive.ts'
import { releaseJanitorScript } from '../../src/group/redis/scripts/release-janitor.ts'
import { removeConsumerScript } from '../../src/group/redis/scripts/remove-consumer.ts'
import { renewIdleScript } from '../../src/group/redis/scripts/renew.ts'
import { repair } from '../../src/group/redis/scripts/repair.ts'
import type { LuaScript } from '../../src/group/redis/scripts/script.ts'
import { settleEntriesScript } from '../../src/group/redis/scripts/settle.ts'
import { startClaimedScript } from '../../src/group/redis/scripts/start.ts'
import { takeSetAsideGuardedScript, takeSetAsideScript } from '../../src/group/redis/scripts/take.ts'
import { takeSlotScript } from '../../src/group/redis/scripts/take-slot.ts'
import { takeSomeGuardedScript, takeSomeScript } from '../../src/group/redis/scripts/take-some.ts'
import { trimDoneScript } from '../../src/group/redis/scripts/trim-done.ts'
import { undoTakeScript } from '../../src/group/redis/scripts/undo-take.ts'
import { undoneEntriesScript } from '../../src/group/redis/scripts/undone-entries.ts'
import type { RedisCommand } from '../../src/group/redis/transport.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { claimOnce } from '../support/claim-once.ts'
import { changeBody } from '../support/delayed-pages.ts'
import { startMonitor } from '../support/start-monitor.ts'
import { type AclUser, createAclUsers, readAclUsers, urlOf } from './acl-users.ts'

const PUBLISHER = 'orders-publisher'
const DEDUPLICATOR = 'orders-deduplicator'
const DECIDER = 'orders-decider'
const THROTTLED = 'orders-throttled'
const DELAYER = 'orders-delayer'
const POLLER = 'orders-poller'
const PROMOTER = 'orders-promoter'
const CLAIMER = 'orders-claimer'
const CONSOLE = 'orders-console'
const OPERATOR = 'orders-operator'
const JANITOR = 'orders-janitor'
const USERS = [
  PUBLISHER,
  DEDUPLICATOR,
  DECIDER,
  THROTTLED,
  DELAYER,
  POLLER,
  PROMOTER,
  CLAIMER,
  CONSOLE,
  OPERATOR,
  JANITOR,
]

const SHARED_SCRIPTS = [
  takeSlotScript,
  giveSlotBackScript,
  createGroupScript,
  settleEntriesScript,
  renewIdleScript,
  measureBacklogScript,
]
const POLLER_SCRIPTS = [
  ...SHARED_SCRIPTS,
  readUnlessPendingLimit,
  releaseUnreceivedScript,
  finishPollerRunScript,
  planClaimScript,
]
const CLAIMER_SCRIPTS = [
  ...SHARED_SCRIPTS,
  claimPageScript,
  takeSetAsideScript,
  undoTakeScript,
  peekScript,
  healGroupScript,
  repair,
  startClaimedScript,
  finishClaimerRunScript,
  removeConsumerScript,
]
const DECIDER_SCRIPTS = [appendExpectingScript, readAggregateScript]
const DELAYER_SCRIPTS = [publishOnceScript, delayEventScript, cancelDelayedScript]
const OPERATOR_SCRIPTS = [redriveScript, pauseScript, resumeScript]
const JANITOR_SCRIPTS = [trimDoneScript, releaseJanitorScript, readBytesScript]
/** What scripts are made of. */
const PARTS = [
  'aside.ts',
  'delayed-body.ts',
  'delayed-counts.ts',
  'delayed-insert.ts',
  'delayed-pages.ts',
  'delayed-pieces.ts',
  'delayed-remove.ts',
  'delays.ts',
  'done-by-groups.ts',
  'fence.ts',
  'limits.ts',
  'look-ahead.ts',
  'marker.ts',
  'script.ts',
  'settle-entry.ts',
]
/** Sent where a policy is used that needs them: its keys and commands are the user's own to allow. */
const POLICY_SCRIPTS = [
  acknowledgeWithEffectsScript,
  joinScript,
  holdMarkersScript,
  passGatesScript,
  takeSetAsideGuardedScript,
  takeSomeScript,
  takeSomeGuardedScript,
]
const EVALS: RedisCommand[] = [['eval'], ['evalsha']]

/** What finds the nodes of a cluster, and follows a hash slot that moves; acl-cluster.test.ts needs them. */
const OF_CLUSTERS = ['asking', 'cluster|slots']

const POLLING: readonly RedisCommand[] = [
  ...EVALS,
  xreadgroup('', '', '', 1),
  getCommand(''),
  xack('', '', []),
  ...POLLER_SCRIPTS.flatMap(callsOf),
]

const PUBLISHING: readonly RedisCommand[] = [
  xadd('', [], { kind: 'none' }),
  setIfAbsent('', ''),
  expireAfter('', 1),
  getCommand(''),
]

/** What each part sends, and what its scripts call. */
const SENT: Readonly<Record<string, readonly string[]>> = {
  [PUBLISHER]: aclNames([...PUBLISHING, timeCommand]),
  [DEDUPLICATOR]: aclNames([...EVALS, ...PUBLISHING, timeCommand, ...callsOf(publishOnceScript)]),
  [DECIDER]: aclNames([...EVALS, ...PUBLISHING, timeCommand, ...DECIDER_SCRIPTS.flatMap(callsOf)]),
  [THROTTLED]: aclNames([...EVALS, ...PUBLISHING, timeCommand, ...callsOf(undoneEntriesScript)]),
  [DELAYER]: aclNames([...EVALS, ...PUBLISHING, ...DELAYER_SCRIPTS.flatMap(callsOf)]),
  [POLLER]: aclNames(POLLING),
  [PROMOTER]: aclNames([...POLLING, ...callsOf(promoteDelayedScript)]),
  [CLAIMER]: aclNames([...EVALS, xack('', '', []), xinfoConsumers('', ''), ...CLAIMER_SCRIPTS.flatMap(callsOf)]),
  [CONSOLE]: aclNames([
    timeCommand,
    xinfoStream(''),
    xinfoGroups(''),
    xinfoConsumers('', ''),
    xpending('', '', 1),
    xrange('', '', '', 1),
    ['hget'],
    ['hgetall'],
    ['get'],
    ['pttl'],
    ['zcount'],
    ['zcard'],
    ['zrangebyscore'],
    ['zrangebylex'],
    ['zlexcount'],
    ['memory', 'USAGE'],
  ]),
  [OPERATOR]: aclNames([
    ...EVALS,
    timeCommand,
    ['info'],
    ['wait'],
    xrange('', '', '', 1),
    newestEntryCommand(''),
    xlen(''),
    xdel('', []),
    // resume --breaker
    ['hgetall'],
    ['hdel'],
    ...OPERATOR_SCRIPTS.flatMap(callsOf),
  ]),
  [JANITOR]: aclNames([
    ...EVALS,
    ['hgetall'],
    ['hset'],
    ['hdel'],
    xrange('', '', '', 1),
    ...JANITOR_SCRIPTS.flatMap(callsOf),
  ]),
}

/** One step away from what each may do: another command, another subcommand, another key. */
const REFUSED: readonly (readonly [user: string, command: string])[] = [
  [PUBLISHER, 'XRANGE orders - +'],
  [PUBLISHER, 'XTRIM orders MAXLEN 0'],
  [PUBLISHER, 'XADD returns * a b'],
  [PUBLISHER, 'XADD {orders}:billing:dlq * a b'],
  [PUBLISHER, 'SET orders x'],
  [PUBLISHER, 'DEL orders'],
  [PUBLISHER, 'SETNX orders x'],
  [PUBLISHER, 'XADD {orders}:billing:wake * a b'],
  [PUBLISHER, 'EVAL return(0) 1 orders'],
  [PUBLISHER, 'GET {orders}::published::e'],
  [DEDUPLICATOR, 'XRANGE orders - +'],
  [DEDUPLICATOR, 'SETNX orders x'],
  [DEDUPLICATOR, 'GETDEL orders'],
  [DEDUPLICATOR, 'GETEX orders PX 1'],
  [DEDUPLICATOR, 'XADD {orders}:delayed * a b'],
  [DEDUPLICATOR, 'ZADD {orders}:delayed 1 a'],
  [DEDUPLICATOR, 'HSET {orders}:delayed:events a b'],
  [DEDUPLICATOR, 'HGET {orders}:delayed:ended:0 a'],
  [DEDUPLICATOR, 'SET {orders}::published::e x'],
  [DEDUPLICATOR, 'DEL {orders}::published::e'],
  [DEDUPLICATOR, 'XADD {orders}::published::e * a b'],
  [DEDUPLICATOR, 'GET {orders}:published:state'],
  [DEDUPLICATOR, 'GET {orders}::published:state'],
  [DECIDER, 'XTRIM orders MAXLEN 0'],
  [DECIDER, 'XDEL orders 1-1'],
  [DECIDER, 'ZADD orders 1 a'],
  [DECIDER, 'ZREM {orders}::aggregate::a a'],
  [DECIDER, 'DEL {orders}::aggregate::a'],
  [DECIDER, 'XADD {orders}::aggregate::a * a b'],
  [DECIDER, 'ZADD {orders}::aggregate:%:a 1 a'],
  [DECIDER, 'ZRANGE {orders}:delayed 0 -1'],
  [THROTTLED, 'XTRIM orders MAXLEN 0'],
  [THROTTLED, 'XRANGE {orders}::stream::groups - +'],
  [THROTTLED, 'HSET {orders}::stream::groups billing x'],
  [THROTTLED, 'HGET {orders}::stream::groups billing'],
  [THROTTLED, 'DEL {orders}::stream::groups'],
  [THROTTLED, 'HKEYS {orders}:billing:state'],
  [DELAYER, 'PEXPIREAT orders 1'],
  [DELAYER, 'PEXPIREAT {orders}::published::e 1'],
  [DELAYER, 'UNLINK orders'],
  [DELAYER, 'XADD {orders}:delayed * a b'],
  [DELAYER, 'XRANGE orders - +'],
  [DELAYER, 'ZADD orders 1 a'],
  [DELAYER, 'DEL {orders}:delayed'],
  [DELAYER, 'HGET {orders}:billing:state mark'],
  [PROMOTER, 'PEXPIREAT orders 1'],
  [PROMOTER, 'UNLINK orders'],
  [PROMOTER, 'XADD {orders}:delayed * a b'],
  [PROMOTER, 'XTRIM orders MAXLEN 0'],
  [PROMOTER, 'DEL {orders}:delayed:events'],
  [POLLER, 'ZADD {orders}:delayed 1 a'],
  [PUBLISHER, 'ZADD {orders}:delayed 1 a'],
  [POLLER, 'SET orders x'],
  [POLLER, 'DEL orders'],
  [POLLER, 'UNLINK orders'],
  [POLLER, 'XADD orders * a b'],
  [POLLER, 'XTRIM orders MAXLEN 0'],
  [POLLER, 'SETNX orders x'],
  [POLLER, 'HSET orders a b'],
  [POLLER, 'PEXPIRE {orders}:billing:state 1'],
  [CLAIMER, 'SET orders x'],
  [CLAIMER, 'DEL orders'],
  [CLAIMER, 'XADD orders * a b'],
  [CLAIMER, 'XTRIM orders MAXLEN 0'],
  [CLAIMER, 'ZADD orders 1 a'],
  [CLAIMER, 'RENAME orders returns'],
  [OPERATOR, 'HSET orders a b'],
  [OPERATOR, 'XDEL orders 1-0'],
  [OPERATOR, 'GETDEL orders'],
  [OPERATOR, 'DEL {orders}:billing:dlq'],
  [POLLER, 'XAUTOCLAIM orders billing poller-0 0 0'],
  [POLLER, 'XINFO CONSUMERS orders billing'],
  [POLLER, 'XGROUP DESTROY orders billing'],
  [POLLER, 'XGROUP DELCONSUMER orders billing parked'],
  [POLLER, 'XGROUP SETID orders billing $'],
  [POLLER, 'XDEL orders 1-1'],
  [POLLER, 'XREADGROUP GROUP billing poller-0 STREAMS returns >'],
  [POLLER, 'GET {orders}:search:slot:poller-0'],
  [POLLER, 'EVAL return(0) 1 {orders}:search:state'],
  [POLLER, 'KEYS *'],
  [POLLER, 'CONFIG GET requirepass'],
  [POLLER, 'SCRIPT FLUSH'],
  [CLAIMER, 'XREADGROUP GROUP billing claimer-0 STREAMS orders >'],
  [CLAIMER, 'XGROUP DESTROY orders billing'],
  [CLAIMER, 'XGROUP SETID orders billing $'],
  [CLAIMER, 'XDEL orders 1-1'],
  [CLAIMER, 'DEL {orders}:search:state'],
  [CLAIMER, 'FLUSHALL'],
  [CONSOLE, 'XADD orders * a b'],
  [CONSOLE, 'XREADGROUP GROUP billing poller-0 STREAMS orders >'],
  [CONSOLE, 'XRANGE returns - +'],
  [CONSOLE, 'XGROUP CREATE orders audit $'],
  [CONSOLE, 'EVAL return(0) 1 orders'],
  [CONSOLE, 'SCAN 0'],
  [CONSOLE, 'SETNX {orders}:billing:paused x'],
  [OPERATOR, 'XREADGROUP GROUP billing me STREAMS orders >'],
  [OPERATOR, 'XACK orders billing 1-1'],
  [OPERATOR, 'XTRIM orders MAXLEN 0'],
  [OPERATOR, 'XGROUP DESTROY orders billing'],
  [OPERATOR, 'XRANGE {orders}:search:dlq - +'],
  [OPERATOR, 'SET {orders}:billing:slot:poller-0 mine'],
  [JANITOR, 'XDEL orders 1-1'],
  [JANITOR, 'DEL orders'],
  [JANITOR, 'XADD orders * a b'],
  [JANITOR, 'XACK orders billing 1-1'],
  [JANITOR, 'XGROUP DESTROY orders billing'],
  [JANITOR, 'HSET {orders}:billing:state mark 9-9'],
  [JANITOR, 'HSET orders a b'],
  [JANITOR, 'DEL {orders}::stream::janitor'],
  [JANITOR, 'XTRIM {orders}:billing:state MAXLEN 0'],
  [JANITOR, 'XRANGE {orders}:search:dlq - +'],
]

const MIN_IDLE_MS = 200

/** The six ways an entry may go: what its handler does at the first and at the second delivery. */
const BEHAVIOURS: Readonly<Record<string, readonly (Error | undefined)[]>> = {
  fine: [undefined],
  hopeless: [new NonRetryableError('hopeless')],
  later: [new RetryAfterError(60_000)],
  again: [new Error('again'), undefined],
  laterStill: [new Error('again'), new RetryAfterError(60_000)],
  doomed: [new Error('again'), new NonRetryableError('hopeless')],
}

const Order = defineEvent('Order', { payload: z.object({ behaviour: z.string() }) })

const billing = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [
    on(Order, ({ payload }, { deliveryCount }) => {
      const failure = BEHAVIOURS[payload.behaviour]?.[deliveryCount - 1]
      if (failure) throw failure
    }),
  ],
  handlerTimeoutMs: 5_000,
  batchSize: Object.keys(BEHAVIOURS).length, // a full batch makes the poller inspect the backlog
  minIdleMs: MIN_IDLE_MS,
  allowLongHandlers: true,
  maxDeliveries: 3,
  backoff: { firstMs: 0 },
  deadLetters: { maxLength: 1 },
})

let server: PrivateRedis
let admin: Redis
let users: ReadonlyMap<string, AclUser>

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
  await createAclUsers(admin)
  users = await readAclUsers()
})

afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

const DELAYED = ['{orders}:delayed', '{orders}:delayed:*']
const AGGREGATES = '{orders}::aggregate::*'
const MARKERS = '{orders}::published::*'
const NOTES = '{orders}::stream:*'
const REGISTRY = '{orders}::stream::groups'

describe('the ACL file', () => {
  test("names users with only the stream's and group's keys, and no command category", () => {
    const ofOrders = [...users.values()].filter(({ name }) => name.startsWith('orders-'))
    const rules = ofOrders.map(({ name, keys, rules }) => [
      name,
      keys,
      rules.map((rule) => rule.replace(/^\(([^+]*) \+.*\)$/, '$1')).filter((rule) => !/^((%R)?~\S+$|\+)/.test(rule)),
      rules.some((rule) => rule.includes('+@')),
    ])

    expect(rules).toEqual([
      [PUBLISHER, ['orders'], ['on', '-@all', '~{orders}:billing:wake -@all'], false],
      [
        DEDUPLICATOR,
        ['orders', '{orders}:delayed', '{orders}:delayed:events', MARKERS],
        [
          'on',
          '-@all',
          '~orders -@all',
          '~{orders}:delayed -@all',
          '~{orders}:delayed:events -@all',
          `~${MARKERS} -@all`,
          '~{orders}:billing:wake -@all',
        ],
        false,
      ],
      [
        DECIDER,
        ['orders', AGGREGATES],
        ['on', '-@all', '~orders -@all', `~${AGGREGATES} -@all`, '~{orders}:billing:wake -@all'],
        false,
      ],
      [
        THROTTLED,
        ['orders', REGISTRY],
        ['on', '-@all', '~orders -@all', `~${REGISTRY} -@all`, '~{orders}:billing:wake -@all'],
        false,
      ],
      [
        DELAYER,
        ['orders', ...DELAYED, MARKERS],
        [
          'on',
          '-@all',
          '~orders -@all',
          `~${DELAYED.join(' ~')} -@all`,
          `~${MARKERS} -@all`,
          '~{orders}:billing:wake -@all',
        ],
        false,
      ],
      [POLLER, ['orders', '{orders}:billing:*'], ['on', '-@all', '~{orders}:billing:* -@all'], false],
      [
        PROMOTER,
        ['orders', '{orders}:billing:*', ...DELAYED],
        ['on', '-@all', '~{orders}:billing:* -@all', '~orders -@all', `~${DELAYED.join(' ~')} -@all`],
        false,
      ],
      [CLAIMER, ['orders', '{orders}:billing:*'], ['on', '-@all', '~{orders}:billing:* -@all'], false],
      [
        CONSOLE,
        ['%R~orders', '%R~{orders}:billing:*', '%R~{orders}:delayed', '%R~{orders}:delayed:events', `%R~${NOTES}`],
        ['on', '-@all'],
        false,
      ],
      [OPERATOR, ['orders', '{orders}:billing:*'], ['on', '-@all', '~{orders}:billing:* -@all'], false],
      [
        JANITOR,
        ['orders', '{orders}:billing:*', NOTES],
        ['on', '-@all', '~orders ~{orders}:billing:dlq -@all', `~${NOTES} -@all`],
        false,
      ],
    ])
  })

  test.each(USERS)('gives %s the commands that are sent and those that the scripts call, and no other', (name) => {
    expect([...(users.get(name)?.commands ?? [])].sort()).toEqual([...(SENT[name] ?? []), ...OF_CLUSTERS].sort())
  })

  test('leaves no script out', async () => {
    const files = await readdir(join(import.meta.dirname, '../../src/group/redis/scripts'))

    expect(files.filter((file) => !PARTS.includes(file))).toHaveLength(
      // two of them are in the file of another
      new Set([
        ...DECIDER_SCRIPTS,
        undoneEntriesScript,
        ...DELAYER_SCRIPTS,
        promoteDelayedScript,
        ...POLLER_SCRIPTS,
        ...CLAIMER_SCRIPTS,
        ...OPERATOR_SCRIPTS,
        ...JANITOR_SCRIPTS,
        ...POLICY_SCRIPTS,
      ]).size - 2,
    )
  })
})

describe('under the users of the ACL file', () => {
  const connections: Connection[] = []
  const connectAs = (user: string) => {
    const connection = connectIoredis(urlOf(server, user))
    connections.push(connection)
    return connection
  }
  let seen: Map<string, Set<string>>

  afterAll(() => Promise.all(connections.map((connection) => connection.close())))

  test('events are published, handled, retried, dead-lettered and claimed, and a lost group is recreated', async () => {
    const monitor = await watchCommands(admin)
    seen = monitor.seen
    const wakes: string[] = []
    const wake = {
      group: 'billing',
      windowMs: 60_000,
      wake: async () => void wakes.push('woken'),
      onError: (error: Error) => void wakes.push(error.message),
    }
    const orders = createPublisher({ stream: 'orders', redis: connectAs(PUBLISHER), wake, retentionMs: 86_400_000 })
    const poller = connectAs(POLLER)
    const claimer = connectAs(CLAIMER)

    const publications = Object.keys(BEHAVIOURS).map((behaviour) => [Order, { behaviour }] as const)
    await monitor.during(PUBLISHER, () => orders.publishMany(publications))
    expect(wakes).toEqual(['woken'])
    await admin.xadd('{orders}:billing:dlq', '*', 'reason', 'crashed') // so that one letter is too many
    const scaleOut = { entriesPerPoller: 1_000, call: async () => {} }
    const pollAll = createPoller(billing, { redis: poller, scaleOut })
    expect(await monitor.during(POLLER, () => pollAll())).toMatchObject({
      read: 6,
      acked: 1,
      retried: 4,
      deadLettered: 1,
      deadLettersTrimmed: 1,
    })
    expect(await monitor.during(CLAIMER, () => claimOnce(billing, { redis: claimer }))).toMatchObject({
      claimed: 3,
      acked: 1,
      retried: 1,
      deadLettered: 1,
      deadLettersTrimmed: 1,
    })

    await admin.xgroup('DESTROY', 'orders', 'billing')
    expect(await monitor.during(POLLER, () => poll(billing, { redis: poller }))).toMatchObject({ groupRecreated: true })
    await admin.xgroup('DESTROY', 'orders', 'billing')
    expect(await monitor.during(CLAIMER, () => claimOnce(billing, { redis: claimer }))).toMatchObject({
      groupRecreated: true,
    })

    // what a dead process has read, and what is set aside and has lost its place in the index
    const again = ['fine', 'fine'].map((behaviour) => [Order, { behaviour }] as const)
    await orders.publishMany(again)
    for (const name of ['poller-0', 'poller-9'])
      await admin.xreadgroup('GROUP', 'billing', name, 'COUNT', 1, 'STREAMS', 'orders', '>')
    await monitor.during(POLLER, () => poll(billing, { redis: poller }))
    await admin.del('{orders}:billing:due')
    const allPending = await admin.xpending('orders', 'billing', '-', '+', 10)
    const idlePending = () => admin.xpending('orders', 'billing', 'IDLE', MIN_IDLE_MS, '-', '+', 10)
    await expect.poll(idlePending).toHaveLength(allPending.length)
    // one run, or two: the first may find a place for poller-0's entry only at its end, and the second what has lost its due time as well
    let acked = 0
    await expect
      .poll(async () => {
        acked += (await monitor.during(CLAIMER, () => claimOnce(billing, { redis: claimer }))).acked
        return acked
      })
      .toBeGreaterThanOrEqual(2)

    await orders.publishMany([...again, ...again])
    await admin.xgroup('CREATECONSUMER', 'orders', 'billing', 'poller-63')
    await expect.poll(() => idleOf('poller-63')).toBeGreaterThan(MIN_IDLE_MS)
    // a key that never ends is no lease
    await admin.set('{orders}:billing:slot:claimer-0', 'nobody')
    await monitor.during(CLAIMER, () => claimOnce(billing, { redis: claimer }))
    expect(await idleOf('poller-63')).toBeUndefined()

    const console = connectAs(CONSOLE)
    await admin.zadd('{orders}:billing:waiting', 0, 'held Order\nA1A0:0')
    await admin.hset('{orders}:billing:breakers', 'until Order', 1)
    await admin.hset('{orders}:billing:rate:*', 'line', 1)
    const limited = { ...billing, policies: [{ policy: rateLimit({ max: 1, perMs: 1_000 }), eventType: undefined }] }
    const { streams } = await monitor.during(CONSOLE, () =>
      inspectStreams({ redis: console, consumers: [limited as Consumer] }),
    )
    await admin.del('{orders}:billing:waiting', '{orders}:billing:breakers', '{orders}:billing:rate:*')
    expect(streams).toMatchObject([
      { groups: [{ lag: 4, isOurs: true, flow: { breakers: [{}], limits: [{}] }, unknown: {} }], unknown: {} },
    ])
    const analysis = await monitor.during(CONSOLE, () => analyze('orders', { redis: console }))
    expect(analysis).toMatchObject({ isComplete: true, unknown: {} })
    // one letter whose entry is still there, one whose entry was trimmed, one to drop
    const redis = connectAs(OPERATOR)
    await admin.del('{orders}:billing:dlq')
    const hopeless = { ...billing, settings: { ...billing.settings, maxDeadLetters: 3 } }
    const ids = await orders.publishMany(
      ['hopeless', 'hopeless', 'hopeless'].map((behaviour) => [Order, { behaviour }] as const),
    )
    await poll(hopeless, { redis: poller })
    await admin.xgroup('CREATE', 'orders', 'search', '$')
    await admin.xdel('orders', String(ids[1]?.entryId))
    const which = { redis, newerThanMs: 60_000 }
    const redriven = await monitor.during(OPERATOR, () =>
      redriveDeadLetters(billing, { ...which, republish: 'group', limit: 2 }),
    )
    expect(redriven).toMatchObject({ redriven: 1, republished: 1 })
    const dropped = await monitor.during(OPERATOR, () => dropDeadLetters(billing, which))
    expect(dropped).toMatchObject({ dropped: 1 })
    const replica = await startRedisServer({ args: ['--replicaof', server.host, `${server.port}`] })
    onTestFinished(() => replica.stop())
    while (!/state=online/.test(await admin.info('replication'))) await new Promise(setImmediate)
    await admin.hset('{orders}:billing:breakers', 'until Order', 1)
    const resumed = await monitor.during(OPERATOR, async () => {
      const maxAgeMs = 3_600_000
      await pause(billing, { redis, type: Order.type })
      await resume(billing, { redis, type: Order.type, maxAgeMs })
      await pause(billing, { redis })
      await closeBreakers(billing, { redis })
      return resume(billing, { redis, maxAgeMs })
    })
    expect(resumed).toMatchObject({ expiring: 0, isConfirmed: true })
    await delayAndPromote(monitor, wake)
    await deduplicate(monitor, wake)
    await decide(monitor, wake)
    await publishThrottled(monitor, wake)
    await trim(monitor)
    monitor.stop()
  })

  /** Everything that a publisher with deduplicateMs does. */
  async function deduplicate(monitor: CommandWatch, wake: Wake): Promise<void> {
    const redis = connectAs(DEDUPLICATOR)
    const orders = createPublisher({ stream: 'orders', redis, wake, retentionMs: 86_400_000, deduplicateMs: 60_000 })
    await admin.del('{orders}:billing:wake')
    const later = createPublisher({ stream: 'orders', redis: connectAs(DELAYER) })
    await later.publish(Order, { behaviour: 'fine' }, { eventId: 'g', delayMs: 60_000 })
    const answers = await monitor.during(DEDUPLICATOR, () =>
      orders.publishMany(['e', 'f', 'e'].map((eventId) => [Order, { behaviour: 'fine' }, { eventId }] as const)),
    )
    expect(answers.map(({ duplicate }) => duplicate)).toEqual([undefined, undefined, true])
    for (const eventId of ['e', 'g'])
      await monitor.during(DEDUPLICATOR, () => orders.publish(Order, { behaviour: 'fine' }, { eventId }))
    await later.cancel('g')
  }

  /** Everything that a janitor does: it archives, also what is no text, waits for a group that is lost, and trims dead letters. */
  async function trim(monitor: CommandWatch): Promise<void> {
    const redis = connectAs(JANITOR)
    await admin.xadd('orders', '*', 'n', '�')
    await admin.xgroup('SETID', 'orders', 'billing', '$')
    await admin.xadd('{orders}:billing:dlq', '*', 'a', 'b')
    const groups = { billing: { owner: 'team', deadLetters: { retentionMs: 1 } } }
    const stream = { stream: 'orders', groups, ignoreGroups: ['search'] }
    const archive = async () => {}
    const first = await monitor.during(JANITOR, () => runJanitor(stream, { redis, archive }))
    await admin.xgroup('DESTROY', 'orders', 'billing')
    await admin.zadd('{orders}:billing:due', 1, '1-1')
    await admin.xadd('orders', '*', 'a', 'b')
    const reports = await monitor.during(JANITOR, async () => {
      const denied = await runJanitor({ ...stream, ignoreGroups: [] }, { redis, archive })
      expect(denied.streams[0]?.blockers).toMatchObject([{ name: 'search', reason: 'denied', isRegistered: false }, {}])
      const second = await runJanitor(stream, { redis, archive })
      await unregisterGroups('orders', ['billing'], { redis })
      return [first, second]
    })
    expect(reports).toMatchObject([
      { drained: true, streams: [{ stream: 'orders' }, { stream: '{orders}:billing:dlq', kept: 0 }] },
      { streams: [{ trimmed: 0, blockers: [{ name: 'billing' }] }, {}] },
    ])
  }

  /** A publisher with maxBacklog, while there is room. */
  async function publishThrottled(monitor: CommandWatch, wake: Wake): Promise<void> {
    const redis = connectAs(THROTTLED)
    await admin.del('{orders}:billing:wake')
    await admin.hset(REGISTRY, 'billing', '{"owner":"shop"}')
    const orders = createPublisher({ stream: 'orders', redis, wake, retentionMs: 86_400_000, maxBacklog: 1_000_000 })
    await monitor.during(THROTTLED, () => orders.publish(Order, { behaviour: 'fine' }))
    await admin.del(REGISTRY)
  }

  /** Everything that a publisher with expectedVersion does, and a reader of what it published. */
  async function decide(monitor: CommandWatch, wake: Wake): Promise<void> {
    const redis = connectAs(DECIDER)
    const orders = createPublisher({ stream: 'orders', redis, wake, retentionMs: 86_400_000 })
    const publish = (expectedVersion: number) =>
      orders.publish(
        Order,
        { behaviour: 'fine' },
        { aggregateId: 'a', expectedVersion, eventId: `e-${expectedVersion}` },
      )
    await admin.del('{orders}:billing:wake')
    await monitor.during(DECIDER, async () => {
      for (const expectedVersion of [0, 1, 1]) await publish(expectedVersion)
    })
    await admin.xtrim('orders', 'MAXLEN', 1)
    const versions = await monitor.during(DECIDER, async () => {
      await publish(2)
      await orders.publish(Order, { behaviour: 'fine' })
      const read: number[] = []
      const options = { redis, events: [Order], aggregateId: 'a', from: 2 }
      for await (const { aggregateVersion } of readEvents('orders', options)) read.push(aggregateVersion)
      return read
    })
    expect([versions, await admin.zcard('{orders}::aggregate:::a')]).toEqual([[2, 3], 2])
  }

  /** Everything that a publisher with delays does, and a poller that promotes beside its own work. */
  async function delayAndPromote(monitor: CommandWatch, wake: Wake): Promise<void> {
    const redis = connectAs(DELAYER)
    const reminders = createPublisher({ stream: 'orders', redis, wake })
    await admin.del('{orders}:billing:wake')
    await monitor.during(DELAYER, async () => {
      await reminders.publish(Order, { behaviour: 'fine' })
      await reminders.publish(Order, { behaviour: 'fine' }, { eventId: 'a', delayMs: 60_000 })
      await reminders.cancel('a')
      await reminders.publish(Order, { behaviour: 'fine' }, { eventId: 'b', delayMs: 0 })
      await reminders.publish(Order, { behaviour: 'fine' }, { eventId: 'c', delayMs: 0 })
      const once = { eventId: 'd', deduplicateMs: 60_000 }
      await reminders.publish(Order, { behaviour: 'fine' }, { ...once, delayMs: 60_000 })
      await reminders.cancel('d')
      await reminders.publish(Order, { behaviour: 'fine' }, once)
    })
    await changeBody(admin, 'c', () => Buffer.from('unreadable'))
    await admin.del('{orders}:delayed:ended:0', '{orders}:delayed:ended:1')
    const promoter = connectAs(PROMOTER)
    for (const each of seen.get(POLLER) ?? []) seen.set(PROMOTER, (seen.get(PROMOTER) ?? new Set()).add(each))
    const delays = promoteDelays({ wake })
    await admin.del('{orders}:billing:wake')
    const promoted = await monitor.during(PROMOTER, () => delays.promote({ redis: promoter, stream: 'orders' }))
    expect(promoted).toMatchObject({ promoted: 1, unreadable: 1, refusals: [] })
    expect((await poll(billing, { redis: promoter })).acked).toBeGreaterThan(0)
  }

  test.each(USERS)('%s needed every command that it has', (name) => {
    expect([...(seen.get(name) ?? [])].sort()).toEqual(SENT[name])
  })

  test.each(REFUSED)('%s may not %s', async (name, command) => {
    const client = new Redis(urlOf(server, name), { enableReadyCheck: false, disableClientInfo: true, protocol: 2 })
    const [word = '', ...args] = command.split(' ')
    const refusal = await client.call(word, ...args).then(
      () => 'none',
      (error: Error) => error.message,
    )
    client.disconnect()

    expect(refusal).toMatch(/^NOPERM /)
  })
})

async function idleOf(consumerName: string): Promise<number | undefined> {
  const consumers = (await admin.xinfo('CONSUMERS', 'orders', 'billing')) as (string | number)[][]
  const info = consumers.find((fields) => fields.includes(consumerName))
  return info && Number(info[info.indexOf('idle') + 1])
}

/** What a server runs while each user is at work, by the names that an ACL uses; also what scripts call. */
interface CommandWatch {
  readonly seen: Map<string, Set<string>>
  during<T>(user: string, work: () => Promise<T>): Promise<T>
  stop(): void
}

async function watchCommands(client: Redis): Promise<CommandWatch> {
  const seen = new Map<string, Set<string>>()
  let commands: RedisCommand[] = []
  const marks = new Map<string, () => void>()
  const stop = await startMonitor(client, (args) => {
    const [name, text] = args
    if (name === 'echo') marks.get(String(text))?.()
    else if (name !== 'auth') commands.push(args as unknown as RedisCommand) // everybody may AUTH
  })
  /** Resolves once everything before it was seen. */
  const mark = async () => {
    const text = randomUUID()
    const passed = new Promise<void>((resolve) => marks.set(text, resolve))
    await Promise.all([client.echo(text), passed])
  }
  return {
    seen,
    async during(user, work) {
      await mark()
      commands = []
      const result = await work()
      await mark()
      seen.set(user, new Set([...(seen.get(user) ?? []), ...aclNames(commands)]))
      return result
    },
    stop,
  }
}

/** The commands that a script calls, from its text; but for DEL, which it only tries on what is of another type than ours. */
function callsOf({ lua }: LuaScript): RedisCommand[] {
  return [...lua.matchAll(/(?:(?:call|beside|refuses)\(|\{)'(?!DEL')([A-Z]+)'(?:, '([A-Z]+)')?/g)].map(
    ([, ...words]) => words as unknown as RedisCommand,
  )
}

function aclNames(commands: readonly RedisCommand[]): string[] {
  const names = commands.map(([command, ...args]) => {
    const name = command.toLowerCase()
    return ['xinfo', 'xgroup', 'memory'].includes(name) ? `${name}|${String(args[0]).toLowerCase()}` : name
  })
  return [...new Set(names)].sort()
}

describe('without selectors', () => {
  /** What these users may do to the stream all the same: none of it ends it or puts something in its place. */
  const ON_STREAM = [
    'SET orders x',
    'DEL orders',
    'SETNX orders x',
    'GETDEL orders',
    'GETEX orders PX 1',
    'HSET orders a b',
    'ZADD orders 1 a',
  ]

  test.each([PUBLISHER, DEDUPLICATOR, DECIDER, POLLER, CLAIMER, OPERATOR])(
    '%s cannot put an end to the stream',
    async (name) => {
      const own = await startRedisServer()
      onTestFinished(() => own.stop())
      const owner = new Redis(own.url)
      await createAclUsers(owner, 'flat')
      const id = await owner.xadd('orders', '*', 'a', 'b')
      const client = new Redis(urlOf(own, name), { enableReadyCheck: false, disableClientInfo: true, protocol: 2 })
      for (const command of ON_STREAM) {
        const [word = '', ...args] = command.split(' ')
        await client.call(word, ...args).catch(() => {})
      }
      client.disconnect()

      expect(await owner.xrange('orders', '-', '+')).toEqual([[id, ['a', 'b']]])
      expect(await owner.pttl('orders')).toBe(-1)
      owner.disconnect()
    },
  )

  test('events are published, polled and claimed', async () => {
    const own = await startRedisServer()
    onTestFinished(() => own.stop())
    const owner = new Redis(own.url)
    await createAclUsers(owner, 'flat')
    const connections = [PUBLISHER, POLLER, CLAIMER].map((name) => connectIoredis(urlOf(own, name)))
    const [publisher, poller, claimer] = connections as [Connection, Connection, Connection]
    const orders = createPublisher({ stream: 'orders', redis: publisher, retentionMs: 3_600_000 })
    await orders.publishMany(['fine', 'hopeless', 'again'].map((behaviour) => [Order, { behaviour }] as const))

    expect(await poll(billing, { redis: poller })).toMatchObject({ read: 3, acked: 1, deadLettered: 1, retried: 1 })
    expect(await claimOnce(billing, { redis: claimer })).toMatchObject({ claimed: 1, acked: 1 })
    await Promise.all(connections.map((connection) => connection.close()))
    owner.disconnect()
  })
})

import { Redis } from 'ioredis'
import { claim, createPoller } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { accessOf } from 'millrace/operate'
import { describe, expect, onTestFinished, test } from 'vitest'
import { countsOf, readCounts } from '../../demo/activity/account.ts'
import { analytics, fulfilment, monitoring } from '../../functions/activity/consumers.ts'
import { createActivityPublisher } from '../../functions/activity/load.ts'
import { type Simulated, simulateActivity } from '../../functions/activity/simulation.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { type AclUser, createAclUsers, readAclUsers, urlOf } from './acl-users.ts'

const PUBLISHER = 'activity-publisher'
const POLLER = 'activity-poller'
const CLAIMER = 'activity-claimer'
const CONSUMERS = [analytics, fulfilment, monitoring]

/** What the handlers ask for, and what is read before: docs/effects.md. HGET is among what everything of the user may be asked. */
const OF_EFFECTS: Readonly<Record<string, string>> = {
  '{user-actions}:activity:*': 'type hincrby pexpire',
  '{user-orders}:totals:*': 'type hincrby pexpire',
  '{system-metrics}:alarms:*': 'type hincrby pexpire',
  '{user-actions}:users:*': 'type strlen getrange pfadd pexpire',
  '{user-orders}:order:*': 'type hset pexpire',
  '{system-metrics}:peaks:*': 'type zadd zremrangebyrank pexpire',
}

/** One step away from what each may do. */
const REFUSED: readonly (readonly [user: string, command: string])[] = [
  [PUBLISHER, 'XRANGE user-actions - +'],
  [PUBLISHER, 'XADD orders * a b'],
  [PUBLISHER, 'XADD {user-actions}:analytics:dlq * a b'],
  [PUBLISHER, 'DEL user-actions'],
  [PUBLISHER, 'EVAL return(0) 1 user-actions'],
  ...[POLLER, CLAIMER].flatMap((user) =>
    [
      'XADD user-orders * a b',
      'DEL {user-orders}:order:o-1',
      'SET {user-orders}:order:o-1 x',
      'SET user-orders x',
      'HSET {user-actions}:activity:2026-11-29 view 1',
      'HGETALL {user-orders}:order:o-1',
      'PEXPIRE user-orders 1',
      'HINCRBY {user-orders}:order:o-1 a 1',
      'ZADD {system-metrics}:hosts 1 a',
      'XRANGE orders - +',
      'GET {orders}:billing:state',
      'XGROUP DESTROY user-orders fulfilment',
    ].map((command) => [user, command] as const),
  ),
]

const users = await readAclUsers()
const rightsOf = (user: AclUser, key: string) =>
  user.rules.flatMap((rule) => (rule.startsWith('(') && rule.includes(`~${key} `) ? words(rule) : []))
const words = (rule: string) =>
  rule
    .replace(/[()]/g, '')
    .split(' ')
    .filter((word) => word.startsWith('+'))

describe.each([
  [POLLER, 'poller'],
  [CLAIMER, 'claimer'],
] as const)('%s of the ACL file', (name, part) => {
  const user = users.get(name) as AclUser

  test('has the keys and commands that its three consumers need, those of effects, and no other', () => {
    const needed = CONSUMERS.flatMap((consumer) => {
      const access = accessOf(consumer)[part]
      return access.match(/\([^)]*\)|\S+/g) as string[]
    })
    const rootKeys = needed.filter((rule) => rule.startsWith('~')).map((rule) => rule.slice(1))
    const commands = needed.flatMap((rule) => words(rule)).map((word) => word.slice(1))

    expect([...user.keys].sort()).toEqual([...rootKeys, ...Object.keys(OF_EFFECTS)].sort())
    expect([...user.commands].sort()).toEqual(
      [...new Set([...commands, ...Object.values(OF_EFFECTS).flatMap((text) => text.split(' '))])].sort(),
    )
    expect(user.rules).toContain('-@all')
  })

  test.each(Object.entries(OF_EFFECTS))('may do to %s what its effects are', (key, commands) => {
    expect(rightsOf(user, key).sort()).toEqual(
      commands
        .split(' ')
        .map((word) => `+${word}`)
        .sort(),
    )
  })
})

describe('under the users of activity', () => {
  test.each(['rules', 'flat'] as const)('events are published, polled, claimed and counted, by %s', async (form) => {
    const { server, raw, connectAs } = await start(form)
    const published = await publish(connectAs(PUBLISHER))
    // what a process left behind that died
    for (const { stream, group } of CONSUMERS) {
      await raw.xgroup('CREATE', stream, group, '0')
      await raw.xreadgroup('GROUP', group, 'poller-3', 'COUNT', 20, 'STREAMS', stream, '>')
    }
    expect(await createPoller(CONSUMERS, { redis: connectAs(POLLER) })()).toMatchObject({ unsettled: 0 })
    for (const { stream, group } of CONSUMERS) await makeIdle(raw, stream, group)
    const claimer = connectAs(CLAIMER)
    await expect
      .poll(async () => {
        expect(await claim(CONSUMERS, { redis: claimer, lingerMs: 0 })).toMatchObject({ unsettled: 0, deadLettered: 0 })
        return readCounts(raw)
      }, POLL)
      .toEqual(countsOf(published))
    expect(server.url).toMatch(/^redis:/)
  })

  const rights = Object.entries(OF_EFFECTS).flatMap(([key, commands]) =>
    commands.split(' ').map((command) => [command, key] as const),
  )
  test.each(rights)('nothing is counted without +%s on %s', async (command, key) => {
    const { raw, connectAs } = await start('rules')
    const { rules } = users.get(POLLER) as AclUser
    const less = rules.map((rule) =>
      rule.startsWith('(') && rule.includes(`~${key} `)
        ? rule.replaceAll(new RegExp(`\\+${command}(?=[ )])`, 'g'), '')
        : rule,
    )
    const without = less.map((rule) => rule.replace(/ +/g, ' ').replace(' )', ')'))
    await raw.call('ACL', 'SETUSER', POLLER, 'reset', '>only-in-tests', ...without)
    await publish(connectAs(PUBLISHER))

    const error = await createPoller(CONSUMERS, { redis: connectAs(POLLER) })().catch((thrown: Error) => thrown)

    expect(String(error)).toMatch(/NOPERM|The user executing the script can't/)
  })

  test('each may do no more', async () => {
    const { server } = await start('rules')
    const answers: [string, string, string][] = []
    for (const [user, command] of REFUSED) {
      const client = new Redis(urlOf(server, user), { enableReadyCheck: false, disableClientInfo: true, protocol: 2 })
      const [word = '', ...args] = command.split(' ')
      const answer = await client.call(word, ...args).then(
        () => 'none',
        (error: Error) => error.message.split(' ')[0] as string,
      )
      client.disconnect()
      answers.push([user, command, answer])
    }

    expect(answers.filter(([, , answer]) => answer !== 'NOPERM')).toEqual([])
  })
})

const POLL = { timeout: 20_000, interval: 100 }

async function start(form: 'rules' | 'flat') {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  await createAclUsers(raw, form)
  const connections: ReturnType<typeof connectIoredis>[] = []
  onTestFinished(async () => {
    await Promise.all(connections.map((connection) => connection.close()))
    raw.disconnect()
    await server.stop()
  })
  return {
    server,
    raw,
    connectAs(user: string) {
      const connection = connectIoredis(urlOf(server, user))
      connections.push(connection)
      return connection
    },
  }
}

async function publish(redis: ReturnType<typeof connectIoredis>): Promise<readonly Simulated[]> {
  const events = simulateActivity({ seed: 1, run: 'test', users: 10 })
  const published = Array.from({ length: 600 }, () => events.next().value as Simulated)
  await createActivityPublisher(redis)(published)
  return published
}

async function makeIdle(raw: Redis, stream: string, group: string): Promise<void> {
  const rows = (await raw.xpending(stream, group, '-', '+', 1_000)) as [id: string, owner: string][]
  for (const [id, owner] of rows)
    if (owner !== 'parked') await raw.xclaim(stream, group, owner, 0, id, 'IDLE', 3_600_000, 'JUSTID')
}

import { Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'
import { accessOf } from 'millrace/operate'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { startAgain } from '../../functions/fan-out/cache.ts'
import { createAsk } from '../../functions/shared/ask.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { type AclUser, createAclUsers, readAclUsers, takenBy, urlOf, wordsOf } from './acl-users.ts'

vi.hoisted(() => {
  process.env.REDIS_URL = 'redis://127.0.0.1:1'
})
const { groups } = await import('../../functions/fan-out/consumers.ts')

const ROLES = [
  ['fan-out-poller', 'poller'],
  ['fan-out-claimer', 'claimer'],
] as const

/** What the handlers ask for and read, by key: docs/effects.md. HGET and EXISTS are among what everything of the user may be asked. */
const OF_EFFECTS: Readonly<Record<string, string>> = {
  '{shop-orders}:account:*': 'type hincrby',
  '{shop-orders}:ledger': 'type hincrby',
  '{shop-orders}:document:*': 'type hset pexpire',
  '{shop-orders}:orders-of:*': 'type zadd zremrangebyrank pexpire',
  '{shop-orders}:page:*': 'type del',
  '{shop-orders}:list:*': 'type del',
}

/** One step away from what each may do. */
const REFUSED: readonly (readonly [user: string, command: string])[] = [
  ['fan-out-publisher', 'XRANGE shop-orders - +'],
  ['fan-out-publisher', 'XADD orders * a b'],
  ['fan-out-publisher', 'HSET {shop-orders}:ledger paid 1'],
  ...ROLES.flatMap(([user]) =>
    [
      'XADD shop-orders * a b',
      'SET shop-orders x',
      'DEL shop-orders',
      'DEL {shop-orders}:ledger',
      'HSET {shop-orders}:ledger paid 1',
      'HSET {shop-orders}:account:c-1 paid 1',
      'HGETALL {shop-orders}:document:o-1',
      'SET {shop-orders}:page:o-1 x',
      'XGROUP DESTROY shop-orders cache',
      'XGROUP SETID shop-orders cache 0',
      'GET {orders}:billing:state',
    ].map((command) => [user, command] as const),
  ),
  ['fan-out-read', 'HSET {shop-orders}:document:o-1 a b'],
  ['fan-out-read', 'HGETALL {shop-orders}:account:c-1'],
  ['fan-out-read', 'XGROUP SETID shop-orders cache 0'],
  ['fan-out-operator', 'XRANGE shop-orders - +'],
  ['fan-out-operator', 'XGROUP DESTROY shop-orders cache'],
]

const users = await readAclUsers()

describe.each(ROLES)('%s of the ACL file', (name, part) => {
  const user = users.get(name) as AclUser
  const needed = groups.flatMap((group) => accessOf(group)[part].match(/\([^)]*\)|\S+/g) as string[])

  test('has the keys that its six groups and their effects need, and no other', () => {
    const keys = needed.filter((rule) => rule.startsWith('~')).map((rule) => rule.slice(1))

    expect([...user.keys].sort()).toEqual([...new Set([...keys, ...Object.keys(OF_EFFECTS)])].sort())
  })

  test('has the commands of its six groups and their effects, and no other', () => {
    const effects = Object.values(OF_EFFECTS).flatMap((text) => text.split(' '))
    const expected = new Set([...needed.flatMap(wordsOf), ...effects])

    expect([...user.commands].sort()).toEqual([...expected].sort())
    expect(user.rules).toContain('-@all')
  })

  test.each(Object.entries(OF_EFFECTS))('may do to %s what its effects are', (key, commands) => {
    const own = user.rules.filter((rule) => rule.startsWith('(') && rule.match(/~\S+/g)?.includes(`~${key}`))

    expect(own.flatMap(wordsOf).sort()).toEqual(commands.split(' ').sort())
  })
})

test('cache invalidation starts again under a user that may do nothing else', async () => {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  const owner = new Redis(server.url)
  await createAclUsers(owner)
  await owner.xgroup('CREATE', 'shop-orders', 'cache', '9-0', 'MKSTREAM')
  const redis = connectIoredis(urlOf(server, 'fan-out-operator'))
  const cache = groups.find(({ group }) => group === 'cache') as (typeof groups)[number]
  await startAgain(createAsk(redis, cache), '7-3')
  await redis.close()
  expect(await owner.xinfo('GROUPS', 'shop-orders')).toEqual([expect.arrayContaining(['last-delivered-id', '7-2'])])
  owner.disconnect()
})

test('each may do no more', async () => {
  expect(await takenBy(REFUSED)).toEqual([])
})

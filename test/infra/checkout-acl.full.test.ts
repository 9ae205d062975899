import { accessOf } from 'millrace/operate'
import { describe, expect, test, vi } from 'vitest'
import { type AclUser, readAclUsers, takenBy, wordsOf } from './acl-users.ts'

vi.hoisted(() => {
  process.env.REDIS_URL = 'redis://127.0.0.1:1'
})
const { services } = await import('../../functions/checkout/consumers.ts')

const ROLES = [
  ['checkout-poller', 'poller'],
  ['checkout-claimer', 'claimer'],
] as const

/** What the handlers ask for and read, by key: docs/effects.md. HGET and EXISTS are among what everything of the user may be asked. */
const OF_EFFECTS: Readonly<Record<string, string>> = {
  '{checkout}:row:*': 'type hmget hset hdel pexpire',
  '{checkout}:open': 'type zadd zrem',
  '{checkout}:stock': 'type hincrby',
  '{checkout}:stats': 'type hincrby',
}

/** What services publish and delay by, as orders-delayer does: the line of who promotes delays has the keys but for this one. */
const OF_PUBLISHER = '{checkout}::published::*'

/** One step away from what each may do. */
const REFUSED: readonly (readonly [user: string, command: string])[] = [
  ['checkout-publisher', 'XRANGE checkout - +'],
  ['checkout-publisher', 'XADD orders * a b'],
  ['checkout-publisher', 'HSET {checkout}:row:o-1 order paid'],
  ...ROLES.flatMap(([user]) =>
    [
      'XADD orders * a b',
      'SET checkout x',
      'HSET checkout a b',
      'PEXPIRE checkout 1',
      'PEXPIREAT checkout 1',
      'DEL {checkout}:row:o-1',
      'SET {checkout}:row:o-1 x',
      'HGETALL {checkout}:row:o-1',
      'HINCRBY {checkout}:row:o-1 a 1',
      'HSET {checkout}:stock chair 1000',
      'ZADD {checkout}:stats 1 a',
      'XGROUP DESTROY checkout order',
      'GET {orders}:billing:state',
    ].map((command) => [user, command] as const),
  ),
  ['checkout-read', 'HSET {checkout}:row:o-1 a b'],
  ['checkout-read', 'XRANGE {checkout}:order:dlq - +'],
  ['checkout-read', 'XRANGE checkout - +'],
  ['checkout-read', 'HGETALL {checkout}:stock'],
]

const users = await readAclUsers()

describe.each(ROLES)('%s of the ACL file', (name, part) => {
  const user = users.get(name) as AclUser
  const needed = services.flatMap((service) => accessOf(service)[part].match(/\([^)]*\)|\S+/g) as string[])

  test('has the keys that its five services and their effects need, and no other', () => {
    const keys = needed.filter((rule) => rule.startsWith('~')).map((rule) => rule.slice(1))

    expect([...user.keys].sort()).toEqual([...new Set([...keys, ...Object.keys(OF_EFFECTS), OF_PUBLISHER])].sort())
  })

  test('has the commands of its five services, their effects and what delays, and no other', () => {
    const delayer = (users.get('orders-delayer') as AclUser).commands
    const effects = Object.values(OF_EFFECTS).flatMap((text) => text.split(' '))
    const expected = new Set([...needed.flatMap(wordsOf), ...delayer, ...effects])

    expect([...user.commands].sort()).toEqual([...expected].sort())
    expect(user.rules).toContain('-@all')
  })

  test.each(Object.entries(OF_EFFECTS))('may do to %s what its effects are', (key, commands) => {
    const own = user.rules.filter((rule) => rule.startsWith('(') && rule.match(/~\S+/g)?.includes(`~${key}`))

    expect(own.flatMap(wordsOf).sort()).toEqual(commands.split(' ').sort())
  })
})

test('each may do no more', async () => {
  expect(await takenBy(REFUSED)).toEqual([])
})

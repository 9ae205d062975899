import { accessOf } from 'millrace/operate'
import { describe, expect, test, vi } from 'vitest'
import { type AclUser, readAclUsers, takenBy, wordsOf } from './acl-users.ts'

vi.hoisted(() => {
  process.env.REDIS_URL = 'redis://127.0.0.1:1'
})
const { delivery } = await import('../../functions/webhooks/consumer.ts')

const ROLES = [
  ['webhooks-poller', 'poller'],
  ['webhooks-claimer', 'claimer'],
] as const

/** What the handler asks for and reads, and what its effects do, by key: docs/effects.md. HGET and GET are among what everything of the user may be asked. */
const OF_HANDLER: Readonly<Record<string, string>> = {
  '{webhooks}:endpoint:*': 'type hmget hset',
  '{webhooks}:stats:*': 'type hincrby pexpire',
  '{webhooks}:sent:*': 'type set del',
  '{webhooks}:paused': 'zadd',
  '{webhooks}:failures': 'type hincrby hdel',
}

/** One step away from what each may do. */
const REFUSED: readonly (readonly [user: string, command: string])[] = [
  ['webhooks-publisher', 'XRANGE webhooks - +'],
  ['webhooks-publisher', 'HSET {webhooks}:endpoint:m-1 url x'],
  ['webhooks-registrar', 'HGET {webhooks}:endpoint:m-1 secrets'],
  ['webhooks-registrar', 'XADD webhooks * a b'],
  ['webhooks-registrar', 'HDEL {webhooks}:paused m-1'],
  ['webhooks-registrar', 'ZREM {webhooks}:failures m-1'],
  ['webhooks-registrar', 'ZADD {webhooks}:paused 1 m-1'],
  ...ROLES.flatMap(([user]) =>
    [
      'SET webhooks x',
      'DEL webhooks',
      'PEXPIRE webhooks 1',
      'XADD webhooks * a b',
      'DEL {webhooks}:endpoint:m-1',
      'HDEL {webhooks}:endpoint:m-1 secrets',
      'SET {webhooks}:stats:m-1:2026-01-01 x',
      'DEL {webhooks}:delivery:event:id:e-1',
      'XGROUP DESTROY webhooks delivery',
      'GET {orders}:billing:state',
    ].map((command) => [user, command] as const),
  ),
  ['webhooks-read', 'HGETALL {webhooks}:endpoint:m-1'],
  ['webhooks-read', 'HMGET {webhooks}:endpoint:m-1 secrets'],
  ['webhooks-read', 'XADD webhooks * a b'],
  ['webhooks-read', 'ZADD {webhooks}:paused 1 m-1'],
]

const users = await readAclUsers()

describe.each(ROLES)('%s of the ACL file', (name, part) => {
  const user = users.get(name) as AclUser
  const needed = accessOf(delivery)[part].match(/\([^)]*\)|\S+/g) as string[]

  test('has the keys that its consumer and its handler need, and no other', () => {
    const keys = needed.filter((rule) => rule.startsWith('~')).map((rule) => rule.slice(1))

    expect([...user.keys].sort()).toEqual([...new Set([...keys, ...Object.keys(OF_HANDLER)])].sort())
  })

  test('has the commands of its consumer and its handler, and no other', () => {
    const handler = Object.values(OF_HANDLER).flatMap((text) => text.split(' '))
    const expected = new Set([...needed.flatMap(wordsOf), ...handler])

    expect([...user.commands].sort()).toEqual([...expected].sort())
    expect(user.rules).toContain('-@all')
  })

  test.each(Object.entries(OF_HANDLER))('may do to %s what its handler does', (key, commands) => {
    const own = user.rules.filter((rule) => rule.startsWith('(') && rule.match(/~\S+/g)?.includes(`~${key}`))
    // what the policy asks of it
    const beside = key === '{webhooks}:paused' && part === 'poller' ? ['zscore'] : []

    expect(own.flatMap(wordsOf).sort()).toEqual([...commands.split(' '), ...beside].sort())
  })
})

test('each may do no more', async () => {
  expect(await takenBy(REFUSED)).toEqual([])
})

import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { lambdaContext } from '../../demo/schedule.ts'
import { addressOf, ChangeEmail, DeactivateUser, RegisterUser, RenameUser } from '../../examples/users/events.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { createAclUsers, urlOf } from '../infra/acl-users.ts'

const FOLDER = join(import.meta.dirname, '../../examples/users')

let server: PrivateRedis
let raw: Redis
let users: Users

beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  users = await loadFor(server.url)
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await close(users)
  raw.disconnect()
  await server.stop()
})
beforeEach(() => raw.flushall())

type Users = Awaited<ReturnType<typeof loadFor>>

/** Loads the system: its modules read the environment. */
async function loadFor(url: string) {
  const environment = {
    REDIS_URL: url,
    PROFILES: 'v1,v2',
    POWERTOOLS_METRICS_DISABLED: 'true',
    POWERTOOLS_LOG_LEVEL: 'SILENT',
  }
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  const { claim, poll } = await import('millrace')
  const { redis, client } = await import('../../examples/users/redis.ts')
  const { deciding, directory, profiles } = await import('../../examples/users/consumers.ts')
  const { handler: poller } = await import('../../examples/users/poller.ts')
  const { handler: claimer } = await import('../../examples/users/claimer.ts')
  const { handler: switchTo } = await import('../../examples/users/switch.ts')
  const projections = await import('../../examples/users/projections.ts')
  const outcomes = await import('../../examples/users/outcomes.ts')
  return {
    claim,
    poll,
    redis,
    client,
    deciding,
    directory,
    profiles,
    poller,
    claimer,
    switchTo,
    ...projections,
    ...outcomes,
  }
}

async function close({ client, redis }: Users): Promise<void> {
  client.disconnect()
  await redis.close()
}

type Command = Parameters<typeof users.commands.publishMany>[0][number]

/** Sends commands, works through them, and resolves to their outcomes: `done 1`, `refused email-taken`. */
async function outcomesOf(...commands: Command[]): Promise<string[]> {
  const sent = await users.commands.publishMany(commands)
  await settle()
  return Promise.all(sent.map(({ eventId }) => outcomeOf(eventId)))
}

async function outcomeOf(commandId: string): Promise<string> {
  const outcome = await users.awaitOutcome(commandId, 0)
  return Object.values(outcome).join(' ')
}

/** Until nothing is left to do. */
async function settle(consumers = [users.deciding, users.directory, ...users.profiles]): Promise<void> {
  for (const consumer of consumers) {
    for (;;) {
      await users.poll(consumer, { redis: users.redis })
      await users.claim(consumer, { redis: users.redis })
      const { pending, lag } = await stateOf(consumer.stream, consumer.group)
      if (pending + lag === 0) break
      await sleep(20)
    }
  }
}

async function stateOf(stream: string, group: string) {
  const groups = (await raw.xinfo('GROUPS', stream)) as (string | number)[][]
  const flat = groups.find((each) => each.includes(group)) ?? []
  const read = (name: string) => Number(flat[flat.indexOf(name) + 1])
  return { pending: read('pending'), lag: read('lag') }
}

const register = (userId: string, email: string) => [RegisterUser, { userId, email, name: 'Ada' }] as const

describe('commands', () => {
  test('have outcomes that their sender reads, refusals too', async () => {
    const [ada, bob, nobody] = [randomUUID(), randomUUID(), randomUUID()]
    await outcomesOf(register(ada, 'Ada@Example.com'))

    expect(await outcomesOf(register(bob, 'ada@example.COM'))).toEqual(['refused email-taken'])
    expect(await outcomesOf(register(ada, 'other@example.com'))).toEqual(['refused user-exists'])
    expect(await outcomesOf([RenameUser, { userId: nobody, name: 'N' }])).toEqual(['refused unknown-user'])
    expect(await outcomesOf([RenameUser, { userId: ada, name: ' Ada L. ' }])).toEqual(['done 2'])
    expect(await outcomesOf([ChangeEmail, { userId: ada, email: 'ADA@example.com' }])).toEqual(['done 2'])
    expect(await outcomesOf([DeactivateUser, { userId: ada }])).toEqual(['done 3'])
    expect(await outcomesOf([DeactivateUser, { userId: ada }])).toEqual(['refused deactivated'])
    expect(await outcomesOf(register(bob, 'ada@example.com'))).toEqual(['refused email-taken'])
    expect(await users.readProfile(ada)).toEqual({
      userId: ada,
      version: 3,
      email: 'ada@example.com',
      name: 'Ada L.',
      active: false,
    })
  })

  test('give an address to one of many at once, and to another when it is free', async () => {
    const all = Array.from({ length: 50 }, () => randomUUID())
    const outcomes = await outcomesOf(...all.map((userId) => register(userId, 'one@example.com')))
    const winner = all[outcomes.indexOf('done 1')] as string

    expect(outcomes.toSorted()).toEqual(['done 1', ...Array.from({ length: 49 }, () => 'refused email-taken')])
    await outcomesOf([ChangeEmail, { userId: winner, email: 'two@example.com' }])
    expect(await outcomesOf(register(randomUUID(), 'one@example.com'))).toEqual(['done 1'])
    expect(await raw.hgetall('{users}:addresses')).toEqual({ 'one@example.com': '1', 'two@example.com': '1' })
  })

  test('for one user at once take place one after the other', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId, 'a@example.com'))
    const outcomes = await outcomesOf(
      [ChangeEmail, { userId, email: 'b@example.com' }],
      [RenameUser, { userId, name: 'B' }],
      [ChangeEmail, { userId, email: 'c@example.com' }],
    )
    const events = await raw.xrange('{users}:events', '-', '+')
    const versions = events.map(([, fields]) => JSON.parse(fields[fields.indexOf('payload') + 1] as string).version)

    expect(outcomes.toSorted()).toEqual(['done 2', 'done 3', 'done 4'])
    expect(versions).toEqual([1, 2, 3, 4])
    expect(await raw.hlen('{users}:addresses')).toBe(1)
  })

  test('that come twice happen once', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId, 'a@example.com'))
    const rename = [RenameUser, { userId, name: 'B' }, { eventId: 'rename-1' }] as const
    await outcomesOf(rename)
    await outcomesOf([RenameUser, { userId, name: 'C' }])

    expect(await outcomesOf(rename)).toEqual(['done 2'])
    expect(await users.readProfile(userId)).toMatchObject({ name: 'C', version: 3 })
  })

  test('that cannot be read are dead letters, which their sender hears of', async () => {
    const payload = JSON.stringify({ userId: 'u', email: 'nobody', name: '' })
    await raw.xadd('{users}:commands', '*', 'eventId', 'c-1', 'eventType', 'RegisterUser', 'payload', payload)
    await settle([users.deciding])

    expect(await outcomeOf('c-1')).toBe('failed invalid')
    expect(await raw.xlen('{users}:commands:deciding:dlq')).toBe(1)
  })

  test('of a type that nobody knows are dead letters, which their sender hears of', async () => {
    await raw.xadd('{users}:commands', '*', 'eventId', 'c-1', 'eventType', 'DropUsers', 'payload', '{}')
    await settle([users.deciding])

    expect(await outcomeOf('c-1')).toBe('failed unrouted')
  })

  test('of two users that want the address of the other are refused, and both keep theirs', async () => {
    const [ada, bob] = [randomUUID(), randomUUID()]
    await outcomesOf(register(ada, 'ada@example.com'), register(bob, 'bob@example.com'))

    expect(
      await outcomesOf(
        [ChangeEmail, { userId: ada, email: 'bob@example.com' }],
        [ChangeEmail, { userId: bob, email: 'ada@example.com' }],
      ),
    ).toEqual(['refused email-taken', 'refused email-taken'])
    expect(await raw.hkeys('{users}:addresses')).toEqual(['ada@example.com', 'bob@example.com'])
  })

  test('that change an address forth and back at once leave the user one address', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId, 'a@example.com'))
    const emails = ['b@example.com', 'a@example.com', 'b@example.com', 'a@example.com', 'b@example.com']
    const outcomes = await outcomesOf(...emails.map((email) => [ChangeEmail, { userId, email }] as const))

    expect(outcomes.every((outcome) => outcome.startsWith('done'))).toBe(true)
    expect(await raw.hkeys('{users}:addresses')).toEqual([(await users.readProfile(userId))?.email])
  })

  test('decided on a version that is gone change nothing, and are decided again', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId, 'a@example.com'))
    for (const name of ['B', 'C']) await outcomesOf([RenameUser, { userId, name }])
    const sent = await users.commands.publish(RenameUser, { userId, name: 'D' })
    const { client } = users
    // a failover takes back a version between the decision and its effects
    const reading = vi.spyOn(client, 'hgetall').mockImplementationOnce(async (key) => {
      const fields = await raw.hgetall(String(key))
      await raw.hset(String(key), { version: '2', name: 'B' })
      return fields
    })
    await settle()
    reading.mockRestore()

    expect(await outcomeOf(sent.eventId)).toBe('done 3')
    expect(await raw.hget(`{users}:user:${userId}`, 'version')).toBe('3')
  })

  test('that a group reads again a day later are carried out by nobody', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId, 'a@example.com'))
    const dayAgo = Date.now() - 86_400_000 - 1_000
    const payload = JSON.stringify({ userId, name: 'yesterday' })
    await raw.del('{users}:commands')
    await raw.xadd('{users}:commands', `${dayAgo}-0`, 'eventId', 'old', 'eventType', 'RenameUser', 'payload', payload)
    await raw.xgroup('CREATE', '{users}:commands', 'deciding', '0')
    await settle()

    expect(await outcomeOf('old')).toBe('unknown')
    expect(await raw.xlen('{users}:commands:deciding:dlq')).toBe(1)
    expect(await users.readProfile(userId)).toMatchObject({ name: 'Ada', version: 1 })
  })

  test('for a user are for one user, however the id is written', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId.toUpperCase(), 'a@example.com'))

    expect(await outcomesOf(register(userId, 'b@example.com'))).toEqual(['refused user-exists'])
    expect(await users.readProfile(userId.toUpperCase())).toEqual(await users.readProfile(userId))
    expect(await users.readProfile(userId)).toMatchObject({ userId })
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])('are not waited for %s milliseconds', async (timeoutMs) => {
    await expect(users.awaitOutcome('nobody-sent-it', timeoutMs)).rejects.toThrow(RangeError)
  })

  test('whose outcome is not there in time are unknown', async () => {
    const startedAt = performance.now()

    expect(await users.awaitOutcome('nobody-sent-it', 60)).toEqual({ state: 'unknown' })
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })
})

describe('addressOf()', () => {
  test.each([
    ['ADA@Example.COM', 'ada@example.com'],
    ['ﬁ@example.com', 'fi@example.com'],
    ['ada@bücher.example', 'ada@xn--bcher-kva.example'],
    ['a@b@example.com', 'a@b@example.com'],
  ])('writes %s as %s', (email, address) => {
    expect(addressOf(email)).toBe(address)
    expect(addressOf(address)).toBe(address)
  })

  test.each([
    '',
    'ada',
    '@example.com',
    'ada@',
    'a b@example.com',
    'a@b@example.com',
    `${'a'.repeat(65)}@example.com`,
    'ada@exa mple.com',
    `ada@${'a'.repeat(250)}.com`,
    'ada@\u2024.com',
    // what one does not see
    'a\u200bda@example.com',
    'a\u00adda@example.com',
    'ada\u0000@example.com',
    '\u202eada@example.com',
    'ada\ufe0f@example.com',
    'ada\ud800@example.com',
    // other texts for the same domain, or none
    'ada@example.com.',
    'ada@example.com/x',
    'ada@example.com?x',
    'ada@example.com#x',
    'ada@example.com\\\\x',
    'ada@%65xample.com',
    'ada@1.2',
    'ada@x..com',
    'ada@.x.com',
    'ada@-x.com',
    `ada@${'a'.repeat(64)}.com`,
  ])('RegisterUser refuses %j', async (email) => {
    const payload = { userId: randomUUID(), email, name: 'Ada' }

    expect(await RegisterUser.payload['~standard'].validate(payload)).toHaveProperty('issues')
  })
})

test('RegisterUser refuses a name with half a character, which Redis would make another one', async () => {
  const payload = { userId: randomUUID(), email: 'ada@example.com', name: 'Ada \ud83d' }

  expect(await RegisterUser.payload['~standard'].validate(payload)).toHaveProperty('issues')
})

describe('projections', () => {
  test('of profiles keep the newest state, in whatever order events come, and again', async () => {
    const userId = randomUUID()
    await outcomesOf(register(userId, 'a@example.com'), register(randomUUID(), 'b@example.com'))
    for (const name of ['B', 'C', 'D']) await outcomesOf([RenameUser, { userId, name }])
    const events = await raw.xrange('{users}:events', '-', '+')
    await raw.del('{users}:events', `{users}:profiles-v1:${userId}`)
    for (const [, fields] of [...events.toReversed(), ...events]) await raw.xadd('{users}:events', '*', ...fields)
    await settle([...users.profiles])

    expect(await users.readProfile(userId)).toMatchObject({ name: 'D', version: 4 })
  })

  test('of profiles read the newest state, though a far older one was not swept', async () => {
    const userId = randomUUID()
    const payloadOf = (version: number) =>
      JSON.stringify({ userId, version, email: 'a@example.com', name: `N${version}`, active: true })
    for (const version of [1, 12])
      await raw.xadd(
        '{users}:events',
        '*',
        'eventId',
        `e-${version}`,
        'eventType',
        'UserRenamed',
        'payload',
        payloadOf(version),
      )
    await settle([...users.profiles])

    expect(await raw.hlen(`{users}:profiles-v1:${userId}`)).toBe(2)
    expect(await users.readProfile(userId)).toMatchObject({ version: 12, name: 'N12' })
  })

  test('of domains count active users, also when their group is lost', async () => {
    const [ada, bob] = [randomUUID(), randomUUID()]
    await outcomesOf(register(ada, 'ada@one.example'), register(bob, 'bob@one.example'))
    await raw.xgroup('DESTROY', '{users}:events', 'directory')
    await raw.del('{users}:events:directory:state')
    await outcomesOf([ChangeEmail, { userId: ada, email: 'ada@two.example' }])
    await outcomesOf([DeactivateUser, { userId: bob }])

    expect(await users.countActiveUsers('one.example')).toBe(0)
    expect(await users.countActiveUsers('two.example')).toBe(1)
    expect(await users.countActiveUsers('three.example')).toBe(0)
  })

  test('are switched to once they have what the present one has, not before', async () => {
    const userId = randomUUID()
    const [first, second] = users.profiles as [typeof users.directory, typeof users.directory]
    await users.commands.publishMany([register(userId, 'a@example.com')])
    await settle([users.deciding, first])
    await raw.xgroup('CREATE', '{users}:events', 'profiles-v2', '0')

    await expect(users.switchTo({ to: 'profiles-v3', timeoutMs: 0 })).rejects.toThrow('no such group')
    await expect(users.switchTo({ to: 'profiles-v2', timeoutMs: 0 })).rejects.toThrow('it is behind')
    await settle([second])
    await users.switchTo({ to: 'profiles-v2' })
    await raw.del(`{users}:profiles-v1:${userId}`)
    expect(await users.readProfile(userId)).toMatchObject({ version: 1 })
  })
})

describe('switch', () => {
  test.each(['directory', '', 'profiles-v1 ', '{users}', undefined, null])(
    'refuses %j, which names no profiles',
    async (to) => {
      await outcomesOf(register(randomUUID(), 'a@example.com'))

      await expect(users.switchTo({ to: to as string, timeoutMs: 0 })).rejects.toThrow(RangeError)
      expect(await raw.get('{users}:profiles')).toBeNull()
    },
  )

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])('does not wait %s milliseconds', async (timeoutMs) => {
    await expect(users.switchTo({ to: 'profiles-v2', timeoutMs })).rejects.toThrow(RangeError)
  })

  test('from a projection whose group is gone needs everything that there is', async () => {
    await outcomesOf(register(randomUUID(), 'a@example.com'))
    await raw.xgroup('DESTROY', '{users}:events', 'profiles-v1')
    await raw.xgroup('SETID', '{users}:events', 'profiles-v2', '0')

    await expect(users.switchTo({ to: 'profiles-v2', timeoutMs: 0 })).rejects.toThrow('it is behind')
    await settle([...users.profiles])
    await users.switchTo({ to: 'profiles-v2' })
  })

  test('waits for what is pending or a dead letter', async () => {
    await outcomesOf(register(randomUUID(), 'a@example.com'))
    await raw.xadd('{users}:events', '*', 'eventId', 'e', 'eventType', 'UserRenamed', 'payload', '{}')
    await raw.xreadgroup('GROUP', 'profiles-v2', 'poller-9', 'STREAMS', '{users}:events', '>')

    await expect(users.switchTo({ to: 'profiles-v2', timeoutMs: 0 })).rejects.toThrow('it has pending events')
    await raw.xgroup('SETID', '{users}:events', 'profiles-v2', '0')
    await raw.xack('{users}:events', 'profiles-v2', ...(await raw.xrange('{users}:events', '-', '+')).map(([id]) => id))
    await settle([...users.profiles])
    await expect(users.switchTo({ to: 'profiles-v2', timeoutMs: 0 })).rejects.toThrow('it has dead letters')
  })
})

test('each function, and who sends, does with the rights of its Redis user', async () => {
  await createAclUsers(raw, 'rules', join(FOLDER, 'redis-acl.txt'))
  const parts: Users[] = []
  for (const user of ['sender', 'poller', 'claimer', 'switch']) {
    vi.resetModules()
    parts.push(await loadFor(urlOf(server, `users-${user}`)))
  }
  const [sender, poller, claimer, operator] = parts as [Users, Users, Users, Users]
  onTestFinished(async () => void (await Promise.all(parts.map(close))))
  const userId = randomUUID()

  const sent = await sender.commands.publishMany(Array.from({ length: 5 }, () => register(userId, 'a@example.com')))
  await raw.xadd('{users}:commands', '*', 'eventId', 'c-1', 'eventType', 'RegisterUser', 'payload', '{}')
  const context = { ...lambdaContext('poller'), getRemainingTimeInMillis: countDown(13_000) }
  await poller.poller({ source: 'aws.scheduler' }, context)
  // what a poller that died left behind
  await sender.commands.publish(RenameUser, { userId, name: 'C' })
  await raw.xreadgroup('GROUP', 'deciding', 'poller-3', 'STREAMS', '{users}:commands', '>')
  const left = (await raw.xpending('{users}:commands', 'deciding', '-', '+', 9)) as [string][]
  for (const [id] of left)
    await raw.xclaim('{users}:commands', 'deciding', 'poller-3', 0, id, 'IDLE', 600_000, 'JUSTID')
  await claimer.claimer({ source: 'aws.scheduler' }, lambdaContext('claimer'))
  await poller.poller({ source: 'aws.scheduler' }, { ...context, getRemainingTimeInMillis: countDown(13_000) })
  await operator.switchTo({ to: 'profiles-v2' })

  const outcomes = await Promise.all(sent.map(({ eventId }) => sender.awaitOutcome(eventId, 0)))
  expect(outcomes.map(({ state }) => state)).toEqual(expect.arrayContaining(['done', 'refused']))
  expect(await sender.awaitOutcome('c-1', 0)).toEqual({ state: 'failed', reason: 'invalid' })
  expect(await sender.readProfile(userId)).toMatchObject({ name: 'C' })
  expect(await sender.countActiveUsers('example.com')).toBe(1)
  expect(await raw.acl('LOG')).toEqual([])
})

function countDown(ms: number): () => number {
  const deadline = performance.now() + ms
  return () => Math.max(0, deadline - performance.now())
}

import { readFile } from 'node:fs/promises'
import { Redis } from 'ioredis'
import type { Connection, ConsumerOptions, PolicyDefinition } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  createPoller,
  createPublisher,
  defineConsumer,
  defineEvent,
  definePolicy,
  idempotent,
  on,
  poll,
  promoteDelays,
  rateLimit,
} from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { accessOf, diagnose, openBreakers } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { startRedisServer } from '../../tools/redis-server.ts'
import { readAclUsers } from '../infra/acl-users.ts'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'

const Paid = defineEvent('Paid', { payload: z.object({ id: z.string() }) })

/** Asks, joins, rides along and says goodbye, each on a key of its own. */
const busy = definePolicy({
  name: 'busy',
  guard: () => ({ key: '{orders}:paused', holds: 'all' }),
  needs: () => ({
    keys: [
      { key: '{orders}:seen:*', commands: ['EXISTS', 'SET'] },
      { key: '{orders}:billing:types', commands: ['smembers'] },
      { key: '{orders}:runs', commands: ['incr'] },
    ],
  }),
  begin: () => ({
    riders: () => [['SMEMBERS', '{orders}:billing:types']],
    answered: ([reply]) => {
      if (reply instanceof Error) throw reply
    },
    questions: (jobs) => jobs.map(({ event }) => ['EXISTS', `{orders}:seen:${event?.eventId}`]),
    admit: (_jobs, replies) =>
      replies.map((reply) => {
        if (reply instanceof Error) throw reply
        return reply === 1 ? { action: 'ignore' } : undefined
      }),
    joins: ({ event }) => [['SET', `{orders}:seen:${event?.eventId}`, '1', 'PX', 60_000]],
    end: () => [['INCR', '{orders}:runs']],
  }),
})

/** A set of types in Redis, of which nothing is started. */
const pauses = definePolicy({ name: 'pauses', guard: () => ({ key: '{orders}:off', holds: 'types' }) })

function billing(use: ConsumerOptions['use'], fails = false, options: Partial<ConsumerOptions> = {}) {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [
      on(Paid, () => {
        if (fails) throw new Error('no')
      }),
    ],
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    handlerTimeoutMs: 5_000,
    minIdleMs: 10_000,
    ...(use && { use }),
    ...options,
  })
}

async function startServer() {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const connections: Connection[] = []
  onTestFinished(async () => {
    await Promise.all(connections.map((connection) => connection.close()))
    raw.disconnect()
    await server.stop()
  })
  return {
    raw,
    redis: connectIoredis(server.url),
    /** Connects as a user that has these rules and no others. */
    async as(name: string, access: string) {
      const rules = access.match(/\([^)]*\)|\S+/g) ?? []
      await raw.call('ACL', 'SETUSER', name, 'reset', '>secret', ...rules)
      const connection = connectIoredis(`redis://${name}:secret@${server.host}:${server.port}`)
      connections.push(connection)
      return connection
    },
  }
}

describe('accessOf()', () => {
  test('gives a consumer without policies what the ACL file has', async () => {
    const users = await readAclUsers()
    const { poller, claimer } = accessOf(billing(undefined))
    const asSets = (access: string) =>
      (access.match(/\([^)]*\)|\S+/g) ?? []).map((rule) => rule.replace(/[()]/g, '').split(' ').sort().join(' ')).sort()
    const file = (name: string) => asSets((users.get(name)?.rules ?? []).join(' '))

    expect(asSets(poller)).toEqual(file('orders-poller'))
    expect(asSets(claimer)).toEqual(file('orders-claimer'))
  })

  test('gives the functions of a consumer that promotes delayed events what the ACL file has', async () => {
    const users = await readAclUsers()
    const plain = billing(undefined)
    const [{ poller, claimer }, without] = [accessOf({ ...plain, delays: promoteDelays() }), accessOf(plain)]
    const rulesOf = (access: string): readonly string[] => access.match(/\([^)]*\)|\S+/g) ?? []
    const added = (access: string, before: string) => rulesOf(access).filter((rule) => !rulesOf(before).includes(rule))
    const sorted = (rules: readonly string[]) =>
      rules.map((rule) => rule.replace(/[()]/g, '').split(' ').sort().join(' ')).sort()

    expect(sorted(rulesOf(poller))).toEqual(sorted(users.get('orders-promoter')?.rules ?? []))
    expect(added(claimer, without.claimer)).toEqual(added(poller, without.poller))
  })

  test('adds what policies need, each command on its own key, and guards for the claimer only', () => {
    const consumer = billing([busy, pauses])
    const { poller, claimer } = accessOf(consumer)
    const plain = accessOf(billing(undefined))
    const added = (access: string, before: string) => {
      const rules = (text: string): readonly string[] => text.match(/\([^)]*\)|\S+/g) ?? []
      return rules(access).filter((rule) => !rules(before).includes(rule))
    }
    const each = [
      '~{orders}:seen:*',
      '~{orders}:runs',
      '(~{orders}:seen:* -@all +set +type)',
      '(~{orders}:billing:types -@all +smembers)',
      '(~{orders}:runs -@all +incr)',
    ]

    expect(added(poller, plain.poller)).toEqual(each)
    expect(added(claimer, plain.claimer).sort()).toEqual(
      [...each, '~{orders}:paused', '~{orders}:off', '(~{orders}:off -@all +sismember)'].sort(),
    )
  })

  test('escapes what a pattern would take for more than its key', () => {
    const consumer = billing(
      [definePolicy({ name: 'p', needs: () => ({ keys: [{ key: '{or*ers}:a[b] c', commands: ['get'] }] }) })],
      false,
      {
        stream: 'or*ers',
        deadLetters: { stream: '{or*ers}:(broken)' },
      },
    )
    const { poller } = accessOf(consumer)

    expect(poller.split(' ').filter((rule) => rule.startsWith('~'))).toEqual(
      expect.arrayContaining(['~or\\*ers', '~{or\\*ers}:billing:*', '~{or\\*ers}:?broken?', '~{or\\*ers}:a\\[b\\]?c']),
    )
  })

  test.each<[string, PolicyDefinition, string]>([
    [
      'throws',
      {
        name: 'broken',
        needs: () => {
          throw new Error('oops')
        },
      },
      'needs of "broken" must answer, got Error: oops',
    ],
    ['answers nothing', { name: 'broken', needs: () => undefined as never }, 'needs of "broken" must answer'],
    [
      'names a key elsewhere',
      { name: 'broken', needs: () => ({ keys: [{ key: 'elsewhere', commands: ['get'] }] }) },
      'keys of "broken" must lie in the stream\'s hash slot, as "{orders}:…", got "elsewhere"',
    ],
    [
      'names no command',
      { name: 'broken', needs: () => ({ keys: [{ key: '{orders}:a', commands: ['get set'] }] }) },
      'commands of "broken" must be names of commands, got "get set"',
    ],
    [
      'leaves commands out',
      { name: 'broken', needs: () => ({ keys: [{ key: '{orders}:a' }] }) as never },
      'commands of "broken" must be names of commands',
    ],
    [
      'names no key',
      { name: 'broken', needs: () => ({ keys: [{ commands: ['get'] }] }) as never },
      'every key of "broken" must be a string that is not empty, got undefined',
    ],
    [
      'lists nothing that is a list',
      { name: 'broken', needs: () => ({ keys: 7 }) as never },
      'needs of "broken" must answer, got TypeError',
    ],
    [
      'guards something else',
      { name: 'broken', guard: () => ({ key: '{orders}:a', holds: 'some' }) as never },
      'guard of "broken" must answer what the key holds',
    ],
  ])('refuses a policy that %s', (_title, definition, message) => {
    expect(() => accessOf(billing([definePolicy(definition)]))).toThrow(message)
  })
})

describe('under the users of accessOf()', () => {
  test('a consumer with policies is polled and claimed, and no command is refused', async () => {
    const { raw, redis, as } = await startServer()
    const publisher = createPublisher({ stream: 'orders', redis })
    const { poller, claimer } = accessOf(billing([busy, pauses]))
    const [polling, claiming] = [await as('p', poller), await as('c', claimer)]
    for (const id of ['1', '2']) await publisher.publish(Paid, { id }, { eventId: id })

    const polled = await poll(billing([busy, pauses]), { redis: polling })
    await publisher.publish(Paid, { id: '3' }, { eventId: '3' })
    const failed = await poll(billing([busy, pauses], true), { redis: polling })
    for (const [id] of (await raw.xpending('orders', 'billing', '-', '+', 10)) as [string][])
      await raw.xclaim('orders', 'billing', 'parked', 0, id, 'IDLE', 60_000, 'JUSTID')
    const claimed = await claimOnce(billing([busy, pauses]), { redis: claiming })

    expect(polled).toMatchObject({ read: 2, acked: 2 })
    expect(failed).toMatchObject({ read: 1, retried: 1 })
    expect(claimed).toMatchObject({ claimed: 1, acked: 1 })
    expect(await raw.exists('{orders}:seen:1', '{orders}:seen:2', '{orders}:seen:3')).toBe(3)
    expect(await raw.get('{orders}:runs')).toBe('3')
    expect(await raw.call('ACL', 'LOG')).toEqual([])
    await redis.close()
  })
})

describe('under the users of accessOf() with idempotent', () => {
  const idempotentOnce = [idempotent({ ttlMs: 86_400_000 })]

  test.each([
    ['accessOf()', async () => accessOf(billing(idempotentOnce))],
    ['infra/redis-acl.txt', () => readAclFile()],
  ])('duplicates are found, wait, and are acknowledged, and no command is refused: %s', async (_where, read) => {
    const { raw, redis, as } = await startServer()
    const publisher = createPublisher({ stream: 'orders', redis })
    const { poller, claimer } = await read()
    const [polling, claiming] = [await as('p', poller), await as('c', claimer)]
    for (const id of ['1', '2', '1']) await publisher.publish(Paid, { id }, { eventId: id })

    const failed = await poll(billing(idempotentOnce, true), { redis: polling })
    for (let round = 0; round < 3; round++) {
      await passOnDue(raw, 120_000)
      await claimOnce(billing(idempotentOnce), { redis: claiming })
    }
    await publisher.publish(Paid, { id: '1' }, { eventId: '1' })
    const polled = await poll(billing(idempotentOnce), { redis: polling })

    expect(failed).toMatchObject({ read: 3, retried: 2, parked: 1 })
    expect(polled).toMatchObject({ read: 1, acked: 1, duplicates: 1 })
    expect(await raw.xpending('orders', 'billing', '-', '+', 10)).toEqual([])
    expect(await raw.call('ACL', 'LOG')).toEqual([])
    await redis.close()
  })
})

describe('under the users of accessOf() with circuitBreaker, rateLimit and concurrencyLimit', () => {
  const limits = [
    circuitBreaker({ failures: 2, perMs: 60_000, probeAfterMs: 1 }),
    concurrencyLimit({ max: 1, by: ({ eventId }) => eventId }),
    rateLimit({ max: 100, perMs: 1_000 }),
  ]

  test.each([
    ['accessOf()', async () => accessOf(billing(limits))],
    [
      'infra/redis-acl.txt',
      () => readAclFile(/For circuitBreaker both have also (.*); for$\n^# rateLimit and concurrencyLimit (.*)\.$/m),
    ],
  ])('what fails opens, waits and is probed, and no command is refused: %s', async (_where, read) => {
    const { raw, redis, as } = await startServer()
    const publisher = createPublisher({ stream: 'orders', redis })
    const { poller, claimer } = await read()
    const [polling, claiming] = [await as('p', poller), await as('c', claimer)]
    for (const id of ['1', '2', '3']) await publisher.publish(Paid, { id }, { eventId: id })

    const failed = await poll(billing(limits, true), { redis: polling, remainingMs: 20_000 })
    for (let round = 0; round < 3; round++) {
      await passOnDue(raw, 120_000)
      await claimOnce(billing(limits), { redis: claiming, remainingMs: 20_000 })
    }

    expect(failed).toMatchObject({ read: 3, circuitOpen: failed.parked })
    expect(failed.parked).toBeGreaterThan(0)
    expect(await raw.xpending('orders', 'billing', '-', '+', 10)).toEqual([])
    expect(await openBreakers(billing(limits), { redis })).toEqual([])
    expect(await raw.call('ACL', 'LOG')).toEqual([])
    await redis.close()
  })
})

describe('under the users of accessOf() with a policy that parks', () => {
  test('parking, starting and making the group again are refused no command', async () => {
    const { raw, redis, as } = await startServer()
    const shelves = definePolicy({
      name: 'shelves',
      begin: ({ action }) => ({
        admit: (jobs) => jobs.map(() => (action === 'poll' ? { action: 'park', delayMs: 0 } : undefined)),
      }),
    })
    const consumer = billing([shelves])
    const { poller, claimer } = accessOf(consumer)
    const [polling, claiming] = [await as('p', poller), await as('c', claimer)]
    await createPublisher({ stream: 'orders', redis }).publish(Paid, { id: '1' })

    const parked = await poll(consumer, { redis: polling })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    const again = await poll(consumer, { redis: polling })
    const started = await claimOnce(consumer, { redis: claiming })

    expect([parked.parked, again.parked, again.groupRecreated, started.acked]).toEqual([1, 1, true, 1])
    expect(await raw.call('ACL', 'LOG')).toEqual([])
    await redis.close()
  })
})

describe('diagnose()', () => {
  test.each(['poller', 'claimer'] as const)(
    'finds nothing to say of rights under the %s of accessOf()',
    async (role) => {
      const { as } = await startServer()
      const consumer = billing([busy, pauses])

      expect(await rightsFound(consumer, await as('u', accessOf(consumer)[role]))).toEqual([])
    },
  )

  test('names each policy that is denied something, with the commands and keys', async () => {
    const { as } = await startServer()
    const consumer = billing([busy, pauses])
    const access = accessOf(consumer)
      .claimer.replace(' +set +type)', ' +type)')
      .replace(' (~{orders}:off -@all +sismember)', '')
      .replace(' (~{orders}:runs -@all +incr)', '')

    expect(await rightsFound(consumer, await as('c', access))).toEqual([
      'error: Policy "busy" needs what this user may not do: SET on "{orders}:seen:*", INCR on "{orders}:runs"',
      'error: Policy "pauses" needs what this user may not do: SISMEMBER on "{orders}:off"',
    ])
  })

  test('asks nothing of rights for a consumer whose policies need none', async () => {
    const { as } = await startServer()

    expect(
      await rightsFound(
        billing([definePolicy({ name: 'none', begin: () => undefined })]),
        await as('a', 'on ~* +@all'),
      ),
    ).toEqual([])
  })

  async function rightsFound(consumer: ReturnType<typeof billing>, redis: Connection): Promise<string[]> {
    const found = await diagnose(consumer, { redis })
    return found.flatMap(({ check, severity, message }) => (check === 'rights' ? [`${severity}: ${message}`] : []))
  }
})

describe('memory', () => {
  const scans = definePolicy({
    name: 'scans',
    needs: () => ({ keys: [{ key: '{orders}:big', commands: ['get', 'sscan'] }] }),
  })

  test('serves a consumer whose policies need what it knows', async () => {
    const redis = connectMemory()
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publish(Paid, { id: '1' }, { eventId: '1' })

    expect(await poll(billing([busy, pauses]), { redis })).toMatchObject({ acked: 1 })
  })

  test('refuses, by name, a policy that needs a command that it does not know', async () => {
    const redis = connectMemory()
    const refusal = 'policy "scans" needs SSCAN on "{orders}:big", which memory does not know'

    expect(() => createPoller(billing([scans]), { redis })).toThrow(`Cannot create poller: ${refusal}`)
    await expect(claimOnce(billing([scans]), { redis })).rejects.toThrow(`Cannot claim: ${refusal}`)
  })
})

/** The users of the ACL file, and what it says that they have for a policy: by default for idempotent. */
async function readAclFile(
  says = /For idempotent both\n# have also (\(.*\));/,
): Promise<{ poller: string; claimer: string }> {
  const text = await readFile(new URL('../../infra/redis-acl.txt', import.meta.url), 'utf8')
  const [, ...given] = says.exec(text) ?? []
  const added = given.join(' ')
  const accessOfUser = (name: string) => new RegExp(`^user orders-${name} (.*)$`, 'm').exec(text)?.[1] ?? ''
  return { poller: `${accessOfUser('poller')} ${added}`, claimer: `${accessOfUser('claimer')} ${added}` }
}

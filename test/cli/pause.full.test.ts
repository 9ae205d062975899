import { userInfo } from 'node:os'
import { join } from 'node:path'
import { type Consumer, poll } from 'millrace'
import { diagnose, pause } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import { startRedisServer } from '../../tools/redis-server.ts'
import { createAclUsers, urlOf } from '../infra/acl-users.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const MODULE = join(import.meta.dirname, '../../functions/orders/consumer.ts')
const PAUSED = '{orders}:billing:paused'
const DAY_MS = 86_400_000

/** A server with group `billing` on stream `orders`, and what asks it as a shell does. */
async function aShop() {
  const scenario = await startScenario()
  await poll(
    billing(() => {}),
    { redis: scenario.redis },
  )
  const ask = async (url: string, ...args: string[]) => {
    const run = millrace(args, { env: { REDIS_URL: url, PATH: process.env.PATH } })
    const exit = await run.exit
    return [exit, ...run.lines] as const
  }
  return { ...scenario, ask, run: (...args: string[]) => ask(scenario.server.url, ...args) }
}

test('pauses and resumes a group, and says who, why and how many wait', async () => {
  const { run, publish, raw } = await aShop()

  expect(await run('pause', 'orders', 'billing', '--by', 'anna', '--why', 'mail is down')).toEqual([
    0,
    'Paused group billing of orders: by anna <1s ago: mail is down',
  ])
  await publish('a', 'b')
  expect(await run('status', '--stream', 'orders')).toContainEqual(
    expect.stringMatching(/^ {2}! billing: paused by anna .* ago: mail is down$/),
  )
  expect(await run('resume', 'orders', 'billing', '--max-age-ms', '60000')).toEqual([
    0,
    expect.stringMatching(/^Resumed group billing of orders, paused by anna .* ago: mail is down$/),
    '0 entries wait for it, and 2 are not read yet',
    '0 entries are too old, and will expire',
  ])
  expect(await raw.exists(PAUSED)).toBe(0)
})

test('a second pause says who paused it before, and changes only what is given', async () => {
  const { run } = await aShop()
  const until = '2126-01-02T03:00:00.000Z'

  const [, first] = await run('pause', 'orders', 'billing', '--type', 'OrderPaid', '--why', 'wrong amounts')
  const second = await run('pause', 'orders', 'billing', '--type', 'OrderPaid', '--until', '2126-01-02T03:00Z')

  const { username } = userInfo()
  expect(first).toBe(`Paused OrderPaid in group billing of orders: by ${username} <1s ago: wrong amounts`)
  expect(second).toEqual([
    0,
    expect.stringMatching(
      new RegExp(`^Paused OrderPaid in group billing of orders: by ${username} .* ago, until ${until}: wrong amounts$`),
    ),
    expect.stringMatching(new RegExp(`^It was paused already by ${username} .* ago: wrong amounts$`)),
    '--module FILE says whether its consumer has a route for OrderPaid',
  ])
})

test('with a module says that the consumer has no route for the type', async () => {
  const { run } = await aShop()
  const args = ['orders', 'billing', '--type', 'OrderPayed', '--module', MODULE]

  expect(await run('pause', ...args)).toContain('The consumer has no route for OrderPayed')
  expect(await run('resume', ...args)).toContain('The consumer has no route for OrderPayed')
  expect(await run('pause', 'returns', 'billing', '--module', MODULE)).toEqual([
    2,
    expect.stringMatching(/^millrace pause: no consumer of stream returns in /),
  ])
})

test('prints one object for machines', async () => {
  const { run } = await aShop()

  const [, paused] = await run('pause', 'orders', 'billing', '--by', 'anna', '--json')
  const [, resumed] = await run('resume', 'orders', 'billing', '--json')

  expect(JSON.parse(String(paused))).toEqual({ pause: { at: expect.any(Number), by: 'anna' } })
  expect(JSON.parse(String(resumed))).toEqual({ was: { at: expect.any(Number), by: 'anna' }, waiting: 0, unread: 0 })
})

test.each<[exit: number, what: string, args: string[], line: RegExp]>([
  [1, 'a group that is not there', ['pause', 'orders', 'search'], /the group must exist on "orders", got "search"/],
  [1, 'a stream that is not there', ['pause', 'returns', 'billing'], /the stream must exist, got "returns"/],
  [1, 'to resume a group that is not there', ['resume', 'orders', 'search'], /the group must exist on "orders"/],
  [1, 'to resume what is not paused', ['resume', 'orders', 'billing'], /^Not paused: group billing of orders$/],
  [1, 'a time that is over', ['pause', 'orders', 'billing', '--until', '2020-01-02T03:00Z'], /must be in the future/],
  [2, 'a time that is none', ['pause', 'orders', 'billing', '--until', 'tomorrow'], /--until must be a time such as/],
  [2, 'no such day', ['pause', 'orders', 'billing', '--until', '2126-02-30T03:00Z'], /--until must be a time such as/],
  [2, 'a group that is not named', ['pause', 'orders'], /a stream and a group must say what/],
  [2, 'an empty type', ['resume', 'orders', 'billing', '--type', ''], /--type must not be empty/],
  [
    2,
    'an age that is none',
    ['resume', 'orders', 'billing', '--max-age-ms', '1h'],
    /--max-age-ms must be a whole number/,
  ],
])('exits with %i for %s', async (exit, _what, args, line) => {
  const { run } = await aShop()

  const [code, ...lines] = await run(...args)

  expect(code).toBe(exit)
  expect(lines[0]).toMatch(line)
})

test('says whether a replica has it, as the operator of the ACL file', async () => {
  const { ask, raw, server } = await aShop()
  await createAclUsers(raw)
  const operator = (...args: string[]) => ask(urlOf(server, 'orders-operator'), ...args)
  const replica = await startRedisServer({ args: ['--replicaof', server.host, `${server.port}`] })
  onTestFinished(() => replica.stop())
  while (!/state=online/.test(await raw.info('replication'))) await new Promise(setImmediate)

  expect((await operator('pause', 'orders', 'billing', '--by', 'anna'))[1]).toBe(
    'Paused group billing of orders: by anna <1s ago (confirmed by a replica)',
  )
  replica.kill('SIGSTOP')
  expect((await operator('resume', 'orders', 'billing'))[1]).toMatch(/ \(not confirmed by a replica\)$/)
  replica.kill('SIGCONT')
})

test('works over REST', async () => {
  const { ask, server } = await aShop()
  const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
  onTestFinished(() => rest.close())
  const url = rest.url.replace('://', '://:secret@')

  expect((await ask(url, 'pause', 'orders', 'billing', '--by', 'anna'))[1]).toMatch(/^Paused group billing of orders/)
  expect((await ask(url, 'resume', 'orders', 'billing'))[0]).toBe(0)
})

test('the doctor shows what is paused, warns after a day, and of what it cannot read', async () => {
  const { redis, raw } = await aShop()
  const consumer = billing(() => {})
  const seen = async () =>
    (await diagnose(consumer, { redis }))
      .filter(({ check }) => check === 'paused')
      .map(({ severity, message, fix }) => [severity, message, fix])

  expect(await seen()).toEqual([])
  await pause(consumer, { redis, type: 'OrderPaid', by: 'anna' })
  expect(await seen()).toEqual([
    [
      'info',
      expect.stringMatching(/^"OrderPaid" has been paused by "anna" for /),
      'millrace resume orders billing --type OrderPaid',
    ],
  ])
  await raw.set(PAUSED, JSON.stringify({ '*': { at: Date.now() - 2 * DAY_MS } }))
  expect(await seen()).toEqual([['warning', 'The group has been paused for 2d', 'millrace resume orders billing']])
  await raw.set(PAUSED, 'oops')
  expect(await seen()).toEqual([
    ['warning', 'What is paused cannot be read, and is not paused', expect.stringContaining('GETDEL')],
  ])
  expect(await poll(consumer, { redis })).toMatchObject({ paused: false, drained: true })
})

test('the doctor warns of a paused type that the consumer has no route for', async () => {
  const { redis, run } = await aShop()
  await run('pause', 'orders', 'billing', '--type', 'OrderPayed', '--by', 'anna')
  const seen = async (...consumers: Consumer[]) =>
    (await diagnose(consumers, { redis, streams: ['orders'] }))
      .filter(({ check }) => check === 'paused')
      .map(({ severity, message }) => [severity, message])

  expect(await seen(billing(() => {}))).toEqual([
    [
      'warning',
      expect.stringMatching(/^"OrderPayed" has been paused by "anna" for .*; the consumer has no route for it/),
    ],
  ])
  expect(await seen()).toEqual([['info', expect.not.stringContaining('no route')]])
})

test('closes a circuit breaker by hand, and says which were open', async () => {
  const { run, raw } = await aShop()
  const fields = ['opened OrderPaid', 1_700_000_000_000, 'until OrderPaid', 9e15, 'error OrderPaid', 'TimeoutError']
  await raw.hset('{orders}:billing:breakers', ...fields, 'until OrderShipped', 9e15)

  const closed = await run('resume', 'orders', 'billing', '--breaker', '--type', 'OrderPaid')
  const left = await raw.hkeys('{orders}:billing:breakers')
  const again = await run('resume', 'orders', 'billing', '--breaker', '--type', 'OrderPaid')

  expect(closed).toEqual([
    0,
    'Closed the circuit breaker of OrderPaid, open since 2023-11-14T22:13:20.000Z: TimeoutError',
  ])
  expect(left).toEqual(['until OrderShipped'])
  expect(again).toEqual([1, 'No circuit breaker is open: OrderPaid in group billing of orders'])
})

import { runJanitor } from 'millrace/janitor'
import { expect, test } from 'vitest'
import { startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

async function aStream() {
  const scenario = await startScenario()
  const run = async (...args: string[]) => {
    const ran = millrace(args, { env: { REDIS_URL: scenario.server.url, PATH: process.env.PATH } })
    return [await ran.exit, ...ran.lines] as const
  }
  return { ...scenario, run }
}

test('register says who owns a group, lists it, and takes it off', async () => {
  const { run, raw } = await aStream()

  expect(
    await run(
      'register',
      'orders',
      'billing',
      '--owner',
      'team-billing',
      '--max-lag',
      '100',
      '--max-age-ms',
      '60000',
      '--retention-ms',
      '86400000',
      '--letters-owner',
      'on-call',
      '--letters-retention-ms',
      '3600000',
    ),
  ).toEqual([
    0,
    'registered billing: owner team-billing, lag up to 100, age up to 1m, keeps 1d, dead letters of on-call, kept 1h',
  ])
  expect(JSON.parse(String(await raw.hget('{orders}::stream::groups', 'billing')))).toEqual({
    owner: 'team-billing',
    objective: { maxLag: 100, maxAgeMs: 60_000 },
    retentionMs: 86_400_000,
    deadLetters: { owner: 'on-call', retentionMs: 3_600_000 },
  })
  expect((await run('register', 'orders', '--json'))[1]).toContain('"owner":"team-billing"')
  expect(await run('register', 'orders', 'billing', '--remove')).toEqual([0, 'no group of orders is registered'])
})

test.each([
  [[], 'STREAM, and at most one GROUP'],
  [['orders', 'billing'], '--owner NAME must say who answers for the group'],
  [['orders', '--remove'], '--remove needs GROUP'],
  [['orders', '--owner', 'a'], '--owner needs GROUP'],
  [['orders', '--max-lag', '5'], '--max-lag needs GROUP'],
  [['orders', '--letters', 'x'], '--letters needs GROUP'],
  [['orders', 'billing', '--remove', '--retention-ms', '1'], '--retention-ms needs GROUP, and goes without --remove'],
  [['orders', 'billing', '--remove', '--letters-owner', 'a'], '--letters-owner needs GROUP'],
  [['orders', 'billing', '--owner', 'a', '--max-age-ms', '0'], 'objective.maxAgeMs must be >= 1, got 0'],
  [['orders', 'billing', '--owner', 'a', '--letters', ''], 'deadLetters.stream must be a string that is not empty'],
  [['orders', 'billing', '--owner', 'a', '--max-lag', 'x'], '--max-lag must be a whole number, 0 or more'],
])('register refuses %j', async (args, message) => {
  const { run } = await aStream()

  const [exit, ...lines] = await run('register', ...args)

  expect(exit).toBe(2)
  expect(lines.join('\n')).toContain(message)
})

test('status and doctor name groups that are unknown, lost, behind, or trimmed ahead of', async () => {
  const { run, raw, redis } = await aStream()
  await run('register', 'orders', 'billing', '--owner', 'team', '--max-lag', '1', '--max-age-ms', '1')
  await run('register', 'orders', 'gone', '--owner', 'nobody')
  await raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
  await raw.xgroup('CREATE', 'orders', 'console', '0')
  for (let n = 0; n < 5; n++) await raw.xadd('orders', `${1_000 + n}-0`, 'n', `${n}`)
  await raw.xreadgroup('GROUP', 'billing', 'me', 'COUNT', 1, 'NOACK', 'STREAMS', 'orders', '>')
  await runJanitor({ stream: 'orders' }, { redis })
  await raw.xtrim('orders', 'MAXLEN', 2)
  await runJanitor({ stream: 'orders' }, { redis })
  await raw.hset('{orders}::stream::janitor', 'since:gone', Date.now() - 200_000_000)

  const [, ...status] = await run('status', '--stream', 'orders', '--details')
  const [, ...doctor] = await run('doctor', '--stream', 'orders')

  const said = status.join('\n')
  expect(said).toContain('! console is not registered')
  expect(said).toContain('! gone is registered, and there is no such group')
  expect(said).toContain('! billing is behind its objective: lag 2 > 1')
  expect(said).toContain('! billing is behind its objective: age')
  expect(said).toContain('! 2 entries were trimmed before billing had done them')
  expect(said).toContain('! gone keeps entries from being trimmed, for 2d')
  expect(said).toContain('registered billing: owner team, lag up to 1, age up to <1s')
  expect(said).toMatch(/a janitor ran .* ago: 0 entries trimmed in all/)
  const told = doctor.join('\n')
  expect(told).toContain(
    'Group "console" is not registered: nobody is known to answer for it, and janitors wait for it',
  )
  expect(told).toContain('Group "gone" is registered, and there is no such group')
  expect(told).toContain("2 entries wait for the first delivery; the group's objective is 1")
  expect(told).toContain('2 entries were trimmed or deleted before group "billing" had done them')
  expect(told).toContain('"gone" has kept entries from being trimmed for 2 d')
})

test('doctor names a group that nobody has read for a day, with something to do', async () => {
  const { run, raw } = await aStream()
  await run('register', 'orders', 'billing', '--owner', 'team')
  await raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
  await raw.xadd('orders', '1-0', 'a', 'b')

  const [, ...doctor] = await run('doctor', '--stream', 'orders')

  expect(doctor.join('\n')).toContain('though there is something to do: the group is dead')
  expect(doctor.join('\n')).toContain('ask its owner, team')
})

test('status and doctor name floors, and that there is no group, as what they are', async () => {
  const { run, raw } = await aStream()
  const since = Date.now() - 200_000_000
  await raw.xadd('orders', '1-0', 'a', 'b')
  const notes = { ranAt: Date.now(), sinceNoGroups: since, 'sinceFloor:snapshots': since, 'sinceFloor:keepFrom': since }
  await raw.hset('{orders}::stream::janitor', notes)

  const status = (await run('status', '--stream', 'orders')).join('\n')
  const doctor = (await run('doctor', '--stream', 'orders')).join('\n')

  expect(status).toContain('floor snapshots keeps entries from being trimmed, for 2d')
  expect(status).toContain('that there is no group keeps entries from being trimmed, for 2d')
  expect(doctor).toContain('Floor "snapshots" has kept entries from being trimmed for 2 d')
  expect(doctor).toContain("HDEL '{orders}::stream::floors' snapshots")
  expect(doctor).toContain('see whether what keepFrom of the janitor answers goes on')
  expect(doctor).toContain('That there is no group, and none is registered, has kept entries')
  expect(doctor).not.toContain('poller and claimer run')
})

test('doctor holds a group against its objective where the server counts no lag', async () => {
  const { run, raw } = await aStream()
  await run('register', 'orders', 'billing', '--owner', 'team', '--max-lag', '2')
  for (let n = 1; n < 6; n++) await raw.xadd('orders', `${n}-0`, 'a', 'b')
  await raw.xgroup('CREATE', 'orders', 'billing', '0-5')
  await raw.xdel('orders', '3-0')

  const doctor = (await run('doctor', '--stream', 'orders')).join('\n')

  expect(doctor).toContain("4 entries wait for the first delivery; the group's objective is 2")
})

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { NonRetryableError, poll } from 'millrace'
import type { Inspection } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import { startRestServer } from '../support/rest-server.ts'
import { billing, names, startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const nothing = { PATH: process.env.PATH }

/** A stream with a group of ours that has something of everything, and two that others made. */
async function aBusyServer() {
  const scenario = await startScenario()
  const { redis, raw, publish } = scenario
  const consumer = billing((event) => {
    const { orderId } = (event as { payload: { orderId: string } }).payload
    if (orderId === 'hopeless') throw new NonRetryableError('hopeless')
    if (orderId === 'fails') throw new Error('down')
  })
  const ids = await publish('fails', 'hopeless', ...names('fine', 20))
  await poll(consumer, { redis })
  await publish(...names('later', 12))
  await raw.xgroup('CREATE', 'orders', 'midway', ids[3] ?? '')
  await raw.xgroup('CREATE', 'orders', 'sea\x1b[31mrch\n', '0')
  return scenario
}

/** Runs to its end; what it printed, without what time changes. */
async function printed(args: readonly string[], env: NodeJS.ProcessEnv = nothing) {
  const run = millrace(args, { env })
  const code = await run.exit
  const ages = /\b(\d+[dhms]( \d+[dhms])?|<1s)(?![\w])|<1s/g
  return {
    code,
    lines: run.lines.map((line) =>
      line
        .replace(ages, 'AGE')
        .replace(/\d+(\.\d KB| B)/, 'SIZE')
        .replace(/ +/g, ' '),
    ),
  }
}

test('millrace status shows streams and groups as a table', async () => {
  const { server } = await aBusyServer()

  expect(await printed(['status', '--redis', server.url])).toEqual({
    code: 0,
    lines: [
      'orders 34 entries, SIZE, first AGE ago, last AGE ago',
      ' group lag pending in hand set aside oldest pending consumers dead letters oldest',
      ' billing 12 1 0 1 AGE 2 1 AGE',
      ' midway 10+ 0 0 0 - 0 0 -',
      ' sea\\u{1b}[31mrch\\u{a} 34 0 0 0 - 0 0 -',
      expect.stringMatching(/^ ! midway: lag: the server lost count/),
    ],
  })
})

test('millrace status --details shows one group closely', async () => {
  const { server, raw } = await aBusyServer()
  await raw.set('{orders}:billing:slot:poller-1', 'token', 'PX', 60_000)

  const { lines } = await printed(['status', '--details', '--group', 'billing', '--redis', server.url])
  expect(lines.slice(2)).toEqual([
    ' billing 12 1 0 1 AGE 2, 1 held 1 AGE',
    ' oldest undelivered published AGE ago',
    expect.stringMatching(/^ oldest pending \d+-\d+ of parked, delivery 1, failed$/),
    ' deliveries of the oldest 1 1 had 1',
    ' last success AGE ago',
    ' for a time 1, 0 due now, the next in AGE',
    ' retry 1',
    ' parked 1 pending, idle AGE',
    ' poller-0 0 pending, idle AGE, not held',
    ' poller-1 0 pending, never read, held, for AGE at most',
    ' nothing was ever trimmed or deleted',
  ])
})

test('millrace status --json prints one document, the numbers of inspectStreams()', async () => {
  const { server, raw } = await aBusyServer()
  const run = millrace(['status', '--json', '--stream', 'orders'], { env: { ...nothing, REDIS_URL: server.url } })
  expect(await run.exit).toBe(0)
  const { streams } = JSON.parse(run.lines.join('\n')) as Inspection

  const { length, groups = [] } = streams[0] ?? {}
  expect(length).toBe(await raw.xlen('orders'))
  expect(groups.map(({ group, lag, lagAtLeast, pending }) => [group, lag ?? `${lagAtLeast}+`, pending])).toEqual([
    ['billing', 12, 1],
    ['midway', '10+', 0],
    ['sea\x1b[31mrch\n', 34, 0],
  ])
})

test('millrace status says what is not there', async () => {
  const { server, raw } = await startScenario()
  expect(await printed(['status', '--redis', server.url])).toEqual({ code: 0, lines: ['No streams'] })
  await raw.set('text', 'no stream')
  await raw.xadd('orders', '*', 'a', 'b')

  const named = ['--stream', 'text', '--stream', 'nowhere', '--stream', 'orders', '--group', 'billing']
  const { code, lines } = await printed(['status', '--redis', server.url, ...named])
  expect([code, ...lines]).toEqual([
    1,
    'text not a stream',
    '',
    'nowhere no such stream',
    '',
    'orders 1 entry, SIZE, first AGE ago, last AGE ago',
    ' ! no group billing: its poller makes it when it first runs',
    'millrace status: the stream must exist, got "nowhere"; millrace status lists those that there are',
    'millrace status: the group must exist on "orders", got "billing": its poller makes it when it first runs; it has none',
  ])
})

test('millrace status shows what a read-only user may not ask as unknown, with the reason', async () => {
  const { server, raw } = await aBusyServer()
  await raw.call('ACL', 'SETUSER', 'console', 'on', '>secret', '~orders', '+xinfo', '+xrange', '+time', '+hget')
  const url = `redis://console:secret@${server.host}:${server.port}`

  const { code, lines } = await printed(['status', '--redis', url, '--stream', 'orders', '--group', 'billing'])
  expect([code, lines[2]]).toEqual([0, ' billing 12 1 0 1 ? 2 ? -'])
  expect(lines.slice(3)).toEqual([
    expect.stringMatching(/^ ! delayed events: NOPERM /),
    expect.stringMatching(/^ ! memory: NOPERM /),
    expect.stringMatching(/^ ! owners of groups, and janitors: NOPERM /),
    expect.stringMatching(/^ ! billing: oldest pending: NOPERM /),
    expect.stringMatching(/^ ! billing: whose group it is, dead letters: NOPERM /),
    expect.stringMatching(/^ ! billing: what waits for its time: NOPERM /),
    expect.stringMatching(/^ ! billing: what waits for a condition: NOPERM /),
    expect.stringMatching(/^ ! billing: leases: NOPERM /),
    expect.stringMatching(/^ ! billing: circuit breakers: NOPERM /),
    expect.stringMatching(/^ ! billing: pauses: NOPERM /),
  ])
  expect(lines.join('\n')).not.toContain('secret')
})

test('millrace status reads streams and groups from a module, and says which group is not there', async () => {
  const { server, raw } = await startScenario()
  await raw.xadd('shop', '*', 'a', 'b')
  await raw.xadd('others', '*', 'a', 'b')
  const file = join(import.meta.dirname, '../../functions/orders/consumer.ts')

  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const twice = join(folder, 'twice.mjs')
  const more = `import { billing } from ${JSON.stringify(pathToFileURL(file).href)}\nexport const other = { ...billing }`
  await writeFile(twice, `export * from ${JSON.stringify(pathToFileURL(file).href)}\n${more}`)

  const env = { ...nothing, ORDERS_STREAM: 'shop' }
  // a group has one line, however many consumers of it there are
  for (const modules of [[file], [file, twice]]) {
    const { code, lines } = await printed(['status', ...modules, '--redis', server.url], env)
    expect([code, ...lines]).toEqual([
      0,
      'shop 1 entry, SIZE, first AGE ago, last AGE ago',
      ' ! no group billing: its poller makes it when it first runs',
    ])
  }
})

test('millrace status --watch without a terminal prints block after block, and continues after a failure', async () => {
  const { server } = await aBusyServer()
  const run = millrace(['status', '--redis', server.url, '--stream', 'orders', '--watch', '0.1'], { env: nothing })

  await run.printed(new RegExp(`^127.0.0.1:${server.port}  \\d\\d:\\d\\d:\\d\\d  every 0.1 s$`))
  await run.printed(/^ {2}billing +12 /)
  await run.printed(/^ {2}billing +12 /)
  server.kill('SIGKILL')
  await run.printed(/^! Cannot reach Redis: .*; trying again$/)
  await run.printed(/^As of \d\d:\d\d:\d\d:$/)
  await run.printed(/^ {2}billing +12 /)
  await server.restart()
  await run.printed(/^orders {2}no such stream$/)

  run.interrupt()
  expect(await run.exit).toBe(0)
})

test('millrace status --watch --json prints a document a line, and what fails as one', async () => {
  const { server } = await aBusyServer()
  const run = millrace(['status', '--redis', server.url, '--json', '--watch=0.1'], { env: nothing })
  const [first = ''] = await run.printed(/^\{.*\}$/)
  expect(JSON.parse(first)).toMatchObject({ streams: [{ stream: 'orders' }] })
  server.kill('SIGKILL')

  const [failure = ''] = await run.printed(/^.*"error".*$/)
  expect(JSON.parse(failure)).toEqual({ at: expect.any(Number), error: expect.stringMatching(/^Cannot reach Redis: /) })
  run.interrupt()
  expect(await run.exit).toBe(0)
})

test('millrace status works over REST', async () => {
  const { server } = await aBusyServer()
  const rest = await startRestServer({ redisUrl: server.url, token: 'the-token' })
  onTestFinished(() => rest.close())

  const { code, lines } = await printed(['status', '--redis', rest.url.replace('//', '//the-token@')])
  expect([code, lines[2]]).toEqual([0, ' billing 12 1 0 1 AGE 2 1 AGE'])
})

test.each<[string, string[], number, RegExp]>([
  ['no server', [], 2, /^millrace status: --redis URL, or the variable REDIS_URL, must say where the server is$/],
  [
    'no answer',
    ['--redis', 'redis://:secret@127.0.0.1:1'],
    1,
    /^millrace status: Cannot reach Redis: connect ECONNREFUSED/,
  ],
  ['an unknown option', ['--wath'], 2, /^millrace status: Unknown option '--wath'/],
  ['no seconds', ['--watch=soon'], 2, /^millrace status: --watch must be a number of seconds .* got "soon"$/],
  ['no module', ['nowhere.js', '--redis', 'redis://x'], 2, /^millrace status: cannot load nowhere.js: /],
])('millrace status refuses %s', async (_title, args, code, line) => {
  const run = millrace(['status', ...args], { env: nothing })

  await run.printed(line)
  expect(await run.exit).toBe(code)
  expect(run.lines.join('\n')).not.toContain('secret')
})

test('millrace status refuses a wrong password in one line', async () => {
  const { server } = await startScenario({ server: { args: ['--requirepass', 'right'] } })
  const run = millrace(['status', '--redis', `redis://:wrong@${server.host}:${server.port}`], { env: nothing })

  expect(await run.exit).toBe(1)
  expect(run.lines).toEqual([expect.stringMatching(/^millrace status: .*(NOAUTH|WRONGPASS)/)])
})

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Redis } from 'ioredis'
import { createPublisher } from 'millrace'
import { expect, onTestFinished, test } from 'vitest'
import { names, OrderPaid, startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const UUID = '[0-9a-f-]{36}'

function tail(url: string, ...args: string[]) {
  return millrace(['tail', '--redis', url, '--stream', 'orders', ...args], { env: { PATH: process.env.PATH } })
}

/** Resolves once it has inspected the stream. */
async function hasRead(raw: Redis): Promise<void> {
  const isReading = async () => String(await raw.call('CLIENT', 'LIST')).includes('cmd=xrange')
  await expect.poll(isReading, { timeout: 20_000 }).toBe(true)
}

test('millrace tail prints what is added, and ends on Ctrl-C without a trace on the server', async () => {
  const { server, raw, publish } = await startScenario()
  await publish('before')
  const run = tail(server.url)
  await hasRead(raw)
  const [id] = await publish('after')

  await run.printed(new RegExp(`^${id}  \\d{4}-.*Z  OrderPaid  ${UUID}  -  \\d+ B$`))
  run.interrupt()
  expect(await run.exit).toBe(0)
  expect(run.lines).toHaveLength(1)
  expect([await raw.xinfo('GROUPS', 'orders'), await raw.keys('*')]).toEqual([[], ['orders']])
})

test('millrace tail --from an id prints that entry and what follows it, --count that many', async () => {
  const { server, publish } = await startScenario()
  const ids = await publish(...names('o', 250))
  const run = tail(server.url, '--from', ids[20] ?? '', '--count', '205')

  expect(await run.exit).toBe(0)
  expect(run.lines.map((line) => line.split(' ')[0])).toEqual(ids.slice(20, 225))
})

test('millrace tail --from a time ago, on the clock of the server', async () => {
  const { server, raw, publish } = await startScenario()
  const [seconds] = await raw.time()
  await raw.xadd('orders', `${(Number(seconds) - 600) * 1_000}-0`, 'old', 'entry')
  const [id] = await publish('new')
  const run = tail(server.url, '--from', '-5m', '--count', '1')

  expect(await run.exit).toBe(0)
  expect(run.lines[0]).toMatch(new RegExp(`^${id} `))
})

test('millrace tail shows payloads only when asked, and neither they nor names steer the terminal', async () => {
  const { server, raw } = await startScenario()
  await raw.xadd(
    'orders',
    '1-1',
    'eventType',
    'Or\x1b[2Jder',
    'producer',
    'shop\n',
    'schemaVersion',
    '2',
    'payload',
    '{"a":"\\u009b"}',
  )
  await raw.xadd('orders', '2-1', 'no', 'ev\x1bent')

  const bare = tail(server.url, '--from', '0', '--count', '2')
  expect(await bare.exit).toBe(0)
  expect(bare.lines).toEqual([
    '1-1  1970-01-01T00:00:00.001Z  Or\\u{1b}[2Jder v2  -  shop\\u{a}  66 B',
    '2-1  1970-01-01T00:00:00.002Z  no event: Field eventType is missing  8 B',
  ])
  const full = tail(server.url, '--from', '0', '--count', '2', '--payload')
  expect(await full.exit).toBe(0)
  expect(full.lines).toEqual([`${bare.lines[0]}  {"a":"\\u{9b}"}`, `${bare.lines[1]}  [["no","ev\\u001bent"]]`])
})

test('millrace tail --json shows attributes with the payload only', async () => {
  const { server, raw } = await startScenario()
  await raw.xadd('orders', '1-1', 'source', 'web', 'eventType', 'Ping', 'payload', '1')
  const shown = await Promise.all(
    [[], ['--payload']].map(async (more) => {
      const run = tail(server.url, '--from', '0', '--count', '1', '--json', ...more)
      await run.exit
      return JSON.parse(run.lines[0] ?? '') as object
    }),
  )

  expect(shown[0]).not.toHaveProperty('attributes')
  expect(shown[1]).toMatchObject({ attributes: { source: 'web' }, payload: 1 })
})

test('millrace tail shows what a codec of a module’s own cannot read, and goes on', async () => {
  const { server, raw } = await startScenario()
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'consumer.mjs')
  const answers = [
    `Promise.reject(new Error('no'))`,
    `{ type: 'A', payload: 1, attributes: { n: 5n } }`,
    `{ type: 'A', payload: 1, eventId: 5 }`,
    `{ type: 'A', payload: 1 }`,
  ]
  const decode = `(fields) => [${answers.map((answer) => `() => (${answer})`).join()}][Number(fields[0][1])]()`
  await writeFile(
    file,
    `import { defineConsumer, defineEvent, on } from ${JSON.stringify(pathToFileURL('dist/index.js').href)}
const payload = { '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) } }
const routes = [on(defineEvent('A', { payload }), () => {})]
export const own = defineConsumer({ stream: 'orders', group: 'own', routes, codec: { decode: ${decode} } })
`,
  )
  for (const n of answers.keys()) await raw.xadd('orders', `1-${n + 1}`, 'n', `${n}`)
  const args = ['tail', file, '--redis', server.url, '--from', '0', '--to-end', '--json', '--payload']
  const run = millrace(args, { env: { PATH: process.env.PATH } })

  expect(await run.exit).toBe(0)
  expect(run.lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { id: '1-1', problem: 'The codec must decode at once, not give a promise' },
    { id: '1-2', problem: 'The codec must give an attribute as a string, got bigint' },
    { id: '1-3', problem: 'The codec must give eventId as a string, got number' },
    { id: '1-4', type: 'A', payload: 1 },
  ])
})

test('millrace tail --json prints a document a line', async () => {
  const { server, raw, publish } = await startScenario()
  const [id] = await publish('o-0')
  await raw.xadd('orders', '*', 'no', 'event')
  const run = tail(server.url, '--from', '0', '--count', '2', '--json', '--payload')

  expect(await run.exit).toBe(0)
  expect(run.lines.map((line) => JSON.parse(line))).toEqual([
    {
      id,
      time: new Date(Number(id?.split('-')[0])).toISOString(),
      type: 'OrderPaid',
      version: 1,
      eventId: expect.stringMatching(UUID),
      occurredAt: expect.any(String),
      bytes: expect.any(Number),
      payload: { orderId: 'o-0' },
    },
    expect.objectContaining({ problem: 'Field eventType is missing', bytes: 7, fields: [['no', 'event']] }),
  ])
})

test('millrace tail --type leaves out other types and what is no event', async () => {
  const { server, raw } = await startScenario()
  for (const type of ['A', 'B', 'C', 'A']) await raw.xadd('orders', '*', 'eventType', type, 'payload', '1')
  await raw.xadd('orders', '*', 'no', 'event')
  await raw.xadd('orders', '*', 'eventType', 'C', 'payload', '1')
  const run = tail(server.url, '--from', '0', '--type', 'A', '--type', 'C', '--count', '4')

  expect(await run.exit).toBe(0)
  expect(run.lines.map((line) => line.split('  ')[2])).toEqual(['A', 'C', 'A', 'C'])
})

test('millrace tail --to-end shows what is there, of only one event if asked, and ends', async () => {
  const { server, redis } = await startScenario()
  const publisher = createPublisher({ stream: 'orders', redis })
  for (const eventId of ['e-1', 'e-2', 'e-1', ...names('other-', 200)])
    await publisher.publish(OrderPaid, { orderId: 'o' }, { eventId })
  const all = tail(server.url, '--from', '0', '--to-end')
  const one = tail(server.url, '--from', '-1h', '--event-id', 'e-1', '--to-end')
  const none = tail(server.url, '--to-end')

  expect(await Promise.all([all.exit, one.exit, none.exit])).toEqual([0, 0, 0])
  expect([all.lines.length, none.lines]).toEqual([203, []])
  expect(one.lines.map((line) => line.split('  ')[3])).toEqual(['e-1', 'e-1'])
})

test('millrace tail waits for a missing stream, and through a restart of the server', async () => {
  const { server, raw } = await startScenario()
  const run = tail(server.url, '--count', '2')
  await hasRead(raw)
  await raw.xadd('orders', '5-1', 'eventType', 'A', 'payload', '1')
  await run.printed(/^5-1 /)
  server.kill('SIGKILL')
  await run.printed(/^Cannot reach Redis: .*; trying again$/)
  await server.restart()
  await raw.xadd('orders', '6-1', 'eventType', 'A', 'payload', '1')

  await run.printed(/^6-1 /)
  expect(await run.exit).toBe(0)
})

test('millrace tail ends when its reader does', async () => {
  const { server, publish } = await startScenario()
  await publish(...names('o', 10))
  const run = tail(server.url, '--from', '0')
  await run.printed(/OrderPaid/)
  run.closeOutput()
  await publish('one more')

  expect(await run.exit).toBe(0)
})

test.each<[string, string[], number, RegExp]>([
  ['a key that is no stream', ['--from', '0'], 1, /^millrace tail: WRONGTYPE/],
  [
    'a start that is none',
    ['--from', 'yesterday'],
    2,
    /^millrace tail: --from must be an entry id, .* got "yesterday"$/,
  ],
  ['a count that is none', ['--count', '0'], 2, /^millrace tail: --count must be a whole number from 1, got "0"$/],
  ['two streams', ['--stream', 'others'], 2, /^millrace tail: one --stream must be named, got 2$/],
])('millrace tail refuses %s', async (_title, args, code, line) => {
  const { server, raw } = await startScenario()
  await raw.set('orders', 'no stream')
  const run = tail(server.url, ...args)

  await run.printed(line)
  expect(await run.exit).toBe(code)
})

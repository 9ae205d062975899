import type { Redis } from 'ioredis'
import { expect, test, vi } from 'vitest'
import { DLQ, startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const GROUP = ['--stream', 'orders', '--group', 'billing']
/** What a program needs that keeps in memory no more than it shows. */
const SMALL = { NODE_OPTIONS: '--max-old-space-size=48' }

function run(url: string, ...args: string[]) {
  return millrace([...args, '--redis', url], { env: { PATH: process.env.PATH, ...SMALL } })
}

/** Makes dead letters of ours, each with a payload of that many bytes, as a script on the server. */
async function addLetters(raw: Redis, count: number, bytes = 10): Promise<void> {
  const head = `'originalStream','orders','originalId',n..'-1','group','billing','consumer','poller-0','eventId','','eventType','OrderPaid',
    'reason','invalid','errorName','E','errorMessage','m','deliveryCount','1','lastDeliveredAt','x','failedAt','x','fieldCount','1','payload',ARGV[2]`
  for (let from = 1; from <= count; from += 10_000) {
    const to = Math.min(count, from + 9_999)
    await raw.eval(
      `for n = ${from}, ${to} do redis.call('XADD', ARGV[1], n..'-0', ${head}) end`,
      0,
      DLQ,
      'x'.repeat(bytes),
    )
  }
}

test.each([5_000, 200_000])('tail --payload goes on after JSON of %i levels', async (levels) => {
  const { server, raw } = await startScenario()
  const deep = `${'['.repeat(levels)}${']'.repeat(levels)}`
  await raw.xadd('orders', '1-0', 'eventType', 'Deep', 'payload', deep)
  await raw.xadd('orders', '2-0', 'eventType', 'Plain', 'payload', '{"a":1}')
  const from = ['tail', '--stream', 'orders', '--from', '0', '--to-end', '--payload']
  const [text, json] = [run(server.url, ...from), run(server.url, ...from, '--json')]

  expect([await text.exit, await json.exit]).toEqual([0, 0])
  expect(text.lines.map((line) => [line.slice(0, 3), line.length < 5_000])).toEqual([
    ['1-0', true],
    ['2-0', true],
  ])
  expect(json.lines.map((line) => (JSON.parse(line) as { id: string; payload?: unknown }).payload)).toEqual([
    undefined,
    { a: 1 },
  ])
})

test('an event type, id or producer of 1 MB makes no other line of tail longer', async () => {
  const { server, raw } = await startScenario()
  const long = 'x'.repeat(1_000_000)
  await raw.xadd('orders', '1-0', 'eventType', long, 'eventId', long, 'producer', long, 'payload', '1')
  await raw.xadd('orders', '2-0', 'eventType', 'Plain', 'payload', '1')
  const tail = run(server.url, 'tail', '--stream', 'orders', '--from', '0', '--to-end')

  expect(await tail.exit).toBe(0)
  expect(tail.lines.map((line) => line.length < 500)).toEqual([true, true])
})

test('dlq ls lists any number of letters in memory that does not grow', async () => {
  const { server, raw } = await startScenario()
  await addLetters(raw, 130_000, 200)
  const ls = run(server.url, 'dlq', 'ls', ...GROUP, '--limit', '1000000')

  expect([await ls.exit, ls.lines.length]).toEqual([0, 130_001])
}, 120_000)

test('dlq redrive names twenty of many letters that stay, and counts the others in constant memory', async () => {
  const { server, raw } = await startScenario()
  await addLetters(raw, 30_000)
  await raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
  const redrive = run(server.url, 'dlq', 'redrive', ...GROUP, '--all')

  expect(await redrive.exit).toBe(1)
  expect(redrive.lines.filter((line) => line.includes('was trimmed'))).toHaveLength(20)
  expect(redrive.lines.at(-1)).toBe('and 29980 more')
}, 120_000)

test('status cuts names of 1 MB', async () => {
  const { server, raw } = await startScenario()
  const long = 'g'.repeat(1_000_000)
  await raw.xgroup('CREATE', 'orders', long, '0', 'MKSTREAM')
  await raw.xgroup('CREATE', 'orders', 'billing', '0')
  await raw.xgroup('CREATECONSUMER', 'orders', 'billing', long)
  const status = run(server.url, 'status', '--stream', 'orders', '--details')

  expect(await status.exit).toBe(0)
  expect(Math.max(...status.lines.map((line) => line.length))).toBeLessThan(1_000)
})

const LAST_ID = '18446744073709551615-18446744073709551615'

test.each([
  ['status', '--stream', 'orders', '--details'],
  ['status', '--stream', 'orders', '--details', '--json'],
  ['tail', '--stream', 'orders', '--from', '0', '--to-end'],
  ['tail', '--stream', 'orders', '--from', '0', '--to-end', '--json'],
  ['dlq', 'ls', ...GROUP],
  ['dlq', 'ls', ...GROUP, '--json'],
  ['dlq', 'ls', ...GROUP, '--newer-than', '1h'],
  ['dlq', 'show', ...GROUP, LAST_ID],
  ['dlq', 'redrive', ...GROUP, '--all'],
  ['dlq', 'drop', ...GROUP, '--all', '--yes'],
  ['doctor', 'functions/orders/consumer.ts'],
  ['analyze', 'orders'],
  ['analyze', 'orders', '--json'],
  ['analyze', 'orders', '--sample', '100', '--from', '0-1', '--time-zone', 'Asia/Tokyo'],
])('millrace %s %s %s takes ids beyond any date', async (...args) => {
  const { server, raw } = await startScenario()
  await raw.xadd('orders', '1-0', 'eventType', 'OrderPaid', 'payload', '{}')
  await raw.xadd('orders', LAST_ID, 'eventType', 'OrderPaid', 'payload', '{}')
  await raw.xgroup('CREATE', 'orders', 'billing', '0')
  await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'STREAMS', 'orders', '>')
  const head = ['originalStream', 'orders', 'originalId', LAST_ID, 'group', 'billing', 'consumer', 'poller-0']
  await raw.xadd(DLQ, LAST_ID, ...head, 'reason', 'invalid', 'deliveryCount', '1', 'fieldCount', '1', 'payload', '{}')
  const program = run(server.url, ...args)

  // doctor's 3: errors were found
  expect([0, 1, 3]).toContain(await program.exit)
  expect(program.text).not.toMatch(/invalid (time|date)|NaN|Infinity|RangeError/i)
})

test.each([
  ['tail', '--stream', ''],
  ['status', '--stream', 'orders', '--group', ''],
  ['dlq', 'ls', '--stream', 'orders', '--group', ''],
  ['doctor', '--stream', ''],
  ['analyze', 'orders', '--group', ''],
])('millrace %s %s %j refuses a name that is empty', async (...args) => {
  const program = run('redis://127.0.0.1:1', ...args)

  expect([await program.exit, program.text]).toEqual([
    2,
    expect.stringMatching(/--(stream|group) must (not be empty|be a string that is not empty)/),
  ])
})

test('tail goes on where the last id there can be is taken', async () => {
  const { server, raw } = await startScenario()
  await raw.xadd('orders', LAST_ID, 'eventType', 'Plain', 'payload', '1')
  const tails = [[], ['--from', '0']].map((from) => run(server.url, 'tail', '--stream', 'orders', ...from))
  await tails[1]?.printed(/Plain/)
  const asked = async () => Number(/cmdstat_xrange:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1] ?? 0)
  // what each asks first, and twice what it asks behind the end
  await vi.waitUntil(async () => (await asked()) >= 5, { timeout: 20_000, interval: 50 })
  for (const tail of tails) tail.interrupt()

  expect(await Promise.all(tails.map(({ exit }) => exit))).toEqual([0, 0])
  expect(tails.map(({ lines }) => lines.length)).toEqual([0, 1])
})

test('dlq ls ends where a page ends with the last id there can be', async () => {
  const { server, raw } = await startScenario()
  await addLetters(raw, 9)
  const [, fields] = (await raw.xrange(DLQ, '-', '+', 'COUNT', 1))[0] as [string, string[]]
  await raw.xadd(DLQ, LAST_ID, ...fields)
  const ls = run(server.url, 'dlq', 'ls', ...GROUP)

  expect([await ls.exit, ls.lines.length]).toEqual([0, 11])
})

/** What would do something in a terminal: colours, moves of the cursor, other directions, ends of lines, halves of characters. */
const HOSTILE = `\u001b[2J\u001b]0;title\u0007\r\n\u0000\u009b31m\u202e\u2066\u2028\u200b\u{e0041}\ud800é`
const DOES_SOMETHING = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

test.each([
  ['status', '--stream', 'orders', '--details'],
  ['status', '--stream', 'orders', '--details', '--json'],
  ['tail', '--stream', 'orders', '--from', '0', '--to-end', '--payload'],
  ['tail', '--stream', 'orders', '--from', '0', '--to-end', '--payload', '--json'],
  ['dlq', 'ls', ...GROUP],
  ['dlq', 'ls', ...GROUP, '--json'],
  ['dlq', 'show', ...GROUP, '--payload'],
  ['dlq', 'show', ...GROUP, '--payload', '--json'],
  ['dlq', 'redrive', ...GROUP, '--all'],
  ['dlq', 'ls', '--stream', HOSTILE.replace('\u0000', ''), '--group', HOSTILE.replace('\u0000', '')],
  ['doctor', 'functions/orders/consumer.ts'],
  ['analyze', 'orders', '--by', HOSTILE.replace('\u0000', '')],
  ['analyze', 'orders', '--json', '--by', HOSTILE.replace('\u0000', '')],
])('millrace %s %s %s shows names and values that would do something in a terminal', async (...args) => {
  const { server, raw } = await startScenario()
  const h = HOSTILE
  for (const type of ['T', h])
    await raw.xadd(
      'orders',
      '*',
      'eventType',
      type,
      'eventId',
      h,
      'producer',
      h,
      h,
      h,
      'payload',
      JSON.stringify({ [h]: h }),
    )
  await raw.xadd('orders', '*', h, h)
  for (const group of ['billing', h]) {
    await raw.xgroup('CREATE', 'orders', group, '0')
    await raw.xreadgroup('GROUP', group, h, 'STREAMS', 'orders', '>')
  }
  const head = [
    'originalStream',
    'orders',
    'originalId',
    '1-1',
    'group',
    'billing',
    'consumer',
    h,
    'eventId',
    h,
    'eventType',
    h,
  ]
  const error = ['errorName', h, 'errorMessage', h, 'errorStack', `Error: ${h}\n    at ${h}`]
  const tail = ['deliveryCount', '1', 'lastDeliveredAt', h, 'failedAt', h, 'traceparent', h, 'fieldCount', '1', h, h]
  await raw.xadd(DLQ, '*', ...head, 'reason', 'invalid', ...error, ...tail)
  await raw.xadd(DLQ, '*', ...head, 'reason', h, ...error, ...tail)
  await raw.xadd(DLQ, '*', h, h)
  const program = run(server.url, ...args)
  await program.exit

  expect(program.text).not.toBe('')
  expect(program.text.split('\n').filter((line) => DOES_SOMETHING.test(line))).toEqual([])
})

import type { Redis } from 'ioredis'
import { expect, test } from 'vitest'
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

test('dlq redrive of many letters that stay names twenty and counts the others, in memory that does not grow', async () => {
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

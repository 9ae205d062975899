import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { NonRetryableError, orderedBy, poll } from 'millrace'
import { expect, onTestFinished, test } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, DLQ, noting, startScenario } from '../support/scenario.ts'
import { millrace, type Run } from './millrace.ts'

const MODULE = join(import.meta.dirname, '../../functions/orders/consumer.ts')
const GROUP = ['--stream', 'orders', '--group', 'billing']
const ESCAPE = '\u001B'

/** Dead letters of the named orders. */
async function aShop(...orderIds: string[]) {
  const scenario = await startScenario()
  const fail = () => Promise.reject(new NonRetryableError(`declined ${ESCAPE}[31m`))
  await scenario.publish(...orderIds)
  await poll(billing(fail), { redis: scenario.redis })
  const letters = await scenario.deadLetters()
  return {
    ...scenario,
    ids: letters.map(({ id }) => id),
    entries: letters.map(({ head }) => head.originalId),
    dlq: (...args: string[]) =>
      millrace(['dlq', ...args], { env: { REDIS_URL: scenario.server.url, PATH: process.env.PATH } }),
  }
}

async function ended(run: Run): Promise<[exit: number | null, ...lines: string[]]> {
  return [await run.exit, ...run.lines]
}

async function handledAfter({ redis }: Scenario): Promise<string[]> {
  const { calls, handler } = noting()
  await claimOnce(billing(handler), { redis })
  return calls
}

test('ls prints a table, and nothing that does something in a terminal', async () => {
  const { dlq, ids, entries } = await aShop('a', 'b')
  const [exit, heading, ...rows] = await ended(dlq('ls', ...GROUP))

  expect([exit, heading?.split(/\s{2,}/)]).toEqual([
    0,
    ['LETTER', 'SET ASIDE', 'GROUP', 'REASON', 'TYPE', 'DELIVERIES', 'ENTRY', 'ERROR'],
  ])
  expect(rows.map((row) => row.split(/\s{2,}/))).toEqual(
    ids.map((id, n) => [
      id,
      `${new Date(Number.parseInt(id, 10)).toISOString().slice(0, 19)}Z`,
      'billing',
      'non-retryable',
      'OrderPaid',
      '1',
      entries[n],
      'NonRetryableError: declined \\u{1b}[31m',
    ]),
  )
})

test('ls takes a module, filters and a limit; --json prints one object per line without fields', async () => {
  const { dlq, ids } = await aShop('a', 'b', 'c')
  const listed = async (...args: string[]) =>
    (await ended(dlq('ls', ...args, '--json')))
      .slice(1)
      .map((line) => JSON.parse(String(line)) as Record<string, unknown>)

  const all = await listed(MODULE)
  expect(all.map(({ id }) => id)).toEqual(ids)
  expect(all[0]).toMatchObject({
    stream: 'orders',
    reason: 'non-retryable',
    error: { message: `declined ${ESCAPE}[31m` },
  })
  expect(all[0]).not.toHaveProperty('fields')
  expect(
    (await listed(MODULE, '--limit', '2', '--type', 'OrderPaid', '--newer-than', '1h')).map(({ id }) => id),
  ).toEqual(ids.slice(0, 2))
  expect(await listed(...GROUP, '--reason', 'crashed', '--reason', 'invalid')).toEqual([])
  expect(await ended(dlq('ls', ...GROUP, '--limit', '2'))).toContain('There are more than 2: see --limit')
  expect(await ended(dlq('ls', ...GROUP, '--older-than', '1h'))).toEqual([0, 'No dead letters'])
})

test('show prints the entry’s own fields only when asked', async () => {
  const { dlq, ids, raw } = await aShop('a')
  const [id = ''] = ids
  const [exit, ...lines] = await ended(dlq('show', id, ...GROUP))

  expect(exit).toBe(0)
  expect(lines).toContain('error           NonRetryableError: declined \\u{1b}[31m')
  expect(lines.at(-1)).toBe('fields          4, shown with --payload')
  expect(lines.join('\n')).not.toContain('orderId')
  expect((await ended(dlq('show', '--id', id, ...GROUP, '--payload'))).at(-1)).toBe('  payload: {"orderId":"a"}')

  const entry = await raw.xadd('orders', '*', Buffer.from('a'), Buffer.from([0xff]))
  const head = { originalStream: 'orders', originalId: String(entry), group: 'billing', fieldCount: '1' }
  const binary = String(await raw.xadd(DLQ, '*', ...Object.entries(head).flat(), Buffer.from('a'), Buffer.from([0xff])))
  const [, json] = await ended(dlq('show', binary, ...GROUP, '--payload', '--json'))
  expect(JSON.parse(String(json))).toMatchObject({ entryId: entry, fields: [['a', { base64: '/w==' }]] })
})

test('ls, show and drop know the ordering keys of letters', async () => {
  const { dlq, redis, publish, deadLetters } = await aShop()
  await publish('a', 'b')
  const fail = () => Promise.reject(new NonRetryableError('no'))
  const keyOf = ({ eventId }: { eventId?: string | undefined }) => `${ESCAPE}${eventId}`
  await poll(billing(fail, { use: [orderedBy(keyOf, { afterDeadLetter: 'wait' })] }), { redis })
  const [first, second] = (await deadLetters()).map(({ id, head }) => ({ id, key: head.orderingKey as string }))

  const [exit, heading, row, ...others] = await ended(dlq('ls', ...GROUP, '--key', String(first?.key)))
  expect([exit, heading?.split(/\s{2,}/)[5], row?.split(/\s{2,}/)[5], others]).toEqual([
    0,
    'KEY',
    first?.key.replace(ESCAPE, '\\u{1b}'),
    [],
  ])
  expect(await ended(dlq('show', String(first?.id), ...GROUP))).toContain(
    `orderingKey     ${first?.key.replace(ESCAPE, '\\u{1b}')}`,
  )
  expect((await ended(dlq('drop', ...GROUP, '--key', String(first?.key), '--yes')))[0]).toBe(0)
  expect((await deadLetters()).map(({ id }) => id)).toEqual([second?.id])
})

test('--help names the actions and options', async () => {
  const run = millrace(['dlq', 'ls', '--help'])

  await run.printed(/^ {2}redrive {3}puts their entries back to work/)
  expect(await run.exit).toBe(0)
})

test('show of what there is not exits with 1', async () => {
  const { dlq } = await aShop()
  expect(await ended(dlq('show', '1-1', ...GROUP))).toEqual([1, '1 of 1 letters were not found, or do not fit'])
})

test('redrive announces what it will do, puts entries back to work, and names those that stay', async () => {
  const shop = await aShop('a', 'b', 'trimmed')
  const { dlq, ids, raw } = shop
  await raw.xdel('orders', String(shop.entries[2]))

  const stays = `${ids[2]} stays: its entry was trimmed from the stream; see --republish`
  expect(await ended(dlq('redrive', ...GROUP, '--all', '--dry-run'))).toEqual([
    1,
    'billing on orders: would be redriven 2, trimmed 1',
    stays,
  ])
  expect(await raw.xlen(DLQ)).toBe(3)
  expect(await ended(dlq('redrive', MODULE, '--id', String(ids[1])))).toEqual([0, 'billing on orders: redriven 1'])
  expect(await ended(dlq('redrive', ...GROUP, '--all'))).toEqual([1, 'billing on orders: redriven 1, trimmed 1', stays])
  expect((await handledAfter(shop)).toSorted()).toEqual(['a', 'b'])
  const [exit, json] = await ended(dlq('redrive', ...GROUP, '--all', '--republish', 'group', '--json'))
  expect([exit, JSON.parse(String(json))]).toMatchObject([
    0,
    { stream: 'orders', group: 'billing', dryRun: false, republished: 1 },
  ])
  expect(await raw.xlen(DLQ)).toBe(0)
})

test('drop takes a --yes where nobody can be asked', async () => {
  const { dlq, ids, raw } = await aShop('a', 'b', 'c')

  expect(await ended(dlq('drop', ...GROUP, '--all'))).toEqual([
    2,
    'millrace dlq drop: --yes must say so, since nobody can be asked',
  ])
  expect(await ended(dlq('drop', ...GROUP, '--all', '--dry-run'))).toEqual([0, 'billing on orders: would be dropped 3'])
  expect(await raw.xlen(DLQ)).toBe(3)
  expect(await ended(dlq('drop', ...GROUP, String(ids[1]), '--yes'))).toEqual([0, 'billing on orders: dropped 1'])
  expect(await ended(dlq('drop', ...GROUP, String(ids[1]), '--yes'))).toEqual([
    1,
    'billing on orders: no letter fits',
    '1 of 1 letters were not found, or do not fit',
  ])
  expect(await ended(dlq('drop', MODULE, '--all', '--limit', '1', '--yes'))).toEqual([
    0,
    'billing on orders: dropped 1',
  ])
  expect((await raw.xrange(DLQ, '-', '+')).map(([id]) => id)).toEqual([ids[2]])
})

test('a refusing server is quoted in its own words', async () => {
  const { dlq, raw } = await aShop()
  await raw.set(DLQ, 'a string')

  expect(await ended(dlq('ls', ...GROUP))).toEqual([1, expect.stringMatching(/^millrace dlq: WRONGTYPE /)])
})

test.each<[string, string[], RegExp]>([
  ['no action', [], /^millrace dlq: the first word must be one of ls, show, redrive, drop$/],
  ['redrive of nothing in particular', ['redrive', ...GROUP], /must say which letters, or --all$/],
  ['drop with a limit alone', ['drop', ...GROUP, '--limit', '5', '--yes'], /must say which letters, or --all$/],
  ['show without an id', ['show', ...GROUP], /^millrace dlq show: --id must say which letter$/],
  ['an id that is none', ['show', ...GROUP, '--id', 'x'], /--id must be the id of a letter, as in \S+, got "x"$/],
  [
    'an age without a unit',
    ['ls', ...GROUP, '--older-than', '2'],
    /--older-than must be a number with one of .* got "2"$/,
  ],
  [
    'a reason that there is not',
    ['ls', ...GROUP, '--reason', 'late'],
    /--reason must be one of malformed, .* got "late"$/,
  ],
  ['a limit of 0', ['ls', ...GROUP, '--limit', '0'], /--limit must be a whole number from 1, got "0"$/],
  [
    'republish for nobody',
    ['redrive', ...GROUP, '--all', '--republish', 'me'],
    /--republish must be group or all, got "me"$/,
  ],
  ['a flag of another action', ['ls', ...GROUP, '--dry-run'], /^millrace dlq ls: there is no --dry-run$/],
  ['an unknown option', ['ls', '--fast'], /^millrace dlq: Unknown option '--fast'/],
  ['no group', ['ls', '--stream', 'orders'], /a MODULE, or --stream and --group, must say whose dead letters$/],
])('%s is wrong usage', async (_title, args, line) => {
  const run = millrace(['dlq', ...args], { env: { REDIS_URL: 'redis://127.0.0.1:1', PATH: process.env.PATH } })

  await run.printed(line)
  expect(await run.exit).toBe(2)
})

test('names that are not there are no empty list', async () => {
  const { dlq, raw } = await aShop('a')
  const of = (stream: string, group: string) => ['--stream', stream, '--group', group]
  const noStream = 'the stream must exist, got "oders"; millrace status lists those that there are'
  const noGroup =
    'the group must exist on "orders", got "biling": its poller makes it when it first runs; it has "billing"'

  expect(await ended(dlq('ls', ...of('oders', 'billing')))).toEqual([1, `millrace dlq ls: ${noStream}`])
  expect(await ended(dlq('ls', ...of('orders', 'biling'), '--json'))).toEqual([1, `millrace dlq ls: ${noGroup}`])
  for (const action of ['redrive', 'drop'])
    expect(await ended(dlq(action, ...of('orders', 'biling'), '--all', '--dry-run'))).toEqual([
      1,
      `millrace dlq ${action}: ${noGroup}`,
    ])
  await raw.xgroup('DESTROY', 'orders', 'billing')
  expect((await ended(dlq('ls', ...GROUP, '--json')))[0], 'letters of a lost group').toBe(0)
})

test('two consumers of one group have their letters once', async () => {
  const { dlq, ids } = await aShop('a', 'b')
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const twice = join(folder, 'twice.mjs')
  await writeFile(
    twice,
    `import { billing } from ${JSON.stringify(pathToFileURL(MODULE).href)}
    export const [one, other] = [billing, { ...billing }]`,
  )

  for (const modules of [[twice], [MODULE, twice]]) {
    const [, ...lines] = await ended(dlq('ls', ...modules, '--json'))
    expect(lines.map((line) => (JSON.parse(String(line)) as { id: string }).id)).toEqual(ids)
    expect(await ended(dlq('redrive', ...modules, '--all', '--dry-run'))).toEqual([
      0,
      'billing on orders: would be redriven 2',
    ])
  }
})

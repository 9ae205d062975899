import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { millrace } from './millrace.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const MODULE = 'functions/orders/consumer.ts'

async function planned(...args: string[]) {
  const program = millrace(['plan', ...args], { cwd: root })
  return { code: await program.exit, text: program.lines.join('\n') }
}

describe('millrace plan', () => {
  test('prints what a module’s consumer does and costs, and connects to nothing', async () => {
    const rates = ['--lambda-gb-second', '0.00001', '--redis-command', '0.000002']
    const { code, text } = await planned(MODULE, '--events-per-second', '0', ...rates)

    expect(text).toBe(
      [
        'Group billing of stream orders: 0 events/s, handlers of 50 ms, a poller every 1 min, 512 MB',
        '',
        'Latency        mean 30.06 s, worst 60.06 s; after a crash at most 120 s',
        'Retries        the first at most 60.01 s late, others 2 s; waiting takes at most 1,188,000 GB-seconds in 30 days',
        'Capacity       146 events/s, of which 0 % are used',
        'Memory         at most 0 B',
        '',
        'In 30 days       poller  claimer  publishers      sum',
        'Invocations      43,200   43,200               86,400',
        'GB-seconds          302      302                  604',
        'Redis commands   86,400  259,200           0  345,600',
        '',
        'Price          Lambda 0.01, Redis 0.69; together 0.70',
      ].join('\n'),
    )
    expect(code).toBe(0)
  })

  test('shouts where the pollers do not keep up', async () => {
    const { text } = await planned('--events-per-second', '1000')

    expect(text).toMatch(/^Latency {8}mean without end, worst without end/m)
    expect(text).toMatch(/^Capacity .* less than come: THE STREAM GROWS$/m)
  })

  test('shouts where every call times out', async () => {
    const line = 'Timeouts       handlers take 20 s, handlerTimeoutMs is 10 s: EVERY CALL TIMES OUT'

    expect((await planned('--handler-ms', '20000', '--timeout', '900')).text.split('\n')).toContain(line)
    expect((await planned('--handler-ms', '10000')).text).not.toContain('TIMES OUT')
    expect((await planned(MODULE, '--handler-ms', '20000')).text).toContain(
      'handlerTimeoutMs of OrderPaid, OrderShipped is 10 s',
    )
  })

  test('says how much of maxmemory a stream will take, and what to lower', async () => {
    const { text } = await planned('--entry-bytes', '800', '--maxmemory', '512')

    expect(text).toMatch(
      /^Memory {9}at most 1018\.\d MB: 1,000,000 entries of 800 B \(11d 13h\) 793\.\d MB, 10,000 pending 1\.5 MB, 100,000 set aside 25\.6 MB, 100,000 dead letters 198\.\d MB$/m,
    )
    expect(text).toMatch(
      /^ {15}199 % of maxmemory, 512 MB, IS TOO MUCH: lower maxLength from 1,000,000 to 290,000, keep large payloads elsewhere \(claimCheck\), or take a maxmemory of 1,13\d MB or more$/m,
    )
  })

  test('--json prints the numbers, a plan a consumer', async () => {
    const { text } = await planned(MODULE, '--json', '--schedule', 'rate(5 minutes)', '--pollers', '2', '--wakes')

    expect(JSON.parse(text)).toMatchObject([{ stream: 'orders', group: 'billing', month: { ticks: 8_640 * 3 } }])
  })

  test('--acl prints the users of a module’s consumer, and nothing else', async () => {
    const { code, text } = await planned(MODULE, '--acl')

    expect(text).toMatch(
      /^user orders-billing-poller on ~orders ~\{orders\}:billing:\* -@all \+eval [^\n]+\nuser orders-billing-claimer on [^\n]+$/,
    )
    expect(code).toBe(0)
  })

  test.each<[string, string[], RegExp]>([
    ['--acl takes a module', ['--acl'], /^millrace plan: --acl needs a MODULE/],
    ['--schedule takes a rate', ['--schedule', 'cron(0 12 * * ? *)'], /--schedule must be a rate\(…\)/],
    ['numbers are numbers', ['--memory', 'big'], /^millrace plan: --memory must be a number, got "big"$/],
    ['values have bounds', ['--pollers', '1.5'], /pollers must be a whole number, got 1.5$/],
    [
      'a module must export consumers',
      ['functions/events/orders.ts'],
      /events\/orders.ts must export what defineConsumer made$/,
    ],
    ['an unknown option is wrong usage', ['--fast'], /^millrace plan: Unknown option '--fast'/],
  ])('%s', async (_title, args, line) => {
    const program = millrace(['plan', ...args], { cwd: root })

    await program.printed(line)
    expect(await program.exit).toBe(2)
  })
})

describe('consumers of one group', () => {
  test('--acl prints the users of a group once, with the rights of all its consumers', async () => {
    const folder = await mkdtemp(join(root, 'test/cli/plan-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const file = join(folder, 'consumers.mjs')
    await writeFile(
      file,
      `import { defineConsumer, defineEvent, on } from 'millrace'
      const payload = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }
      const of = (mode) => defineConsumer({ stream: 'orders', group: 'billing', mode, routes: [on(defineEvent('A', { payload }), () => {})] })
      export const [one, other] = [of('drain'), of('listen')]`,
    )
    const { code, text } = await planned('--acl', file)

    expect(code).toBe(0)
    expect(text.split('\n').map((line) => line.split(' ')[1])).toEqual([
      'orders-billing-poller',
      'orders-billing-claimer',
    ])
    expect(text).toContain('+zrangebylex')
  })
})

describe('README', () => {
  test('"What it costs" has what its command prints', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    // a block of sh with the command, its lines ending in backslashes, and right after it one of text with the output
    const block = /```sh\n(npx millrace plan [^`]*?)```\n\n```text\n([^`]*)```/.exec(readme)
    const [, command = '', output = ''] = block ?? []
    const words = command.replaceAll('\\\n', ' ').match(/'[^']*'|\S+/g) ?? []
    const args = words.slice(2).map((word) => word.replaceAll("'", ''))

    expect(words.slice(0, 3)).toEqual(['npx', 'millrace', 'plan'])
    const { stdout } = await run(process.execPath, ['dist/cli/main.js', ...args], { cwd: root })
    expect(stdout).toBe(output)
  })
})

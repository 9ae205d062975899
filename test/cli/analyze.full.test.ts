import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import type { Analysis } from 'millrace/operate'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const START = Date.UTC(2026, 0, 31, 12)

function run(url: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return millrace(['analyze', ...args, '--redis', url], { env: { PATH: process.env.PATH, ...env } })
}

/** Adds so many events, one a second. */
async function fill(raw: Redis, count: number): Promise<void> {
  const script = `for n = 0, ARGV[1] - 1 do
    redis.call('XADD', KEYS[1], (ARGV[2] + n * 1000)..'-0', 'eventType', n % 4 == 0 and 'OrderPaid' or 'PageViewed', 'producer', 'shop', 'payload', '{"action":"a'..(n % 3)..'"}') end`
  await raw.eval(script, 1, 'orders', count, START)
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-analyze-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}

/** The program without these packages. */
function without(...packages: readonly string[]): NodeJS.ProcessEnv {
  const code = `import { registerHooks } from 'node:module'
    registerHooks({ resolve(name, context, next) {
      if (${JSON.stringify(packages)}.includes(name)) throw Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' })
      return next(name, context) } })`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` }
}

describe('millrace analyze', () => {
  test('prints what is in a stream', async () => {
    const { server, raw } = await startScenario()
    await fill(raw, 120)
    await raw.xgroup('CREATE', 'orders', 'billing', '0')
    await raw.xreadgroup('GROUP', 'billing', 'c', 'COUNT', 8, 'STREAMS', 'orders', '>')
    const program = run(server.url, ['orders', '--by', 'action', '--time-zone', 'Europe/Berlin'])

    expect(await program.exit).toBe(0)
    const lines = program.lines.map((line) => line.replace(/\d+d( \d+h)?/g, 'N'))
    expect(lines.slice(0, 18)).toEqual([
      'orders  120 entries',
      'read 120, 2026-01-31 13:00:00 to 2026-01-31 13:01:59 Europe/Berlin',
      '',
      'Event types',
      '  entries   share',
      '       90  75.0 %  ███████████████  PageViewed',
      '       30  25.0 %  █████            OrderPaid',
      '',
      'Values of action',
      '  entries   share',
      '       40  33.3 %  ██████▋  a0',
      '       40  33.3 %  ██████▋  a1',
      '       40  33.3 %  ██████▋  a2',
      '',
      'Producers',
      '  entries    share',
      '      120  100.0 %  ████████████████████  shop',
      '',
    ])
    expect(lines).toContain('  13  120  ██████████████████████████████████████████████████')
    expect(lines).toContain('  mean 60, p50 60, p99 60')
    expect(lines.slice(-5)).toEqual([
      'Pending entries, by age',
      '  billing: 8 pending',
      expect.stringMatching(/^ +entries +p50 +p99 +oldest$/),
      '        6  N  N  N  PageViewed',
      '        2  N  N  N  OrderPaid',
    ])
  })

  test('--json is one document, without anything else', async () => {
    const { server, raw } = await startScenario()
    await fill(raw, 120)
    const program = run(server.url, [
      'orders',
      '--json',
      '--top',
      '1',
      '--from',
      '2026-01-31T12:01Z',
      '--to',
      `${START + 89_000}`,
    ])

    expect(await program.exit).toBe(0)
    expect(JSON.parse(program.text) as Analysis).toMatchObject({ read: 30, types: { rows: [{ value: 'PageViewed' }], others: { count: 8 } } }) // biome-ignore format: one line
  })

  test('ends on Ctrl-C, and prints what it has as partial', async () => {
    const { server, raw } = await startScenario()
    await fill(raw, 1_000)
    const [text, json] = [
      run(server.url, ['orders', '--rate', '40']),
      run(server.url, ['orders', '--rate', '40', '--json']),
    ]
    const commands = async () => Number(/cmdstat_xrange:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1] ?? 0)
    await expect.poll(commands, { timeout: 20_000 }).toBeGreaterThan(3)
    for (const program of [text, json]) program.interrupt()

    expect([await text.exit, await json.exit]).toEqual([1, 1])
    expect(text.text).toMatch(/^! Stopped before the end: interrupted/m)
    expect(text.text).toMatch(/^ +\d+ .*PageViewed$/m)
    const { isComplete, stopped, read } = JSON.parse(json.text) as Analysis
    expect([isComplete, stopped, read > 0 && read < 1_000]).toEqual([false, 'interrupted', true])
  })

  test('draws SVG and PNG', async () => {
    const { server, raw } = await startScenario()
    await fill(raw, 1_000)
    await raw.xadd(
      'orders',
      `${START + 2_000_000}-0`,
      'eventType',
      '<script>"&\u001b',
      'payload',
      '{"action":"\'};alert(1)//"}',
    )
    const folder = await temporaryFolder()
    const [svg, png] = [join(folder, 'orders.svg'), join(folder, 'orders.png')]
    const program = run(server.url, ['orders', '--by', 'action', '--svg', svg, '--png', png])

    expect(await program.exit).toBe(0)
    const drawn = await readFile(svg, 'utf8')
    for (const part of [
      'Stream orders',
      'Hours of the day',
      'Entries per minute',
      'PageViewed',
      '&lt;script',
      'Values of action',
      'alert(1)',
    ])
      expect(drawn).toContain(part)
    expect(drawn).not.toMatch(/<script|NaN|undefined/)
    expect((await readFile(png)).subarray(1, 4).toString()).toBe('PNG')
  })

  test.each([
    [['--svg', 'x.svg'], ['vega-lite'], '--svg needs the package vega-lite: npm install vega-lite'],
    [
      ['--png', 'x.png'],
      ['vega', 'vega-lite', '@resvg/resvg-js'],
      '--png needs the packages vega, vega-lite, @resvg/resvg-js: npm install vega vega-lite @resvg/resvg-js',
    ],
  ])('%j says by name which packages are missing, before it reads', async (args, packages, message) => {
    const program = run('redis://127.0.0.1:1', ['orders', ...args], without(...packages))

    expect([await program.exit, program.text]).toEqual([2, `millrace analyze: ${message}\n`])
  })

  test('reads by the codec of the consumer that a module exports', async () => {
    const { server, raw } = await startScenario()
    const folder = await temporaryFolder()
    const file = join(folder, 'consumer.mjs')
    const index = join(import.meta.dirname, '../../dist/index.js')
    await writeFile(
      file,
      `import { defineConsumer, defineEvent, flatCodec, on } from ${JSON.stringify(index)}
      const schema = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }
      export const billing = defineConsumer({ stream: 'orders', group: 'billing', codec: flatCodec({ typeField: 'kind' }),
        routes: [on(defineEvent('A', { payload: schema }), async function handle(event) {})] })`,
    )
    await raw.xadd('orders', '1-0', 'kind', 'A', 'action', 'go')
    const program = run(server.url, ['--module', file, '--by', 'action', '--json'])

    expect([await program.exit, program.text]).toEqual([0, expect.stringContaining('"value": "go"')])
    expect(JSON.parse(program.text)).toMatchObject({ stream: 'orders', types: { rows: [{ value: 'A' }] } })
  })

  test.each<[title: string, args: readonly string[], code: number, text: RegExp]>([
    ['no stream', [], 2, /^millrace analyze: one STREAM must be named, got 0$/m],
    ['two streams', ['a', 'b'], 2, /^millrace analyze: one STREAM must be named, got 2$/m],
    ['a stream that is missing', ['nothing'], 1, /^nothing {2}no such stream$/m],
    [
      'an unknown zone',
      ['orders', '--time-zone', 'Mars/X'],
      2,
      /^millrace analyze: --time-zone must be one as in Europe\/Berlin, got "Mars\/X"$/m,
    ],
    [
      'a number that is none',
      ['orders', '--rate', '1.5'],
      2,
      /^millrace analyze: --rate must be a whole number, got "1\.5"$/m,
    ],
    [
      'a folder that is none',
      ['orders', '--svg', '/nowhere/orders.svg'],
      2,
      /^millrace analyze: cannot write \/nowhere\/orders.svg: ENOENT/m,
    ],
    [
      'a time that is none',
      ['orders', '--from', 'yesterday'],
      2,
      /^millrace analyze: --from must be an entry id or a time/m,
    ],
    [
      'an end before the start',
      ['orders', '--from', '2', '--to', '1'],
      2,
      /^millrace analyze: --from must not be after to/m,
    ],
    [
      'two starts',
      ['orders', '--from', '2', '--last', '1h'],
      2,
      /^millrace analyze: --from and --last both say where to begin/m,
    ],
    ['an empty field', ['orders', '--by', ''], 2, /^millrace analyze: --by must be a string that is not empty/m],
    [
      'an empty type field',
      ['orders', '--type-field', ''],
      2,
      /^millrace analyze: --type-field must be a string that is not empty/m,
    ],
    [
      'a duration that is none',
      ['orders', '--last', '1y'],
      2,
      /^millrace analyze: --last must be a number with one of/m,
    ],
  ])('refuses %s', async (_title, args, code, text) => {
    const { server } = await startScenario()
    const program = run(server.url, args)

    expect([await program.exit, program.text]).toEqual([code, expect.stringMatching(text)])
  })

  test('--help fits a terminal of 80 columns', async () => {
    const program = run('', ['--help'])

    expect(await program.exit).toBe(0)
    expect(program.lines.filter((line) => line.length > 80)).toEqual([])
  })
})

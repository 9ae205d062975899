import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startRedisServer } from '../../tools/redis-server.ts'
import { millrace } from './millrace.ts'

const CONSUMERS = pathToFileURL('functions/orders/consumer.ts').href

/** A module that exports the sample's consumers, and does something else. */
async function aModule(more: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'consumer.mjs')
  await writeFile(file, `export * from ${JSON.stringify(CONSUMERS)}\n${more}\n`)
  return file
}

test.each<[string, string[], number, RegExp]>([
  ['--help names the commands', ['--help'], 0, /^ {2}dev {5}runs a packaged service/],
  ['status --help names the options', ['status', '--help'], 0, /^ {2}--watch \[S\]/],
  ['tail --help names the options', ['tail', '--help'], 0, /^ {2}--from WHERE/],
  ['dev --help names the options', ['dev', '--help'], 0, /^ {2}--every SECONDS/],
  ['no command is wrong usage', [], 2, /^millrace COMMAND/],
  ['an unknown command is wrong usage', ['fly'], 2, /^millrace: no command "fly"$/],
  ['an unknown option is wrong usage', ['dev', '--fast'], 2, /^millrace dev: Unknown option '--fast'/],
  ['--every takes a number', ['dev', '--every', 'often'], 2, /--every must be a number of seconds, .* got "often"$/],
  ['--every takes more than 0', ['dev', '--every', '0'], 2, /--every must be a number of seconds/],
  ['--env takes KEY=VALUE', ['dev', '--env', 'REDIS_URL'], 2, /^millrace dev: --env must be KEY=VALUE$/],
  ['--redis takes a Redis URL', ['dev', '--redis', 'http://x'], 2, /--redis must be a redis:\/\/ or rediss:\/\/ URL$/],
])('%s', async (_title, args, code, line) => {
  const run = millrace(args)

  await run.printed(line)
  expect(await run.exit).toBe(code)
})

test.each(['--version', '-v'])('%s prints the version of the package', async (option) => {
  const run = millrace([option])

  expect(await run.exit).toBe(0)
  const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string }
  expect(run.lines).toEqual([version])
})

test.each([
  ['status', [], '; a stream is named by --stream'],
  ['tail', [], '; a stream is named by --stream'],
  ['doctor', [], '; a stream is named by --stream'],
  ['dlq ls', [], '; a stream is named by --stream'],
  ['plan', [], ''],
  ['analyze', ['--module'], ''],
])('%s says that a module is not there, and what names a stream', async (command, option, hint) => {
  const run = millrace(
    [...command.split(' '), ...option, 'orders', '--redis', 'redis://127.0.0.1:1'].filter(
      (word) => command !== 'plan' || !/redis/.test(word),
    ),
  )

  expect(await run.exit).toBe(2)
  expect(run.lines).toEqual([`millrace ${command}: cannot load orders: there is no such file${hint}`])
})

test('a command ends when it is done, whatever a module has left open', async () => {
  const run = millrace(['plan', await aModule('setInterval(() => {}, 1_000)')])

  expect(await run.exit).toBe(0)
  expect(run.lines.at(-1)).toMatch(/^Redis commands/)
})

test('a second signal ends what does not obey the first', async () => {
  const run = millrace([
    'plan',
    await aModule("setInterval(() => console.log('busy'), 20)\nawait new Promise(() => {})"),
  ])
  await run.printed(/^busy$/)
  run.interrupt()
  await run.printed(/^busy$/)
  run.interrupt()

  expect(await run.exit).toBe(130)
})

test.each([
  ['an error', "throw new Error('DB_URL must be set')", 'DB_URL must be set'],
  ['something else', 'throw undefined', 'undefined'],
])('a module that throws %s is wrong usage, with its words', async (_title, more, words) => {
  const file = await aModule(more)
  const run = millrace(['plan', file])

  expect(await run.exit).toBe(2)
  expect(run.lines).toEqual([`millrace plan: cannot load ${file}: ${words}`])
})

test('a password that is half percent-encoded is wrong usage, and is not shown', async () => {
  const run = millrace(['dlq', 'ls', '--stream', 'orders', '--group', 'billing', '--redis', 'redis://u:se%zzcr%65t@x'])

  expect(await run.exit).toBe(2)
  expect(run.lines).toEqual([
    expect.stringMatching(/^millrace dlq ls: .*: the password in the URL has escapes beside a lone %: write % as %25$/),
  ])
})

test('what goes wrong says in which command', async () => {
  const run = millrace(['dlq', 'ls', '--stream', 'orders', '--group', 'billing', '--redis', 'redis://127.0.0.1:1'])

  expect(await run.exit).toBe(1)
  expect(run.lines).toEqual([expect.stringMatching(/^millrace dlq: Cannot reach Redis: connect ECONNREFUSED/)])
})

test.each([['status'], ['tail'], ['doctor'], ['dlq', 'ls', '--group', 'billing']])(
  'a database that is refused is the error of %s, and nothing of another is shown',
  async (...command) => {
    const server = await startRedisServer({ args: ['--databases', '2'] })
    onTestFinished(() => server.stop())
    const raw = new Redis(server.url)
    await raw.xadd('orders', '*', 'secret', 'of database 0')
    raw.disconnect()
    const run = millrace([...command, '--stream', 'orders', '--redis', `${server.url}/9`])

    expect(await run.exit).not.toBe(0)
    expect(run.lines.join('\n')).toContain('the database in the URL was refused')
    expect(run.lines.join('\n')).not.toContain('of database 0')
  },
)

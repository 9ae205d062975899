import { expect, test, vi } from 'vitest'
import { startRestServer } from '../support/rest-server.ts'
import { startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

function tryIt(url: string) {
  return millrace(['try', '--redis', url], { env: { PATH: process.env.PATH } })
}

test('millrace try prints the row of a server that passes, and leaves no key', async () => {
  const { server, raw } = await startScenario()
  await raw.set('mine', '1')
  const run = tryIt(server.url)

  expect(await run.exit).toBe(0)
  expect(run.lines.at(-1)).toMatch(/^\| (Redis|Valkey) \d+\.\d+\.\d+ \| TCP \| (\d+) of \2 \| nothing \|$/)
  expect(await raw.keys('*')).toEqual(['mine'])
})

test('millrace try does the same over REST', async () => {
  const { server } = await startScenario()
  const rest = await startRestServer({ redisUrl: server.url, token: 'token' })
  const run = tryIt(rest.url.replace('http://', 'http://:token@'))

  expect(await run.exit).toBe(0)
  expect(run.lines.at(-1)).toMatch(/\| REST \| (\d+) of \1 \| nothing \|$/)
  await rest.close()
}, 120_000)

test('millrace try names what a server does not do, and leaves no key', async () => {
  const { server, raw } = await startScenario({ server: { args: ['--rename-command', 'XAUTOCLAIM', ''] } })
  const run = tryIt(server.url)

  expect(await run.exit).toBe(1)
  expect(run.lines.at(-1)).toMatch(/\| claims what is idle|claims what is idle and nothing else/)
  expect(await raw.keys('*')).toEqual([])
})

test('millrace try stopped by Ctrl-C leaves no key', async () => {
  const { server, raw } = await startScenario()
  const run = tryIt(server.url)
  await run.printed(/^ok/)
  run.interrupt()
  await run.exit

  expect(await raw.keys('*')).toEqual([])
})

/** What forgets after two hours how delayed events ended. */
const FORGETS = 'delays, cancels, and promotes in due order'

test.each([
  ['DEL', '-del', []],
  ['DEL and UNLINK', '-del -unlink', [FORGETS]],
  ['all that removes', '-del -unlink -pexpire', [FORGETS, 'removes its keys']],
])('millrace try without the right to %s leaves no key, or says so', async (_, denied, failing) => {
  const { server, raw } = await startScenario()
  await raw.acl('SETUSER', 'tester', 'on', '>password', '~*', '+@all', ...denied.split(' '))
  const run = tryIt(server.url.replace('//', '//tester:password@'))

  await run.exit
  const failed = run.lines.flatMap((line) => /^fails (.*?):/.exec(line)?.[1] ?? [])
  expect(failed).toEqual(failing)
  await vi.waitFor(async () => expect((await raw.keys('{millrace-try-*')).length > 0).toBe(failing.length > 1))
})

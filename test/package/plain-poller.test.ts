import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bytesByModule } from '../../tools/bundle.ts'

const POLLER =
  "export { createPoller, defineConsumer, defineEvent, on } from 'millrace'; export { connectIoredis } from 'millrace/ioredis'"

/** Members and Lua that only flow control has: minified code keeps them. */
const NAMES = [
  'failuresKey',
  'lateMs',
  'probeAfterMs',
  'setsAsideForTurns',
  'takeWaiting(condition, first .. sortable',
  'asked:',
  'comesBack(',
]

/** What listening alone has, and promoting. */
const LISTENS =
  /^dist\/(run\/feed\/(listen|listening|due-retries|retry-starter|last-deliveries|lost-reads|read-pace|publishers-flag)|group\/redis\/(entry-waiter|redis-retries|claim-replies|promoting|scripts\/(take|claim-page|start|peek|promote-delayed|delay-event|delayed-pages))|publish\/.*)\.js$/

async function modulesOf(code: string, own: RegExp): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bundle-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const bytes = await bytesByModule({ code, external: ['ioredis', '@upstash/redis'] }, join(folder, 'poller.mjs'))
  return [...bytes].filter(([path, size]) => size > 0 && own.test(path)).map(([path]) => path)
}

async function bundled(code: string): Promise<{ modules: string[]; names: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bundle-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'poller.mjs')
  const bytes = await bytesByModule({ code, external: ['ioredis', '@upstash/redis'] }, file)
  const text = await readFile(file, 'utf8')
  const own =
    /^dist\/(policies\/|core\/gates|group\/redis\/scripts\/(pass-gates|limits|take-some)|run\/feed\/conditions)/
  return {
    modules: [...bytes].filter(([path, size]) => size > 0 && own.test(path)).map(([path]) => path),
    names: NAMES.filter((name) => text.includes(name)),
  }
}

test('a poller that uses no policies is bundled without what flow control has', async () => {
  expect(await bundled(POLLER)).toEqual({ modules: [], names: [] })
})

test('a poller that neither listens nor delays is bundled without what these have', async () => {
  const modules = await modulesOf(POLLER, LISTENS)
  expect(modules).toEqual([])
  expect(await modulesOf(`${POLLER}; export { listening } from 'millrace'`, LISTENS)).toEqual(
    expect.arrayContaining([
      'dist/run/feed/listen.js',
      'dist/group/redis/entry-waiter.js',
      'dist/group/redis/scripts/take.js',
    ]),
  )
})

test('circuitBreaker() brings its scripts, and what decides about jobs of a pool', async () => {
  const { modules, names } = await bundled(`${POLLER}; export { circuitBreaker } from 'millrace'`)
  expect(names).toEqual(NAMES)
  expect(modules).toEqual(
    expect.arrayContaining([
      'dist/core/gates.js',
      'dist/group/redis/scripts/pass-gates.js',
      'dist/group/redis/scripts/take-some.js',
      'dist/policies/due-beside-reads.js',
      'dist/policies/flow/run-gate.js',
      'dist/policies/held-jobs.js',
    ]),
  )
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { isIgnoredPath, watchSources } from '../../src/cli/watch.ts'

test.each([
  ['functions/orders/poller.ts', false],
  ['serverless.yml', false],
  ['.env', false],
  ['dist/index.js', false],
  ['node_modules/x/index.js', true],
  ['packages/a/node_modules/x/index.js', true],
  ['.git/index', true],
  ['.serverless/poller.zip', true],
  ['.esbuild/poller.js', true],
  ['functions/.poller.ts.swp', true],
  ['functions/poller.ts~', true],
  ['npm-debug.log', true],
])('%s is ignored: %j', (path, ignored) => {
  expect(isIgnoredPath(path)).toBe(ignored)
})

/** A watched folder with `functions/` in it. `changed()` resolves at the next call back. */
async function watchFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-watch-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  for (const name of ['functions', 'node_modules']) await mkdir(join(folder, name))
  let calls = 0
  let next = Promise.withResolvers<void>()
  const unwatch = await watchSources(folder, () => {
    calls++
    next.resolve()
  })
  onTestFinished(unwatch)
  return {
    path: (name: string) => join(folder, name),
    calls: () => calls,
    async changed() {
      await next.promise
      next = Promise.withResolvers()
    },
  }
}

test('several changes in a moment are one', async () => {
  const { path, calls, changed } = await watchFolder()
  for (const name of ['functions/a.ts', 'functions/b.ts', 'serverless.yml']) await writeFile(path(name), '')
  await changed()

  expect(calls()).toBe(1)
})

test('a folder that is new is watched, too', async () => {
  const { path, calls, changed } = await watchFolder()
  await mkdir(path('more'))
  await changed()
  await writeFile(path('more/a.ts'), '')
  await changed()

  expect(calls()).toBe(2)
})

test('the file of the program’s output is no source, and the last change is named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-watch-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const program = `
    import { writeFileSync } from 'node:fs'
    import { watchSources } from ${JSON.stringify(join(import.meta.dirname, '../../src/cli/watch.ts'))}
    const unwatch = await watchSources(process.cwd(), (path) => {
      process.stderr.write(path)
      unwatch()
    })
    writeFileSync('a.ts', '')
    // after it, so that it would be the last change
    console.log('a line')
  `
  const output = await open(join(folder, 'dev.out'), 'w')
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: folder,
    stdio: ['ignore', output.fd, 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await output.close()
  let named = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    named += chunk.toString()
  })
  await once(child, 'close')

  expect(named).toBe('a.ts')
})

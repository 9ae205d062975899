import { execFile } from 'node:child_process'
import { glob, readFile } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

test('nothing but millrace/cdk knows the CDK, in code or in types', async () => {
  const knowing = []
  for await (const file of glob('dist/**/*.{js,d.ts}', { cwd: root })) {
    if (/['"](aws-cdk-lib|constructs)\b/.test(await readFile(join(root, file), 'utf8'))) knowing.push(file)
  }

  expect(knowing.length).toBeGreaterThan(0)
  expect(knowing.filter((file) => !file.startsWith(join('dist', 'deploy', 'cdk') + sep))).toEqual([])
})

test('a CDK app in CommonJS can require millrace/cdk', async () => {
  const program = `console.log(Object.keys(require('millrace/cdk')).sort().join())`
  const { stdout } = await run(process.execPath, ['--input-type=commonjs', '--eval', program], { cwd: root })

  expect(stdout.trim()).toBe('RedisStreamConsumer,RedisStreamEventSource,RedisStreamJanitor')
})

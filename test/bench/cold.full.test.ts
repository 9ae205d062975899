import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const main = join(import.meta.dirname, '../../bench/cold.ts')

test('npm run bench:cold -- --json ends with one line: the ratio, and what the bundles weigh', async () => {
  const { stdout, stderr } = await run(process.execPath, [main, '--rounds', '2', '--json'])

  const { ratio, bundleKb, ioredisKb, ...rest } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
  expect(rest).toEqual({})
  expect(ratio).toBeGreaterThan(0)
  expect(bundleKb - ioredisKb).toBeLessThanOrEqual(252)
  expect(ioredisKb).toBeGreaterThan(100)
  expect(stderr).toBe('')
})

test('npm run bench:cold refuses rounds that are no number', async () => {
  await expect(run(process.execPath, [main, '--rounds', 'many'])).rejects.toThrow('--rounds must be a whole number')
})

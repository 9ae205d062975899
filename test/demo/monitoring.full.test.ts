import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

test('npm run demo -- monitoring finds that every bucket is as computed offline', { timeout: 90_000 }, async () => {
  const { stdout, stderr } = await run('node', ['demo/main.ts', 'monitoring', '--seconds', '3'], { cwd: root })

  expect(stderr).toBe('')
  expect(stdout.match(/^ok {2}/gm)).toHaveLength(10)
  expect(stdout).not.toMatch(/^NO /m)
  expect(stdout).toMatch(/\n\nEverything adds up\n$/)
})

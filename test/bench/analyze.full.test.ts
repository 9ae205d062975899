import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const main = join(import.meta.dirname, '../../bench/analyze.ts')

test('millrace analyze takes no more memory for 1,000,000 entries than for 100,000, at 60,000 a second', async () => {
  // it fails where one of the two limits does not hold
  const { stdout } = await promisify(execFile)(process.execPath, [main, '--many', '1000000', '--rounds', '1'])

  expect(stdout).toMatch(/^1000000 entries: \d+ a second, at most [\d.]+ MB\nmemory grows by -?[\d.]+ %\n$/m)
}, 120_000)

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const main = join(import.meta.dirname, '../../bench/analyze.ts')

test('millrace analyze takes no more memory for 1,000,000 entries than for 100,000', async () => {
  // it fails where memory grows by more than 10 %; how fast it is depends on what else the machine does
  const { stdout } = await promisify(execFile)(process.execPath, [
    main,
    '--many',
    '1000000',
    '--rounds',
    '3',
    '--per-second',
    '1000',
  ])

  expect(stdout).toMatch(/^1000000 entries: \d+ a second, at most [\d.]+ MB\nmemory grows by -?[\d.]+ %\n$/m)
}, 120_000)

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const main = join(import.meta.dirname, '../../bench/main.ts')

test('npm run bench -- --json ends with one line of ratios and commands per event', async () => {
  const { stdout, stderr } = await run(process.execPath, [main, '--entries', '2000', '--rounds', '1', '--json'])

  const positive = expect.toSatisfy((value) => typeof value === 'number' && value > 0)
  expect(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')).toEqual({
    ratios: { raw: positive, raw2ms: positive, bullmq: positive },
    commandsPerEvent: positive,
  })
  expect(stderr).toBe('')
})

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const main = join(import.meta.dirname, '../../bench/main.ts')
const positive = expect.toSatisfy((value) => typeof value === 'number' && value > 0)

test('npm run bench -- --json ends with one line: ratios, commands and round trips per event', async () => {
  const { stdout, stderr } = await run(process.execPath, [main, '--entries', '500', '--rounds', '1', '--json'])

  expect(lastLine(stdout)).toEqual({
    ratios: {
      raw: positive,
      raw2ms: positive,
      write5ms: positive,
      bullmq: positive,
      cpu: positive,
      cpuObserved: positive,
      retry: positive,
      publish: positive,
      memory: positive,
    },
    commandsPerEvent: positive,
    roundTripsPerEvent: positive,
  })
  expect(stderr).toBe('')
}, 120_000)

test('npm run bench -- --only measures the figures that it names', async () => {
  const { stdout } = await bench('--entries', '500', '--only', 'publish,cpu', '--json')

  expect(lastLine(stdout).ratios).toEqual({ cpu: positive, publish: positive })
}, 60_000)

test('npm run bench -- --floor fails where a figure is below it, and says which', async () => {
  const floors = 'cpu=1000,raw=1000'

  await expect(bench('--entries', '500', '--floor', floors)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^Figure raw fell: must be at least 1000, is \d.*\n$/),
  })
}, 60_000)

test.each([
  [['--rounds', 'many'], '--rounds must be a whole number from 1, got many'],
  [['--entries', '0'], '--entries must be a whole number from 1, got 0'],
  [['--only', 'raw,speed'], 'there is no figure speed'],
  [['--floor', 'raw'], '--floor must be NAME=NUMBER, got raw'],
])('npm run bench refuses %j', async (args, message) => {
  await expect(run(process.execPath, [main, ...args])).rejects.toThrow(message)
})

function bench(...args: string[]) {
  return run(process.execPath, [main, '--rounds', '1', ...args])
}

function lastLine(stdout: string) {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
}

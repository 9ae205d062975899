import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { aFunction, isRunning, startLambda } from '../support/local-lambda.ts'

const PID = 'export const handler = async () => process.pid'
/** Says that it runs, and ends when the file is there. */
const WAIT = `import { existsSync } from 'node:fs'
export const handler = async ({ until }) => {
  console.log('running')
  while (until && !existsSync(until)) await new Promise((go) => setTimeout(go, 5))
  return process.pid
}`

test('invocations one after the other share a warm environment', async () => {
  const lambda = await startLambda({ functions: [await aFunction(PID)] })

  const pids = [await lambda.invoke('fn'), await lambda.invoke('fn'), await lambda.invoke('fn')].map(
    (one) => one.payload,
  )

  expect(new Set(pids).size).toBe(1)
  expect(lambda.environments('fn')).toEqual([{ pid: pids[0], state: 'frozen', served: 3, deployment: 1 }])
  expect(lambda.reports.map(({ initMs }) => initMs !== undefined)).toEqual([true, false, false])
})

test('invocations at a time get an environment each', async () => {
  const lambda = await startLambda({ functions: [await aFunction(PID)] })

  const answers = await Promise.all([lambda.invoke('fn'), lambda.invoke('fn'), lambda.invoke('fn')])

  expect(new Set(answers.map(({ payload }) => payload)).size).toBe(3)
  expect(lambda.environments('fn').map(({ served }) => served)).toEqual([1, 1, 1])
})

test('an environment is frozen between invocations: its timers stand still', async () => {
  const code = `let ticks = 0
setInterval(() => { ticks++ }, 1)
export const handler = async () => {
  const from = ticks
  while (ticks < from + 10) await new Promise((go) => setTimeout(go))
  return { from, to: ticks }
}`
  const lambda = await startLambda({ functions: [await aFunction(code)] })
  const first = (await lambda.invoke('fn')).payload as { to: number }
  const stateOf = (pid: unknown) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2]
  // a signal takes effect when the process's processor gets to it
  while (stateOf(lambda.environments('fn')[0]?.pid) !== 'T') await sleep(1)
  await sleep(300) // time is the very thing that must not count

  const second = (await lambda.invoke('fn')).payload as { from: number }

  expect(second.from - first.to).toBeLessThan(50)
})

test('an environment that died while it was frozen is not used again', async () => {
  const lambda = await startLambda({ functions: [await aFunction(PID)] })
  const { payload: pid } = await lambda.invoke('fn')
  process.kill(pid as number, 'SIGKILL')
  while (lambda.environments('fn').length > 0) await sleep(5)

  const { payload, functionError } = await lambda.invoke('fn')

  expect(functionError).toBeUndefined()
  expect(payload).not.toBe(pid)
})

test('more invocations at a time than are reserved are throttled', async () => {
  const lambda = await startLambda({ functions: [await aFunction(PID, { reservedConcurrency: 1 })] })
  const first = lambda.invoke('fn')

  await expect(lambda.invoke('fn')).rejects.toMatchObject({
    name: 'TooManyRequestsException',
    statusCode: 429,
    reason: 'ReservedFunctionConcurrentInvocationLimitExceeded',
  })
  expect((await first).statusCode).toBe(200)
  expect((await lambda.invoke('fn')).statusCode).toBe(200)
})

test('a new version gets what comes while the old one drains, whose environments then end', async () => {
  const old = await aFunction(WAIT)
  const gate = `${old.codeFolder}/go`
  const lambda = await startLambda({ functions: [old] })
  const { payload: idle } = await lambda.invoke('fn', {})
  const draining = lambda.invoke('fn', { until: gate })
  await lambda.said(/running/)
  const second = lambda.invoke('fn', {})
  const { payload: spare } = await second

  await lambda.deploy(await aFunction(`export const handler = async () => 'new'`))

  expect((await lambda.invoke('fn')).payload).toBe('new')
  expect(isRunning(spare as number)).toBe(false)
  expect(lambda.environments('fn').map(({ state, deployment }) => [state, deployment])).toEqual([
    ['frozen', 2],
    ['busy', 1],
  ])
  await writeFile(gate, '')
  expect((await draining).payload).toBe(idle)
  expect(isRunning(idle as number)).toBe(false)
  expect(lambda.environments('fn').map(({ deployment }) => deployment)).toEqual([2])
})

test('START, END and REPORT stand around what a function prints', async () => {
  const code = `export const handler = async () => { console.log('hello\\nworld'); console.error(new Error('oh').message) }`
  const lambda = await startLambda({ functions: [await aFunction(code)] })

  const { requestId } = await lambda.invoke('fn')

  const id = requestId
  expect(lambda.lines).toEqual([
    `platform START RequestId: ${id} Version: $LATEST`,
    expect.stringMatching(new RegExp(`^stdout .*\\t${id}\\tINFO\\thello$`)),
    'stdout world',
    expect.stringMatching(new RegExp(`^stdout .*\\t${id}\\tERROR\\toh$`)),
    `platform END RequestId: ${id}`,
    expect.stringMatching(
      new RegExp(
        `^platform REPORT RequestId: ${id}\tDuration: [\\d.]+ ms\tBilled Duration: \\d+ ms\tMemory Size: 256 MB\tMax Memory Used: \\d+ MB\tInit Duration: [\\d.]+ ms$`,
      ),
    ),
  ])
})

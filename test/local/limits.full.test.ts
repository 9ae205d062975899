import { expect, test } from 'vitest'
import { aFunction, isRunning, startLambda } from '../support/local-lambda.ts'

/** Does what the event says, and reports its process. */
const OBEY = `const kept = []
export const handler = async ({ what }) => {
  if (what === 'loop') for (;;);
  if (what === 'hang') await new Promise(() => setInterval(() => {}, 1_000))
  if (what === 'buffers') for (;;) { kept.push(Buffer.alloc(8_000_000, 1)); await new Promise((go) => setTimeout(go)) }
  if (what === 'burst') Buffer.alloc(160_000_000, 1)
  if (what === 'reject') { void Promise.reject(new Error('nobody waits for this')); await new Promise((go) => setTimeout(go, 10_000)) }
  if (what === 'exit') process.exit(3)
  return process.pid
}`

test.each(['loop', 'hang'])('a timeout kills a function in a %s, and the next invocation starts cold', async (what) => {
  const lambda = await startLambda({ functions: [await aFunction(OBEY, { timeoutMs: 1_000 })] })
  const { payload: first } = await lambda.invoke('fn', {})

  const { payload, functionError, requestId } = await lambda.invoke('fn', { what })

  expect({ payload, functionError }).toEqual({
    functionError: 'Unhandled',
    payload: {
      errorType: 'Sandbox.Timedout',
      errorMessage: `RequestId: ${requestId} Error: Task timed out after 1.00 seconds`,
    },
  })
  expect(isRunning(first as number)).toBe(false)
  const { payload: next } = await lambda.invoke('fn', {})
  expect(next).not.toBe(first)
  expect(lambda.reports.map(({ initMs }) => initMs !== undefined)).toEqual([true, false, true])
})

test.each([
  ['bit by bit', 'buffers'],
  ['for a moment', 'burst'],
])('a function whose memory passes its limit %s is killed', async (_case, what) => {
  const lambda = await startLambda({ functions: [await aFunction(OBEY, { memoryMb: 160 })] })

  const { payload, requestId } = await lambda.invoke('fn', { what })

  expect(payload).toEqual({
    errorType: 'Runtime.ExitError',
    errorMessage: `RequestId: ${requestId} Error: Runtime exited with error: signal: killed`,
  })
  expect(lambda.reports[0]?.maxMemoryMb).toBeGreaterThan(160)
})

test.each([
  ['an unhandled rejection', 'reject', 'Runtime exited with error: exit status 1'],
  ['process.exit', 'exit', 'Runtime exited with error: exit status 3'],
])('%s ends the environment, and the next invocation starts cold', async (_case, what, text) => {
  const lambda = await startLambda({ functions: [await aFunction(OBEY)] })

  const { payload, requestId } = await lambda.invoke('fn', { what })

  expect(payload).toEqual({ errorType: 'Runtime.ExitError', errorMessage: `RequestId: ${requestId} Error: ${text}` })
  expect(lambda.environments('fn')).toEqual([])
  expect((await lambda.invoke('fn', {})).functionError).toBeUndefined()
})

test('an answer over 6 MB is an error', async () => {
  const code = `export const handler = async () => 'x'.repeat(6_300_000)`
  const lambda = await startLambda({ functions: [await aFunction(code)] })

  expect(await lambda.invoke('fn')).toMatchObject({
    functionError: 'Unhandled',
    payload: { errorType: 'Function.ResponseSizeTooLarge' },
  })
})

import { expect, test } from 'vitest'
import { aFunction, startLambda } from '../support/local-lambda.ts'

const ECHO = `export const handler = async (event, context) => ({
  event, name: context.functionName, arn: context.invokedFunctionArn, id: context.awsRequestId,
  memory: context.memoryLimitInMB, left: context.getRemainingTimeInMillis(), pid: process.pid,
})`

test('a function gets the event, the context and the time it has left', async () => {
  const lambda = await startLambda({ functions: [await aFunction(ECHO, { timeoutMs: 5_000 })] })

  const { payload, requestId } = await lambda.invoke('fn', { n: 1, text: 'ü' })

  expect(payload).toEqual({
    event: { n: 1, text: 'ü' },
    name: 'fn',
    arn: 'arn:aws:lambda:us-east-1:000000000000:function:fn',
    id: requestId,
    memory: '256',
    left: expect.toSatisfy((ms: number) => ms > 2_000 && ms <= 5_000),
    pid: lambda.environments('fn')[0]?.pid,
  })
})

test('an error keeps its type', async () => {
  const lambda = await startLambda({
    functions: [await aFunction(`export const handler = async () => { throw new RangeError('too far') }`)],
  })

  expect(await lambda.invoke('fn')).toMatchObject({
    statusCode: 200,
    functionError: 'Unhandled',
    payload: { errorType: 'RangeError', errorMessage: 'too far' },
  })
})

test.each([
  ['throws at import', `throw new TypeError('no')`, { errorType: 'TypeError', errorMessage: 'no' }],
  [
    'has no handler',
    `export const other = 1`,
    { errorType: 'Runtime.HandlerNotFound', errorMessage: 'main.handler is undefined or not exported' },
  ],
])('a function that %s answers why, every time', async (_case, code, payload) => {
  const lambda = await startLambda({ functions: [await aFunction(code)] })

  expect(await lambda.invoke('fn')).toMatchObject({ functionError: 'Unhandled', payload })
  expect(await lambda.invoke('fn')).toMatchObject({ functionError: 'Unhandled', payload })
  expect(lambda.environments('fn')).toEqual([])
})

test('a module that is not there answers why', async () => {
  const lambda = await startLambda({ functions: [await aFunction(ECHO, { handler: 'gone.handler' })] })

  expect(await lambda.invoke('fn')).toMatchObject({ payload: { errorType: 'Runtime.ImportModuleError' } })
})

test('a function whose folder is not there answers that it could not start', async () => {
  const lambda = await startLambda({ functions: [await aFunction(ECHO, { codeFolder: '/nowhere/at/all' })] })

  expect(await lambda.invoke('fn')).toMatchObject({ functionError: 'Unhandled' })
  expect(lambda.lines).toContainEqual(expect.stringContaining('ENOENT'))
})

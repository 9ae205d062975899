import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { InvokeCommand, type InvokeCommandInput, LambdaClient } from '@aws-sdk/client-lambda'
import { describe, expect, onTestFinished, test } from 'vitest'
import { aFunction, startLambda } from '../support/local-lambda.ts'

const ECHO = `export const handler = async (event) => { if (event.fail) throw new RangeError('too far'); return event }`
const ARN = 'arn:aws:lambda:us-east-1:000000000000:function:fn'

async function startApi() {
  const lambda = await startLambda({
    functions: [await aFunction(ECHO, { reservedConcurrency: 2, maxRetryAttempts: 0 })],
  })
  const client = new LambdaClient({
    endpoint: lambda.url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    maxAttempts: 1,
  })
  onTestFinished(() => client.destroy())
  const invoke = async (input: Partial<InvokeCommandInput>) => {
    const { Payload, $metadata: _, ...answer } = await client.send(new InvokeCommand({ FunctionName: 'fn', ...input }))
    return { ...answer, payload: Payload?.length ? (JSON.parse(Payload.transformToString()) as unknown) : undefined }
  }
  return { lambda, invoke }
}

test.each(['fn', 'fn:$LATEST', ARN, `${ARN}:$LATEST`, '000000000000:function:fn'])(
  "the SDK's InvokeCommand runs function %s",
  async (FunctionName) => {
    const { invoke } = await startApi()

    expect(await invoke({ FunctionName, Payload: JSON.stringify({ text: 'ü' }) })).toEqual({
      StatusCode: 200,
      ExecutedVersion: '$LATEST',
      payload: { text: 'ü' },
    })
  },
)

test('a function that fails is an answer, not an error', async () => {
  const { invoke } = await startApi()

  expect(await invoke({ Payload: '{"fail":true}' })).toMatchObject({
    StatusCode: 200,
    FunctionError: 'Unhandled',
    payload: { errorType: 'RangeError', errorMessage: 'too far' },
  })
})

test('an asynchronous invocation is taken with 202 and runs by and by', async () => {
  const { lambda, invoke } = await startApi()

  expect(await invoke({ InvocationType: 'Event', Payload: '{"n":1}' })).toEqual({ StatusCode: 202, payload: undefined })
  expect(lambda.reports).toEqual([])
  await lambda.idle()
  expect(lambda.reports).toMatchObject([{ type: 'Event', payload: '{"n":1}', attempt: 1 }])
})

test('a dry run runs nothing', async () => {
  const { lambda, invoke } = await startApi()

  expect(await invoke({ InvocationType: 'DryRun' })).toMatchObject({ StatusCode: 204 })
  expect(lambda.environments('fn')).toEqual([])
})

test.each<[string, Partial<InvokeCommandInput>, object]>([
  ['an unknown function', { FunctionName: 'other' }, { name: 'ResourceNotFoundException' }],
  ['an unknown qualifier', { Qualifier: '7' }, { name: 'ResourceNotFoundException' }],
  ['a payload that is not JSON', { Payload: '{' }, { name: 'InvalidRequestContentException' }],
  [
    'an event over 1 MB',
    { InvocationType: 'Event', Payload: JSON.stringify('x'.repeat(1_050_000)) },
    { name: 'RequestTooLargeException' },
  ],
])('%s is refused', async (_case, input, error) => {
  const { lambda, invoke } = await startApi()

  await expect(invoke(input)).rejects.toMatchObject(error)
  expect(lambda.environments('fn')).toEqual([])
})

test('a payload over 6 MB is refused, and one just below is not', async () => {
  const { invoke } = await startApi()
  const sized = (size: number) => JSON.stringify('x'.repeat(size - 2))

  await expect(invoke({ Payload: sized(6_291_457) })).rejects.toMatchObject({ $metadata: { httpStatusCode: 413 } })
  expect((await invoke({ Payload: sized(6_291_000) })).StatusCode).toBe(200)
})

test('more invocations at a time than are reserved get a 429 with the reason', async () => {
  const { invoke } = await startApi()

  const answers = await Promise.allSettled([invoke({}), invoke({}), invoke({})])

  expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
  expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({
    reason: { name: 'TooManyRequestsException', Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' },
  })
})

test('a function can invoke itself through the SDK, as its environment says', async () => {
  const code = `import { createRequire } from 'node:module'
const { InvokeCommand, LambdaClient } = createRequire(${JSON.stringify(import.meta.url)})('@aws-sdk/client-lambda')
export const handler = async ({ again }) => {
  if (!again) return 'again'
  const { Payload } = await new LambdaClient().send(new InvokeCommand({ FunctionName: process.env.AWS_LAMBDA_FUNCTION_NAME }))
  return Payload.transformToString()
}`
  const lambda = await startLambda({ functions: [await aFunction(code)] })

  expect((await lambda.invoke('fn', { again: true })).payload).toBe('"again"')
  expect(lambda.environments('fn')).toHaveLength(2)
})

test.each(['/2015-03-31/functions/%ff/invocations', '//[', '/2015-03-31/functions/fn'])(
  '%s is not found',
  async (path) => {
    const { lambda } = await startApi()
    const status = await new Promise((resolve, reject) => {
      const { hostname, port } = new URL(lambda.url)
      const to = request({ hostname, port, path, method: 'POST' }, (response) => resolve(response.resume().statusCode))
      to.on('error', reject).end('{}')
    })

    expect(status).toBe(404)
  },
)

describe('a web page', () => {
  const ask = (url: string, headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const to = request(`${url}/2015-03-31/functions/fn/invocations`, { method: 'POST', headers }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      to.on('error', reject).end('{}')
    })

  test.each<[title: string, headers: Record<string, string>]>([
    ['of another origin', { Origin: 'https://example.com' }],
    ['without an origin', { Origin: 'null' }],
    ['of this origin', { 'Sec-Fetch-Site': 'same-origin' }],
    ['of another site', { 'Sec-Fetch-Site': 'cross-site' }],
    ['that is shown in a frame', { 'Sec-Fetch-Dest': 'iframe' }],
    ['that was left by a link', { Referer: 'https://example.com/' }],
    ['under a name that was rebound', { Host: 'rebound.example.com' }],
    ['under a name that begins as ours', { Host: '127.0.0.1.example.com:80' }],
  ])('%s invokes nothing', async (_title, headers) => {
    const { lambda } = await startApi()

    expect(await ask(lambda.url, headers)).toBe(403)
    expect(lambda.reports).toEqual([])
  })

  test.each(['localhost:1', 'LOCALHOST', '127.0.0.1', '[::1]:80'])('is none who asks %s', async (Host) => {
    const { lambda } = await startApi()

    expect(await ask(lambda.url, { Host })).toBe(200)
  })

  test.each([
    ['a second Host', '/2015-03-31/functions/fn/invocations', '{}', 'Host: rebound.example.com\r\n', 403],
    ['a whole URL', 'http://rebound.example.com/2015-03-31/functions/fn/invocations', '{}', '', 403],
    ['bytes that are no text', '/2015-03-31/functions/fn/invocations', '"\xff"', '', 400],
  ])('is refused with %s', async (_title, target, body, header, status) => {
    const { lambda } = await startApi()
    const { hostname, port } = new URL(lambda.url)
    const socket = connect(Number(port), hostname)
    const length = `Connection: close\r\nContent-Length: ${body.length}\r\n`
    socket.end(`POST ${target} HTTP/1.1\r\nHost: ${hostname}\r\n${header}${length}\r\n${body}`, 'latin1')

    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(lambda.reports).toEqual([])
  })

  test('takes no event away from the Runtime API, and a function does not see its secret', async () => {
    const code = `export const handler = async () => {
      const { get } = await import('node:http')
      const asked = new Promise((resolve, reject) =>
        get('http://' + process.env.AWS_LAMBDA_RUNTIME_API.replace('127.0.0.1', 'LOCALHOST') + '/2018-06-01/runtime/invocation/next', (response) => resolve(response.statusCode)).on('error', reject))
      return { status: await asked, secret: Object.keys(process.env).filter((name) => name.startsWith('MILLRACE')) }
    }`
    const lambda = await startLambda({ functions: [await aFunction(code)] })

    expect((await lambda.invoke('fn')).payload).toEqual({ status: 403, secret: [] })
  })
})

import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
import { mockClient } from 'aws-sdk-client-mock'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { invokeSelf } from '../../src/calls/invoke-self.ts'
import { wakePoller } from '../../src/calls/wake-poller.ts'

const lambda = mockClient(LambdaClient)

afterAll(() => {
  lambda.restore()
  vi.unstubAllEnvs()
})
const signal = AbortSignal.timeout(60_000)

beforeAll(() => void vi.stubEnv('AWS_REGION', 'eu-west-1'))
afterEach(() => void lambda.reset())

function invocations() {
  return lambda.commandCalls(InvokeCommand).map(({ args: [{ input }] }) => ({
    ...input,
    Payload: JSON.parse(Buffer.from(input.Payload as Uint8Array).toString()) as unknown,
  }))
}

describe('invokeSelf()', () => {
  test('invokes the function as it was invoked itself, asynchronously, with the hop', async () => {
    const invokedFunctionArn = 'arn:aws:lambda:eu-west-1:123456789012:function:orders:live'
    await invokeSelf().call(3, { invokedFunctionArn }, signal)

    expect(invocations()).toEqual([
      { FunctionName: invokedFunctionArn, InvocationType: 'Event', Payload: { millrace: { hop: 3 } } },
    ])
  })

  test('passes on what Lambda refuses', async () => {
    lambda.on(InvokeCommand).rejects(new Error('not authorized'))

    await expect(invokeSelf().call(1, { invokedFunctionArn: 'orders' }, signal)).rejects.toThrow('not authorized')
  })

  test('says where it works if there is no function', async () => {
    await expect(invokeSelf().call(1, {}, signal)).rejects.toThrow(/invokeSelf works in Lambda$/)
    expect(invocations()).toEqual([])
  })

  test.each([
    [{ entriesPerPoller: 0 }, 'Cannot make invokeSelf: entriesPerPoller must be >= 1, got 0'],
    [{ entriesPerPoller: '5' }, 'Cannot make invokeSelf: entriesPerPoller must be a number, got string'],
    [{ treshold: 5 }, 'Cannot make invokeSelf: unknown option "treshold"; known are entriesPerPoller'],
  ])('refuses %j', (options, message) => {
    expect(() => invokeSelf(options as object)).toThrow(message)
  })

  test('leaves a thousand entries to a poller', () => {
    expect(invokeSelf().entriesPerPoller).toBe(1_000)
  })
})

describe('wakePoller()', () => {
  test('invokes the function asynchronously, at the start of a chain', async () => {
    await wakePoller({ group: 'billing', functionName: 'orders-poller' }).wake()

    expect(invocations()).toEqual([
      { FunctionName: 'orders-poller', InvocationType: 'Event', Payload: { millrace: { hop: 0 } } },
    ])
  })

  test('warns of what failed unless its options say otherwise', async () => {
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
    wakePoller({ group: 'billing', functionName: 'orders-poller' }).onError(new Error('not authorized'))

    expect(await warned).toMatchObject({ name: 'MillraceWarning', message: 'Cannot wake a poller: not authorized' })
  })

  test.each([
    [{ functionName: 'f' }, 'Cannot make wakePoller: group must be a string that is not empty, got undefined'],
    [{ group: 'g' }, 'Cannot make wakePoller: functionName must be a string that is not empty, got undefined'],
    [{ group: 'g', functionName: 'f', windowMs: 0 }, 'Cannot make wakePoller: windowMs must be >= 1, got 0'],
    [{ group: 'g', functionName: 'f', onError: 1 }, 'Cannot make wakePoller: onError must be a function, got number'],
    [{ group: 'g', functionName: 'f', window: 1 }, 'Cannot make wakePoller: unknown option "window"'],
  ])('refuses %j', (options, message) => {
    expect(() => wakePoller(options as never)).toThrow(message)
  })
})

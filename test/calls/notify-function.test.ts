import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
import { mockClient } from 'aws-sdk-client-mock'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { notifyFunction } from '../../src/calls/notify-function.ts'
import type { DeadLetterNotice } from '../../src/define/observe.ts'

const lambda = mockClient(LambdaClient)

afterAll(() => {
  lambda.restore()
  vi.unstubAllEnvs()
})
const signal = AbortSignal.timeout(60_000)

beforeEach(() => {
  vi.stubEnv('AWS_REGION', 'eu-west-1')
  vi.setSystemTime('2026-11-21T00:38:06.021Z')
})
afterEach(() => {
  lambda.reset()
  vi.unstubAllEnvs()
  vi.useRealTimers()
})

const notice: DeadLetterNotice = {
  stream: 'orders',
  group: 'billing',
  deadLetters: '{orders}:billing:dlq',
  entryId: '1700000000000-1',
  deliveryCount: 5,
  reason: 'max-deliveries',
  error: { name: 'Error', message: 'mail is down' },
  eventId: 'e-1',
  eventType: 'OrderPaid',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
}

function invocations() {
  return lambda.commandCalls(InvokeCommand).map(({ args: [{ input }] }) => ({
    ...input,
    Payload: JSON.parse(Buffer.from(input.Payload as Uint8Array).toString()) as Record<string, unknown>,
  }))
}

describe('notifyFunction()', () => {
  test('invokes the function asynchronously, with an invocation record as AWS writes them', async () => {
    await notifyFunction('tell-somebody', { qualifier: 'live' })(notice, { signal })

    expect(invocations()).toEqual([
      {
        FunctionName: 'tell-somebody:live',
        InvocationType: 'Event',
        Payload: {
          version: '1.0',
          timestamp: '2026-11-21T00:38:06.021Z',
          requestContext: { condition: 'RetryAttemptsExhausted', approximateInvokeCount: 5 },
          responseContext: { statusCode: 200, functionError: 'Unhandled' },
          RedisStreamBatchInfo: {
            stream: 'orders',
            consumerGroup: 'billing',
            startId: '1700000000000-1',
            endId: '1700000000000-1',
            approximateArrivalOfFirstRecord: '2023-11-14T22:13:20.000Z',
            approximateArrivalOfLastRecord: '2023-11-14T22:13:20.000Z',
            batchSize: 1,
          },
          deadLetter: { stream: '{orders}:billing:dlq', reason: 'max-deliveries' },
          event: { eventId: 'e-1', type: 'OrderPaid', traceparent: notice.traceparent },
          error: { name: 'Error', message: 'mail is down' },
        },
      },
    ])
  })

  test.each([
    ['crashed', 'RetryAttemptsExhausted', true],
    ['non-retryable', 'NonRetryable', true],
    ['invalid', 'SchemaInvalid', false],
    ['malformed', 'EntryMalformed', false],
    ['oversize', 'EntryOversize', false],
    ['unrouted', 'UnknownEventType', false],
    ['expired', 'MaximumRecordAgeExceeded', false],
    ['newer-version', 'NewerVersion', false],
    ['unsupported-version', 'UnsupportedVersion', false],
  ] as const)(
    'says of %s the condition %s, and of a function only if one was called',
    async (reason, condition, ran) => {
      const { error: _, eventId: _id, eventType: _type, traceparent: _trace, ...bare } = notice
      await notifyFunction('tell-somebody')({ ...bare, reason, deliveryCount: 1 }, { signal })

      const [{ Payload } = expect.fail('not invoked')] = invocations()
      expect(Payload).toMatchObject({ requestContext: { condition, approximateInvokeCount: 1 }, event: {} })
      expect(['responseContext' in Payload, 'error' in Payload]).toEqual([ran, false])
    },
  )

  test('has a time for entries whose id is beyond any date', async () => {
    await notifyFunction('tell-somebody')({ ...notice, entryId: '18446744073709551615-1' }, { signal })
    expect(invocations()[0]?.Payload.RedisStreamBatchInfo).toMatchObject({ startId: '18446744073709551615-1' })
  })

  test('passes on what Lambda refuses', async () => {
    lambda.on(InvokeCommand).rejects(new Error('not authorized'))
    await expect(notifyFunction('tell-somebody')(notice, { signal })).rejects.toThrow('not authorized')
  })

  test.each([
    ['', {}, 'Cannot make notifyFunction: name must be a string that is not empty, got ""'],
    ['f', { qualifier: '' }, 'Cannot make notifyFunction: qualifier must be a string that is not empty, got ""'],
    ['f', { version: '1' }, 'Cannot make notifyFunction: unknown option "version"; known are qualifier'],
  ])('refuses %j, %j', (name, options, message) => {
    expect(() => notifyFunction(name, options as object)).toThrow(message)
  })
})

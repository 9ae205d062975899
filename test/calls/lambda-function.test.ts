import { createHash } from 'node:crypto'
import type { InvokeCommandOutput } from '@aws-sdk/client-lambda'
import { InvokeCommand, LambdaClient, LambdaServiceException } from '@aws-sdk/client-lambda'
import { mockClient } from 'aws-sdk-client-mock'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { lambdaFunction } from '../../src/calls/lambda-function.ts'
import { consumerKeys } from '../../src/core/keys.ts'
import { keepBatch } from '../../src/define/batch-in-hand.ts'
import { aBatch, aBatchContext, aBatchEvent, failuresOf } from '../support/batch.ts'

const lambda = mockClient(LambdaClient)

afterAll(() => {
  lambda.restore()
  vi.unstubAllEnvs()
})
const notify = lambdaFunction('notify-shipping')

beforeEach(() => void vi.stubEnv('AWS_REGION', 'eu-west-1'))
afterEach(() => {
  lambda.reset()
  vi.unstubAllEnvs()
})

interface SentRecord {
  readonly messageId: string
  readonly body: string
  readonly attributes: Record<string, string>
  readonly messageAttributes: Record<string, { readonly stringValue: string }>
}

/** The records of a request. */
function recordsOf({ Payload }: InvokeCommand['input']): SentRecord[] {
  return (JSON.parse(Buffer.from(Payload as Uint8Array).toString()) as { Records: SentRecord[] }).Records
}

/** What every request was sent with, and its records. */
function requests() {
  return lambda.commandCalls(InvokeCommand).map(({ args: [{ input }] }) => {
    const { Payload: _, ...parameters } = input
    return { parameters, records: recordsOf(input) }
  })
}

function answering(answer: unknown, members: Partial<InvokeCommandOutput> = {}): void {
  const text = typeof answer === 'string' ? answer : JSON.stringify(answer)
  const Payload = answer === undefined ? undefined : Buffer.from(text)
  lambda.on(InvokeCommand).resolves({ StatusCode: 200, ...(Payload && { Payload: Payload as never }), ...members })
}

function refusing(name: string, httpStatusCode: number, message = 'no'): void {
  const $fault = httpStatusCode < 500 ? 'client' : 'server'
  lambda.on(InvokeCommand).rejects(new LambdaServiceException({ name, message, $fault, $metadata: { httpStatusCode } }))
}

describe('the body of a record', () => {
  const published = (text: string) => ({ payload: JSON.parse(text) as unknown, fields: [['payload', text] as const] })
  test.each<[title: string, members: object, body: string]>([
    ['a number beyond 2 ** 53', published('{"orderId":9007199254740993}'), '{"orderId":9007199254740993}'],
    ['a number beyond all', published('[1e400,-0,1.0]'), '[1e400,-0,1.0]'],
    ['spaces', published('{ "a": 1 }'), '{ "a": 1 }'],
    [
      'what the schema left alone where it took something away',
      { payload: { id: 9007199254740992, a: 1 }, fields: [['payload', '{"a":1,"b":2,"id":9007199254740993}']] },
      '{"id":9007199254740993,"a":1}',
    ],
    [
      'what the schema changed',
      { payload: { id: '9007199254740992' }, fields: [['payload', '{"id":9007199254740993}']] },
      '{"id":"9007199254740992"}',
    ],
    [
      'a flat entry',
      {
        payload: { id: 9007199254740992, note: '1.0' },
        fields: [
          ['id', '9007199254740993'],
          ['note', '1.0'],
        ],
      },
      '{"id":9007199254740993,"note":"1.0"}',
    ],
    [
      'a flat entry with a member named payload',
      {
        payload: { id: 9007199254740992, payload: { id: 9007199254740992 } },
        fields: [
          ['id', '9007199254740993'],
          ['payload', '{"id":9007199254740993}'],
        ],
      },
      '{"id":9007199254740993,"payload":{"id":9007199254740993}}',
    ],
    [
      'what the schema left alone beside a member named payload',
      {
        payload: { payload: { id: 9007199254740992 } },
        fields: [['payload', '{"payload":{"id":9007199254740993},"b":1}']],
      },
      '{"payload":{"id":9007199254740993}}',
    ],
    ['fields that say nothing of it', { payload: { a: 1 }, fields: [['payload', 'no JSON']] }, '{"a":1}'],
    ['null where the schema made it of a number', { payload: [null], fields: [['payload', '[1e400]']] }, '[null]'],
    [
      'what the schema put into another order',
      { payload: { b: 1, a: 2 }, fields: [['payload', '{"a": 2,"b":1.0}']] },
      '{"a": 2,"b":1.0}',
    ],
    [
      'a member that it left undefined',
      { payload: { a: 1, b: undefined }, fields: [['payload', '{ "a":1 }']] },
      '{ "a":1 }',
    ],
    [
      'a name of an object’s own',
      published('{"__proto__":1.0,"toJSON":2.0,"constructor":{}}'),
      '{"__proto__":1.0,"toJSON":2.0,"constructor":{}}',
    ],
    [
      'ten thousand levels',
      published(`${'['.repeat(10_000)}1.0${']'.repeat(10_000)}`),
      `${'['.repeat(10_000)}1.0${']'.repeat(10_000)}`,
    ],
    ['no number of another place', { payload: [1, 2], fields: [['payload', '[2.0,1.0]']] }, '[1,2]'],
  ])('is %s, as it was published', async (_title, members, body) => {
    answering(null)
    await notify([aBatchEvent(1, members)], aBatchContext())

    expect(requests().flatMap(({ records }) => records.map((record) => record.body))).toEqual([body])
  })
})

describe('the request of lambdaFunction()', () => {
  test('has the events as SQS’s records', async () => {
    answering(null)
    const event = aBatchEvent(1, {
      version: 2,
      deliveryCount: 2,
      payload: { orderId: 'ö-1' },
      aggregateType: 'Customer',
      aggregateId: 'customer-7',
      tenantId: 'acme',
      producer: 'shop',
      occurredAt: '2026-11-21T00:38:06.021Z',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    })
    await notify([event], aBatchContext())

    const text = (stringValue: string) => ({ stringValue, dataType: 'String' })
    expect(requests()).toEqual([
      {
        parameters: { FunctionName: 'notify-shipping', InvocationType: 'RequestResponse' },
        records: [
          {
            messageId: '1700000000000-1',
            receiptHandle: 'orders/billing/1700000000000-1',
            body: '{"orderId":"ö-1"}',
            attributes: {
              ApproximateReceiveCount: '2',
              SentTimestamp: '1700000000000',
              ApproximateFirstReceiveTimestamp: '1700000000000',
              SenderId: 'redis-streams',
              MessageGroupId: 'customer-7',
            },
            messageAttributes: {
              type: text('OrderShipped'),
              version: text('2'),
              eventId: text('e-1'),
              aggregateType: text('Customer'),
              aggregateId: text('customer-7'),
              tenantId: text('acme'),
              producer: text('shop'),
              occurredAt: text('2026-11-21T00:38:06.021Z'),
              traceparent: text('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
              idempotencyKey: text('billing:e-1'),
            },
            md5OfBody: createHash('md5').update('{"orderId":"ö-1"}').digest('hex'),
            eventSource: 'redis:streams',
            eventSourceARN: 'redis:streams:orders:billing',
            awsRegion: 'eu-west-1',
          },
        ],
      },
    ])
  })

  test('gives further attributes beside what the event says of itself, which goes before them', async () => {
    answering(null)
    const attributes = { source: 'web', empty: '', type: 'x', ['__proto__']: 'y' }
    await notify([{ ...aBatchEvent(1), attributes }], aBatchContext())

    const [{ messageAttributes } = expect.fail('no record')] = requests()[0]?.records ?? []
    expect(Object.entries(messageAttributes).map(([name, { stringValue }]) => [name, stringValue])).toEqual([
      ['source', 'web'],
      ['type', 'OrderShipped'],
      ['__proto__', 'y'],
      ['version', '1'],
      ['eventId', 'e-1'],
      ['idempotencyKey', 'billing:e-1'],
    ])
  })

  test('says only what the event says, and at a first delivery when that was', async () => {
    answering(null)
    vi.setSystemTime(1_700_000_000_123)
    await notify([aBatchEvent(1)], aBatchContext())
    vi.useRealTimers()

    const [{ attributes, messageAttributes } = expect.fail('no record')] = requests()[0]?.records ?? []
    expect(attributes).toEqual({
      ApproximateReceiveCount: '1',
      SentTimestamp: '1700000000000',
      ApproximateFirstReceiveTimestamp: '1700000000123',
      SenderId: 'redis-streams',
    })
    expect(Object.keys(messageAttributes)).toEqual(['type', 'version', 'eventId', 'idempotencyKey'])
  })

  test('names SQS as the source for tools that take nothing else, and the qualifier', async () => {
    answering(null)
    await lambdaFunction('notify-shipping', { envelope: 'sqs', qualifier: 'live' })(aBatch(1), aBatchContext())

    expect(requests()).toMatchObject([
      {
        parameters: { FunctionName: 'notify-shipping', Qualifier: 'live' },
        records: [{ eventSource: 'aws:sqs', eventSourceARN: 'redis:streams:orders:billing' }],
      },
    ])
  })

  test('takes the region from the function’s ARN where the environment has none', async () => {
    vi.stubEnv('AWS_REGION', undefined)
    vi.stubEnv('AWS_DEFAULT_REGION', undefined)
    answering(null)
    await notify(aBatch(1), aBatchContext({ invokedFunctionArn: 'arn:aws:lambda:eu-north-1:123456789012:function:p' }))

    expect(requests()[0]?.records).toMatchObject([{ awsRegion: 'eu-north-1' }])
  })

  test('is not made for no events', async () => {
    expect([await notify([], aBatchContext()), requests()]).toEqual([{ batchItemFailures: [] }, []])
  })

  const NAMED = 'ERR_BATCH_ITEM_FAILED'
  const UNSENT = 'ERR_UNAVAILABLE'
  test.each([
    ['side by side', false, 3, [NAMED, NAMED, NAMED]],
    ['where order is kept up to the first failure', true, 1, [NAMED, UNSENT, UNSENT]],
  ])('is several requests above 6 MB of JSON, %s', async (_how, isInOrder, atOnce, codes) => {
    let running = 0
    let most = 0
    lambda.on(InvokeCommand).callsFake(async (input: InvokeCommand['input']) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      const [first] = recordsOf(input)
      return {
        StatusCode: 200,
        Payload: Buffer.from(JSON.stringify({ batchItemFailures: [{ itemIdentifier: first?.messageId }] })),
      }
    })
    // a million quotation marks are two million characters of JSON, and three million within a body
    const events = [1, 2, 3].map((n) => aBatchEvent(n, { payload: '"'.repeat(1_000_000) }))
    const context = aBatchContext()
    keepBatch(context, { keys: consumerKeys('orders', 'shipping'), events, isInOrder })
    const answer = await notify(events, context)

    expect([requests().map(({ records }) => records.length), most]).toEqual([
      codes.filter((code) => code === NAMED).map(() => 1),
      atOnce,
    ])
    expect(failuresOf(answer)).toMatchObject(codes.map((code, n) => [n + 1, { code }]))
  })

  test('never has more bytes than Lambda takes, however the events are cut', async () => {
    answering(null)
    const sizes = [2_990_000, 2_990_000, 1_000, 5_999_000, 6_290_000, 10, 10, 3_000_000]
    await notify(
      sizes.map((size, n) => aBatchEvent(n, { payload: 'é'.repeat(size / 2) })),
      aBatchContext(),
    )

    const sent = lambda.commandCalls(InvokeCommand).map(({ args: [{ input }] }) => (input.Payload as Uint8Array).length)
    expect(sent.every((bytes) => bytes <= 6_291_456)).toBe(true)
    expect(requests().map(({ records }) => records.length)).toEqual([3, 1, 1, 3])
  })

  test('leaves out an event that alone is too large, or is no JSON: nothing else fails', async () => {
    answering(null)
    const large = aBatchEvent(1, { payload: 'x'.repeat(6_291_456) })
    const cyclic = aBatchEvent(3, { payload: { secret: 1n } })
    const answer = await notify(
      [large, aBatchEvent(2), cyclic, aBatchEvent(4, { payload: undefined })],
      aBatchContext(),
    )

    expect(requests()[0]?.records).toMatchObject([{ body: '{"orderId":"o-2"}' }, { body: 'null' }])
    expect(failuresOf(answer).map(([n, error]) => [n, String(error)])).toEqual([
      [
        1,
        'NonRetryableError: Function "notify-shipping" cannot be given this event: a request has at most 6291456 bytes of JSON',
      ],
      [
        3,
        'NonRetryableError: Function "notify-shipping" cannot be given this event: its payload cannot be written as JSON',
      ],
    ])
  })
})

describe('the answer of lambdaFunction()', () => {
  test.each([
    ['nothing', undefined],
    ['an empty text', ''],
    ['null', null],
    ['an empty object', {}],
    ['no failures', { batchItemFailures: [] }],
    ['null for failures', { batchItemFailures: null }],
  ])('is a success of all if the function answers %s', async (_, answer) => {
    answering(answer)
    expect(await notify(aBatch(2), aBatchContext())).toEqual({ batchItemFailures: [] })
  })

  test('names what the function names, and nothing that it says of it', async () => {
    answering({ batchItemFailures: [{ itemIdentifier: '1700000000000-2', error: { code: 'ERR_NON_RETRYABLE' } }] })
    const answer = await notify(aBatch(3), aBatchContext())

    expect(failuresOf(answer).map(([n, error]) => [n, String(error)])).toEqual([
      [2, 'BatchItemFailedError: Function "notify-shipping" named it as failed'],
    ])
  })

  test.each([
    ['no JSON', 'oops', /^Function "notify-shipping" must answer JSON, got something else$/],
    ['a text', '"done"', /got string$/],
    ['an array', [], /got an array$/],
    ['another key', { batchItemFailure: [] }, /got the key "batchItemFailure"$/],
    ['an unknown id', { batchItemFailures: [{ itemIdentifier: '9-9' }] }, /which is not in the batch$/],
    ['an empty id', { batchItemFailures: [{ itemIdentifier: '' }] }, /missing, empty or no string$/],
  ])('is a failure of all if the function answers %s', async (_, answered, message) => {
    answering(answered)
    expect(failuresOf(await notify(aBatch(2), aBatchContext()))).toMatchObject(
      [1, 2].map((n) => [n, { code: 'ERR_BATCH_ANSWER_INVALID', message: expect.stringMatching(message) }]),
    )
  })

  test('is a failure of all if Lambda says anything else than 200', async () => {
    answering(undefined, { StatusCode: 202 })
    expect(failuresOf(await notify(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { message: 'Function "notify-shipping" must answer with status 200, got 202' }],
    ])
  })

  test.each([
    [
      { errorType: 'FullBatchFailureError', errorMessage: 'All records failed processing.' },
      'FullBatchFailureError: All records failed processing.',
    ],
    [{ errorType: 'Error', errorMessage: 'x'.repeat(2_000) }, `Error: ${'x'.repeat(1_000)}`],
    ['gone', 'it did not say with what'],
    [null, 'it did not say with what'],
  ])('is a failure of all, with what it failed with, if the function fails: %j', async (answered, text) => {
    answering(answered, { FunctionError: 'Unhandled' })
    expect(failuresOf(await notify(aBatch(2), aBatchContext())).map(([n, error]) => [n, String(error)])).toEqual(
      [1, 2].map((n) => [n, `FunctionFailedError: Function "notify-shipping" failed: ${text}`]),
    )
  })

  test('is judged request by request', async () => {
    lambda.on(InvokeCommand).callsFake((input: InvokeCommand['input']) => {
      const [first] = recordsOf(input)
      if (first?.messageId === '1700000000000-1') return { StatusCode: 200 }
      throw new LambdaServiceException({
        name: 'TooManyRequestsException',
        message: 'Rate Exceeded.',
        $fault: 'client',
        $metadata: { httpStatusCode: 429 },
      })
    })
    const events = [1, 2].map((n) => aBatchEvent(n, { payload: 'x'.repeat(4_000_000) }))

    expect(failuresOf(await notify(events, aBatchContext()))).toMatchObject([[2, { code: 'ERR_UNAVAILABLE' }]])
  })
})

/** Refuses requests with any of these events, and nobody knows why. */
function refusingFor(isRefused: (n: number) => boolean, httpStatusCode = 400, name = 'BadRequest'): void {
  lambda.on(InvokeCommand).callsFake((input: InvokeCommand['input']) => {
    if (!recordsOf(input).some(({ messageId }) => isRefused(Number(messageId.split('-')[1]))))
      return { StatusCode: 200 }
    throw new LambdaServiceException({ name, message: 'no', $fault: 'client', $metadata: { httpStatusCode } })
  })
}

describe('what Lambda refuses and nobody knows why', () => {
  test.each([400, 402, 406, 411, 412, 414, 415, 416, 418, 422, 424, 431, 451, 499])(
    'is halved until it is known for which event, which has used up a delivery: %i',
    async (status) => {
      refusingFor((n) => n === 37, status)
      expect(failuresOf(await notify(aBatch(100), aBatchContext()))).toMatchObject([
        [
          37,
          {
            code: 'ERR_FUNCTION_FAILED',
            message: expect.stringMatching(/BadRequest: no; the request with only this event/),
          },
        ],
      ])
      expect(requests().length).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(100)))
    },
  )

  test('is a failure of an event that is alone', async () => {
    refusingFor(() => true, 422)
    expect(failuresOf(await notify(aBatch(1), aBatchContext()))).toMatchObject([[1, { code: 'ERR_FUNCTION_FAILED' }]])
    expect(requests()).toHaveLength(1)
  })

  test('of several events is each one’s', async () => {
    refusingFor((n) => [1, 50, 99].includes(n))
    const failures = failuresOf(await notify(aBatch(100), aBatchContext()))
    expect(failures.map(([n, error]) => [n, (error as { code: string }).code])).toEqual(
      [1, 50, 99].map((n) => [n, 'ERR_FUNCTION_FAILED']),
    )
  })

  test.each([100, 2_000])(
    'for nearly all of %i events costs few requests, and hands back the undecided events',
    async (count) => {
      refusingFor(() => true)
      const failures = failuresOf(await notify(aBatch(count), aBatchContext()))
      expect(failures).toHaveLength(count)
      expect(requests().length).toBeLessThanOrEqual(20 * Math.ceil(Math.log2(count)))
      const codes = new Set(failures.map(([, error]) => (error as { code: string }).code))
      expect(codes).toContain('ERR_UNAVAILABLE')
      for (const code of codes) expect(['ERR_UNAVAILABLE', 'ERR_FUNCTION_FAILED']).toContain(code)
    },
  )

  test('takes no longer than the handler has', async () => {
    lambda.on(InvokeCommand).callsFake(async () => {
      await new Promise((resolve) => setTimeout(resolve, 40))
      throw new LambdaServiceException({
        name: 'X',
        message: 'no',
        $fault: 'client',
        $metadata: { httpStatusCode: 400 },
      })
    })
    const failures = failuresOf(await notify(aBatch(1_000), aBatchContext({ getRemainingTimeInMillis: () => 100 })))
    expect(failures).toHaveLength(1_000)
    expect(requests().length).toBeLessThanOrEqual(8)
  })
})

describe('what Lambda refuses', () => {
  test.each([
    ['TooManyRequestsException', 429],
    ['ServiceException', 500],
    ['EC2ThrottledException', 502],
    ['ENILimitReachedException', 502],
    ['ResourceNotReadyException', 502],
    ['SubnetIPAddressLimitReachedException', 502],
    ['InternalFailure', 503],
    ['ResourceConflictException', 409],
    ['SnapStartNotReadyException', 409],
    ['SnapStartTimeoutException', 408],
    ['ThrottlingException', 400],
  ])('is released, and will pass: %s', async (name, status) => {
    refusing(name, status)
    expect(failuresOf(await notify(aBatch(2), aBatchContext()))).toMatchObject(
      [1, 2].map((n) => [n, { code: 'ERR_UNAVAILABLE', isLasting: false }]),
    )
  })

  test.each([
    ['AccessDeniedException', 403],
    ['UnrecognizedClientException', 403],
    ['InvalidSignatureException', 403],
    ['ResourceNotFoundException', 404],
    ['InvalidParameterValueException', 400],
    ['RecursiveInvocationException', 400],
    ['KMSAccessDeniedException', 502],
    ['InvalidSubnetIDException', 502],
    ['EC2AccessDeniedException', 502],
  ])('is released, and lasts: %s', async (name, status) => {
    refusing(name, status, 'somebody has to look')
    expect(failuresOf(await notify(aBatch(1), aBatchContext()))).toMatchObject([
      [
        1,
        {
          code: 'ERR_UNAVAILABLE',
          isLasting: true,
          message: `Function "notify-shipping" could not be called: ${name}: somebody has to look`,
        },
      ],
    ])
  })

  test.each([
    ['RequestTooLargeException', 413],
    ['InvalidRequestContentException', 400],
  ])('for what is in the request is halved until it is known for which event: %s', async (name, httpStatusCode) => {
    const quoting = 'Could not parse request body: {"secret"'
    lambda.on(InvokeCommand).callsFake((input: InvokeCommand['input']) => {
      if (recordsOf(input).every(({ body }) => !body.includes('o-3'))) return { StatusCode: 200 }
      throw new LambdaServiceException({ name, message: quoting, $fault: 'client', $metadata: { httpStatusCode } })
    })
    const failures = failuresOf(await notify(aBatch(5), aBatchContext()))

    expect(failures).toMatchObject([[3, { code: 'ERR_NON_RETRYABLE', message: expect.not.stringContaining('secret') }]])
    expect(requests().map(({ records }) => records.length)).toEqual([5, 3, 2, 2, 1])
  })
})

describe('a call that Lambda does not answer', () => {
  const failing = (members: object) => lambda.on(InvokeCommand).rejects(Object.assign(new Error('no'), members))

  test.each([
    [{ code: 'ECONNREFUSED' }],
    [{ code: 'ENOTFOUND' }],
    [{ code: 'EAI_AGAIN', syscall: 'getaddrinfo' }],
    [{ code: 'ETIMEDOUT', syscall: 'connect' }],
    [{ code: 'ECONNREFUSED', errors: [{ code: 'ECONNREFUSED' }, { code: 'ENETUNREACH' }] }],
  ])('is released if there was no connection: %j', async (members) => {
    failing(members)
    expect(failuresOf(await notify(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { code: 'ERR_UNAVAILABLE', isLasting: false }],
    ])
  })

  test.each([
    [{ name: 'CredentialsProviderError' }],
    [{ message: 'Region is missing' }],
    [{ code: 'ERR_MODULE_NOT_FOUND' }],
    [{ code: 'CERT_HAS_EXPIRED' }],
  ])('is released, and lasts, if it was never sent: %j', async (members) => {
    failing(members)
    expect(failuresOf(await notify(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { code: 'ERR_UNAVAILABLE', isLasting: true }],
    ])
  })

  test.each([
    [{ code: 'ECONNRESET' }],
    [{ code: 'EPIPE', syscall: 'write' }],
    [{ name: 'TimeoutError' }],
    [{ $metadata: { httpStatusCode: 504 } }],
    [{ name: 'EFSIOException', $metadata: { httpStatusCode: 410 } }],
    [{ name: 'SyntaxError', $metadata: { httpStatusCode: 200 } }],
  ])('has failed if it may have run: %j', async (members) => {
    failing(members)
    expect(failuresOf(await notify(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { code: 'ERR_FUNCTION_FAILED', message: expect.stringMatching(/whether it ran is not known$/) }],
    ])
  })
})

describe('the time of lambdaFunction()', () => {
  /** Calls without an answer, and notes how each was given up. */
  function neverAnswering(): unknown[] {
    const reasons: unknown[] = []
    lambda.send.callsFake((...[, options]: unknown[]) => {
      const { abortSignal } = options as { abortSignal: AbortSignal }
      abortSignal.addEventListener('abort', () => reasons.push(abortSignal.reason))
      return new Promise(() => {})
    })
    return reasons
  }

  test.each([
    ['its own limit', { timeoutMs: 30 }, 60_000, 30],
    ['what is left to the handler, less a tenth', {}, 50, 45],
    ['what is left where its own limit is longer', { timeoutMs: 60_000 }, 50, 45],
  ])('is %s', async (_, options, remainingMs, limitMs) => {
    const given = neverAnswering()
    const started = performance.now()
    const context = aBatchContext({ getRemainingTimeInMillis: () => remainingMs })
    const answer = await lambdaFunction('notify-shipping', options)(aBatch(2), context)

    expect(performance.now() - started).toBeGreaterThanOrEqual(limitMs - 1)
    const message = `Function "notify-shipping" failed: TimeoutError: no answer within ${limitMs} ms; whether it ran is not known`
    expect(failuresOf(answer)).toMatchObject([1, 2].map((n) => [n, { code: 'ERR_FUNCTION_FAILED', message }]))
    expect(given).toMatchObject([{ message }])
  })

  test('is over when the handler’s is', async () => {
    const given = neverAnswering()
    const abort = new AbortController()
    const answering = notify(aBatch(1), aBatchContext({ signal: abort.signal }))
    await vi.waitFor(() => expect(lambda.send.callCount).toBe(1))
    abort.abort()

    expect(failuresOf(await answering)).toMatchObject([[1, { errorType: 'TimeoutError' }]])
    expect(given).toHaveLength(1)
  })

  test('lets nothing be sent once it is over', async () => {
    neverAnswering()
    const answer = await notify(aBatch(1), aBatchContext({ signal: AbortSignal.abort() }))

    expect([failuresOf(answer), lambda.send.callCount]).toMatchObject([[[1, { errorType: 'TimeoutError' }]], 0])
  })

  test.each([
    ['an answer', () => answering(null)],
    ['a refusal', () => refusing('TooManyRequestsException', 429)],
    ['no answer', () => void neverAnswering()],
  ])('leaves no timer and no listener after %s', async (_, prepare) => {
    prepare()
    const { signal } = new AbortController()
    const added = vi.spyOn(signal, 'addEventListener')
    const removed = vi.spyOn(signal, 'removeEventListener')
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    await lambdaFunction('f', { timeoutMs: 100 })(aBatch(1), aBatchContext({ signal }))

    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThanOrEqual(before)
    expect(added.mock.calls.length).toBe(1)
    expect(removed.mock.calls.length).toBeGreaterThanOrEqual(1)
    expect(removed.mock.calls[0]?.[1]).toBe(added.mock.calls[0]?.[1])
  })
})

describe('the options of lambdaFunction()', () => {
  test('are seen where they count for others: timeoutMs, read-only', () => {
    const handler = lambdaFunction('f', { timeoutMs: 5_000 })
    expect([handler.timeoutMs, lambdaFunction('f').timeoutMs, typeof handler]).toEqual([5_000, undefined, 'function'])
    expect(() => Object.assign(handler, { timeoutMs: 1 })).toThrow(TypeError)
  })

  test.each([
    'notify-shipping',
    'notify-shipping:live',
    'notify-shipping:$LATEST',
    '123456789012:function:notify-shipping',
    'arn:aws:lambda:eu-west-1:123456789012:function:notify-shipping',
    'arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:notify-shipping:42',
  ])('take a name or an ARN: %s', (name) => {
    expect(lambdaFunction(name)).toBeTypeOf('function')
  })

  test.each([
    [undefined, {}, 'Cannot make lambdaFunction: name must be a string that is not empty, got undefined'],
    ['', {}, 'Cannot make lambdaFunction: name must be a string that is not empty, got ""'],
    ['not a name', {}, 'Cannot make lambdaFunction: name must be a function\'s name or ARN, got "not a name"'],
    ['f', { qualifier: 3 }, 'Cannot make lambdaFunction: qualifier must be a string that is not empty, got number'],
    ['f', { qualifier: 'a:b' }, 'Cannot make lambdaFunction: qualifier must be a version or an alias, got "a:b"'],
    [
      'f:live',
      { qualifier: 'live' },
      'Cannot make lambdaFunction: name and qualifier must not both say a version, got f:live and live',
    ],
    ['f', { envelope: 'sns' }, 'Cannot make lambdaFunction: envelope must be one of "redis", "sqs", got "sns"'],
    ['f', { timeoutMs: 0 }, 'Cannot make lambdaFunction: timeoutMs must be >= 1, got 0'],
    ['f', { timeoutMs: 1.5 }, 'Cannot make lambdaFunction: timeoutMs must be a whole number, got 1.5'],
    [
      'f',
      { timeout: 5 },
      'Cannot make lambdaFunction: unknown option "timeout"; known are qualifier, envelope, timeoutMs',
    ],
    ['f', null, 'Cannot make lambdaFunction: options must be an object, got null'],
  ])('are refused: %j, %j', (name, options, message) => {
    expect(() => lambdaFunction(name as string, options as object)).toThrow(message)
  })
})

import { join } from 'node:path'
import { lambdaFunction } from 'millrace/lambda'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { FunctionDefinition } from '../../src/local/definitions.ts'
import type { LocalLambda } from '../../src/local/local-lambda.ts'
import { startLocalLambda } from '../../src/local/local-lambda.ts'
import { aBatch, aBatchContext, aBatchEvent, failuresOf } from '../support/batch.ts'

const codeFolder = join(import.meta.dirname, 'functions')
const log: string[] = []
const PATIENCE = { timeout: 20_000 }
let lambda: LocalLambda

function aFunction(handler: string, members: Partial<FunctionDefinition> = {}): FunctionDefinition {
  const name = handler.replace('.handler', '').replace('.', '-')
  return { name, handler, codeFolder, timeoutMs: 10_000, memoryMb: 512, ...members }
}

beforeAll(async () => {
  lambda = await startLocalLambda({
    functions: [
      aFunction('powertools.handler'),
      aFunction('middy.handler'),
      ...['echo', 'throwing', 'dying', 'chatty', 'pickingFirst'].map((name) => aFunction(`plain.${name}`)),
      aFunction('plain.endless', { timeoutMs: 500 }),
      aFunction('plain.slow'),
      aFunction('plain.slow', { name: 'scarce', reservedConcurrency: 1 }),
    ],
    onLog: ({ source, text }) => void (source === 'stdout' && log.push(text)),
  })
  vi.stubEnv('AWS_ENDPOINT_URL_LAMBDA', lambda.url)
  vi.stubEnv('AWS_REGION', 'us-east-1')
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'anyone')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'anything')
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await lambda.close()
})

/** Calls a function with events that fail or not, and answers which failed, and with what. */
async function failuresAt(name: string, fails: readonly boolean[]) {
  const events = fails.map((value, n) => aBatchEvent(n + 1, { payload: { fails: value } }))
  return failuresOf(await lambdaFunction(name)(events, aBatchContext()))
}

describe.each(['powertools', 'middy'])('code for SQS with %s, as it is', (name) => {
  test('answers which events failed', async () => {
    expect(await failuresAt(name, [false, true, false, true])).toMatchObject([
      [2, { code: 'ERR_BATCH_ITEM_FAILED' }],
      [4, { code: 'ERR_BATCH_ITEM_FAILED' }],
    ])
  })

  test('answers that none failed', async () => {
    expect(await failuresAt(name, [false, false])).toEqual([])
  })
})

test('Powertools’ error for a batch of failures is a failure of all', async () => {
  expect(await failuresAt('powertools', [true, true])).toMatchObject(
    [1, 2].map((n) => [n, { code: 'ERR_FUNCTION_FAILED', errorType: 'FullBatchFailureError' }]),
  )
})

test('Middy names all events of a batch of failures', async () => {
  expect(await failuresAt('middy', [true, true])).toMatchObject(
    [1, 2].map((n) => [n, { code: 'ERR_BATCH_ITEM_FAILED' }]),
  )
})

describe('a real function', () => {
  test('is given the records', async () => {
    await lambdaFunction('plain-echo', { qualifier: '$LATEST' })(aBatch(1), aBatchContext())
    const line = await vi.waitUntil(() => log.find((text) => text.includes('given [')), PATIENCE)

    expect(JSON.parse(line.slice(line.indexOf('[')))).toMatchObject([
      { messageId: '1700000000000-1', body: '{"orderId":"o-1"}', awsRegion: 'us-east-1' },
    ])
  })

  test.each([
    ['throws', 'plain-throwing', 'RangeError', 'out of paper'],
    ['dies', 'plain-dying', 'Runtime.ExitError', 'Runtime exited with error: exit status 1'],
    ['runs into its timeout', 'plain-endless', 'Sandbox.Timedout', 'Task timed out after 0.50 seconds'],
  ])('that %s has failed all of its batch', async (_, name, errorType, text) => {
    const failures = failuresOf(await lambdaFunction(name)(aBatch(2), aBatchContext()))

    const message = expect.stringContaining(text)
    expect(failures).toMatchObject([1, 2].map((n) => [n, { code: 'ERR_FUNCTION_FAILED', errorType, message }]))
  })

  test('that answers like one behind an API has failed all of its batch', async () => {
    expect(failuresOf(await lambdaFunction('plain-chatty')(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { code: 'ERR_BATCH_ANSWER_INVALID' }],
    ])
  })

  test('gets more than a request holds as several requests', async () => {
    const events = [1, 2, 3, 4].map((n) => aBatchEvent(n, { payload: 'x'.repeat(2_500_000) }))
    const answer = await lambdaFunction('plain-pickingFirst')(events, aBatchContext())

    expect(failuresOf(answer).map(([n]) => n)).toEqual([2, 4])
  })

  test('that runs as often as it may is not charged for what it did not take', async () => {
    const slow = lambdaFunction('scarce')
    const first = slow(aBatch(1), aBatchContext())
    await vi.waitUntil(() => lambda.environments('scarce').some(({ state }) => state === 'busy'), PATIENCE)

    expect(failuresOf(await slow(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { code: 'ERR_UNAVAILABLE', isLasting: false, message: expect.stringContaining('TooManyRequestsException') }],
    ])
    expect(failuresOf(await first)).toEqual([])
  })

  test.each([
    ['a name', 'typo', undefined],
    ['an alias', 'plain-echo', 'typo'],
  ])('that cannot be found by %s costs no delivery, and lasts', async (_, name, qualifier) => {
    const handler = lambdaFunction(name, qualifier ? { qualifier } : {})
    expect(failuresOf(await handler(aBatch(1), aBatchContext()))).toMatchObject([
      [1, { code: 'ERR_UNAVAILABLE', isLasting: true, message: expect.stringContaining('ResourceNotFoundException') }],
    ])
  })

  test('that is slower than its time is not waited for', async () => {
    const handler = lambdaFunction('plain-slow', { timeoutMs: 100 })
    expect(failuresOf(await handler(aBatch(1), aBatchContext()))).toMatchObject([[1, { errorType: 'TimeoutError' }]])
  })
})

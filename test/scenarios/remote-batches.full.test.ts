import { join } from 'node:path'
import type { ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, onBatch, poll } from 'millrace'
import type { LambdaFunctionOptions } from 'millrace/lambda'
import { lambdaFunction, notifyFunction } from 'millrace/lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import type { FunctionDefinition, LocalInvocationReport } from '../../src/local/definitions.ts'
import type { LocalLambda } from '../../src/local/local-lambda.ts'
import { startLocalLambda } from '../../src/local/local-lambda.ts'
import { claimOnce } from '../support/claim-once.ts'
import { counts, difference, startScenario } from '../support/scenario.ts'

const OrderShipped = defineEvent('OrderShipped', { payload: z.object({ orderId: z.string(), fails: z.boolean() }) })

const codeFolder = join(import.meta.dirname, '../interop/functions')
const runs: LocalInvocationReport[] = []
const log: string[] = []
let lambda: LocalLambda

function aFunction(handler: string, members: Partial<FunctionDefinition> = {}): FunctionDefinition {
  const name = handler.replace('.handler', '').replace('.', '-')
  return { name, handler, codeFolder, timeoutMs: 10_000, memoryMb: 256, ...members }
}

beforeAll(async () => {
  lambda = await startLocalLambda({
    functions: ['powertools.handler', 'plain.echo', 'plain.dying'].map((handler) => aFunction(handler)),
    onInvocation: (run) => void runs.push(run),
    onLog: ({ text }) => void log.push(text),
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

/** A consumer whose events another function handles. */
function shipping(name: string, options: Partial<ConsumerOptions> = {}, remote: LambdaFunctionOptions = {}) {
  const routes = [onBatch(OrderShipped, lambdaFunction(name, remote))]
  return defineConsumer({ stream: 'orders', group: 'billing', routes, backoff: { firstMs: 0 }, ...options })
}

/** Publishes an order each; those in capitals fail. */
async function startShipping(...orderIds: string[]) {
  const scenario = await startScenario()
  const publisher = createPublisher({ stream: 'orders', redis: scenario.redis })
  await publisher.publishMany(
    orderIds.map((orderId) => [OrderShipped, { orderId, fails: orderId !== orderId.toLowerCase() }] as const),
  )
  return scenario
}

const runsOf = (name: string) => runs.filter(({ functionName }) => functionName === name).length

describe('another function that handles batches', () => {
  it('acknowledges what it handled, and gets the others again until they are notified dead letters', async () => {
    const { redis, pending, deadLetters } = await startShipping('a', 'B', 'c', 'D')
    const onDeadLetter = notifyFunction('plain-echo')
    const consumer = shipping('powertools', { maxDeliveries: 2, onDeadLetter })

    const polled = await poll(consumer, { redis })
    expect(counts(polled)).toMatchObject({ read: 4, acked: 2, retried: 2 })
    expect(await pending()).toEqual([
      ['B', 'parked', 1],
      ['D', 'parked', 1],
    ])
    const claimed = await claimOnce(consumer, { redis })

    expect(counts(claimed)).toMatchObject({ claimed: 2, deadLettered: 2 })
    expect([difference(polled), difference(claimed), await pending()]).toEqual([0, 0, []])
    expect((await deadLetters()).map(({ head }) => head)).toMatchObject(
      [1, 2].map(() => ({ reason: 'max-deliveries', errorMessage: expect.stringContaining('FullBatchFailureError') })),
    )
    await lambda.idle()
    expect(runsOf('plain-echo')).toBe(2)
  })

  it('that throttles costs no delivery, and is called again by the claimer', async () => {
    const { redis, pending, deadLetters } = await startShipping('a', 'b')
    const consumer = shipping('throttled', { maxDeliveries: 1 })
    await lambda.deploy(aFunction('plain.echo', { name: 'throttled', reservedConcurrency: 0 }))

    expect(await poll(consumer, { redis })).toMatchObject({ read: 2, released: 2, throttled: 2, failed: 0 })
    expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 2, released: 2, throttled: 2, failed: 0 })
    expect(await pending()).toEqual([
      ['a', 'parked', 0],
      ['b', 'parked', 0],
    ])
    await lambda.deploy(aFunction('plain.echo', { name: 'throttled' }))

    expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 2, acked: 2 })
    expect(await deadLetters()).toEqual([])
  })

  it('that is not there fails the invocation, and makes no dead letter however often', async () => {
    const { redis, pending, deadLetters } = await startShipping('a')
    const consumer = shipping('typo', { maxDeliveries: 1 })

    for (const action of [poll, claimOnce, claimOnce]) {
      await expect(action(consumer, { redis })).rejects.toMatchObject({
        code: 'ERR_INVOCATION_FAILED',
        failures: [{ error: { code: 'ERR_UNAVAILABLE', message: expect.stringContaining('"typo"') } }],
        report: { released: 1, failed: 0 },
      })
    }
    expect([await pending(), await deadLetters()]).toEqual([[['a', 'parked', 0]], []])
  })

  it('that dies fails its batch, which becomes dead letters once its deliveries are used up', async () => {
    const { redis, deadLetters } = await startShipping('a', 'b')
    const consumer = shipping('plain-dying', { maxDeliveries: 2 })

    expect(await poll(consumer, { redis })).toMatchObject({ read: 2, failed: 2, retried: 2 })
    expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 2, failed: 2, deadLettered: 2 })

    expect((await deadLetters()).map(({ head }) => head)).toMatchObject(
      [1, 2].map(() => ({ reason: 'max-deliveries', errorMessage: expect.stringContaining('Runtime.ExitError') })),
    )
    expect(runsOf('plain-dying')).toBe(3) // both at first, and each alone at its last delivery
  })

  it('that dies of one event gets its batch in parts where it is bisected', async () => {
    const { redis, deadLetters } = await startShipping('a', 'b', 'c', 'd')
    const routes = [onBatch(OrderShipped, lambdaFunction('plain-dying'), { maxEvents: 4, bisectOnError: true })]
    const before = runsOf('plain-dying')
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes,
      backoff: { firstMs: 0 },
      maxDeliveries: 3,
    })

    await poll(consumer, { redis })
    for (let round = 0; round < 2; round++) await claimOnce(consumer, { redis })

    expect(await deadLetters()).toHaveLength(4)
    await lambda.idle()
    expect(runsOf('plain-dying') - before).toBe(1 + 2 + 4)
  })

  it('may not take longer than handlers may', () => {
    expect(() => shipping('f', { handlerTimeoutMs: 5_000 }, { timeoutMs: 5_001 })).toThrow(
      'timeoutMs of the function for "OrderShipped" must be <= handlerTimeoutMs, got timeoutMs 5001 and handlerTimeoutMs 5000',
    )
  })
})

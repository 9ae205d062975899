import { Logger } from '@aws-lambda-powertools/logger'
import { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware'
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import { logMetrics } from '@aws-lambda-powertools/metrics/middleware'
import { Tracer } from '@aws-lambda-powertools/tracer'
import { captureLambdaHandler } from '@aws-lambda-powertools/tracer/middleware'
import middy from '@middy/core'
import errorLogger from '@middy/error-logger'
import warmup from '@middy/warmup'
import type { Context } from 'aws-lambda'
import type { Connection, EventOf, HandlerContext } from 'millrace'
import { createClaimer, createPoller, createPublisher, defineConsumer, defineEvent, on } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import * as z from 'zod/mini'
import { lambdaContext } from '../support/scenario.ts'

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })
type OrderPaid = EventOf<typeof OrderPaid>

beforeEach(() => void vi.stubEnv('POWERTOOLS_SERVICE_NAME', 'orders'))
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

function aConsumer(route = on(OrderPaid, () => {})) {
  return defineConsumer({ stream: 'orders', group: 'billing', routes: [route] })
}

async function publishing(...orderIds: string[]): Promise<Connection> {
  const redis = connectMemory()
  const orders = createPublisher({ stream: 'orders', redis })
  for (const orderId of orderIds) await orders.publish(OrderPaid, { orderId })
  return redis
}

/** A connection that nobody may use. */
const untouchable: Connection = {
  ...connectMemory(),
  group() {
    throw new Error('Redis was asked')
  },
}

/** The lines of JSON that Powertools wrote, past the console that Lambda adds to. */
function written(): () => Record<string, unknown>[] {
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true)
  return () =>
    write.mock.calls
      .flatMap(([text]) => String(text).split('\n'))
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('a handler that Middy wraps', () => {
  test('is called through its middlewares, with Lambda’s context and ours', async () => {
    const seen: unknown[] = []
    const sendReceipt = async ({ payload }: OrderPaid, { functionName, idempotencyKey }: HandlerContext) =>
      void seen.push([payload.orderId, functionName, idempotencyKey])
    const before = ({ context }: { readonly context: Context }) => void seen.push(context.getRemainingTimeInMillis())
    const handler = middy<OrderPaid, void, Error, HandlerContext & Context>(sendReceipt).use({ before })
    const redis = await publishing('o-1')

    const report = await createPoller(aConsumer(on(OrderPaid, handler)), { redis })({}, lambdaContext())

    expect(report).toMatchObject({ read: 1, acked: 1 })
    expect(seen).toEqual([expect.closeTo(10_000, -3), ['o-1', 'orders', expect.stringMatching(/^billing:/)]])
  })

  test('fails its entry by what it throws, once its middlewares have seen it', async () => {
    const errors: unknown[] = []
    const failing = async (_event: OrderPaid) => {
      throw new Error('mail is down')
    }
    const handler = middy(failing).use(errorLogger({ logger: ({ error }) => void errors.push(error) }))
    const redis = await publishing('o-1')

    const report = await createPoller(aConsumer(on(OrderPaid, handler)), { redis })({}, lambdaContext())

    expect(report).toMatchObject({ read: 1, failed: 1, retried: 1 })
    expect(errors).toMatchObject([{ message: 'mail is down' }])
  })
})

describe.each([
  ['poller', createPoller],
  ['claimer', createClaimer],
] as const)('a %s', (_, create) => {
  test.each([[{ source: 'serverless-plugin-warmup' }], [{ warmer: true, concurrency: 3 }]])(
    'answers %j at once, without Redis, also where there is no time',
    async (event) => {
      const report = await create(aConsumer(), { redis: untouchable })(event, { getRemainingTimeInMillis: () => 1 })
      expect(report).toMatchObject({ read: 0, claimed: 0, roundTrips: 0, drained: false, consumers: [] })
    },
  )

  test.each([[{ source: 'aws.events' }], [{ warmer: false }], [null], ['text']])('works for %j', async (event) => {
    const redis = connectMemory()
    expect(await create(aConsumer(), { redis })(event, lambdaContext())).toMatchObject({ consumers: [{}] })
  })

  test('works with Powertools’ Logger, Metrics and Tracer', async () => {
    const lines = written()
    const logger = new Logger()
    const metrics = new Metrics({ namespace: 'shop' })
    const route = on(OrderPaid, ({ payload }) => {
      logger.info('paid', { orderId: payload.orderId })
      metrics.addMetric('paid', MetricUnit.Count, 1)
    })
    const consumer = aConsumer(route)
    const redis = await publishing('o-1')
    if (create === createClaimer) await failOnce(redis)
    const handler = create(consumer, { redis })
      .use(injectLambdaContext(logger))
      .use(logMetrics(metrics, { captureColdStartMetric: false }))
      .use(captureLambdaHandler(new Tracer()))

    expect(await handler({}, lambdaContext())).toMatchObject({ acked: 1 })
    expect(lines()).toMatchObject([
      { message: 'paid', orderId: 'o-1', service: 'orders', function_request_id: 'request-1' },
      { service: 'orders', paid: 1, _aws: { CloudWatchMetrics: [{ Namespace: 'shop' }] } },
    ])
  })

  test('works with Middy’s error-logger and warmup', async () => {
    const errors: unknown[] = []
    const handler = create(aConsumer(), { redis: untouchable })
      .use(errorLogger({ logger: ({ error }) => void errors.push(error) }))
      .use(warmup({ isWarmingUp: (event) => (event as { ping?: boolean }).ping === true }))

    expect(await handler({ ping: true }, lambdaContext())).toBe('warmup')
    await expect(handler({}, lambdaContext())).rejects.toThrow('Redis was asked')
    expect(errors).toMatchObject([{ message: expect.stringContaining('Redis was asked') }])
  })
})

/** Polls with a handler that fails, so that a claimer has something to do. */
async function failOnce(redis: Connection): Promise<void> {
  const failing = on(OrderPaid, () => {
    throw new Error('not yet')
  })
  const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes: [failing], backoff: { firstMs: 0 } })
  await createPoller(consumer, { redis })({}, lambdaContext())
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type UnpackedService, unpackService } from '../../src/local/service.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { type PackagedFunctions, packageFunctions } from '../infra/package-functions.ts'
import { startLambda } from '../support/local-lambda.ts'

const POLLER = 'millrace-orders-dev-ordersPoller'
const CLAIMER = 'millrace-orders-dev-ordersClaimer'

let packaged: PackagedFunctions
let folder: string

beforeAll(async () => {
  packaged = await packageFunctions()
  folder = await mkdtemp(join(tmpdir(), 'millrace-service-'))
}, 150_000)

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
  await packaged?.remove()
})

function unpack(environment: Record<string, string>): Promise<UnpackedService> {
  return unpackService(packaged.templateFile, { folder, environment })
}

test("the packaged service is read with its functions' limits and what wakes them", async () => {
  const { functions, schedules, skipped } = await unpack({ REDIS_URL: 'redis://127.0.0.1:1' })

  expect(functions.find(({ name }) => name === POLLER)).toEqual({
    name: POLLER,
    handler: 'functions/orders/poller.handler',
    codeFolder: join(folder, 'OrdersPollerLambdaFunction'),
    timeoutMs: 55_000,
    memoryMb: 512,
    maxRetryAttempts: 0,
    maxEventAgeMs: 60_000,
    environment: {
      NODE_OPTIONS: '--enable-source-maps',
      ORDERS_STREAM: 'orders',
      POWERTOOLS_SERVICE_NAME: 'millrace-orders-dev',
      REDIS_URL_PARAMETER: '/millrace/dev/orders/poller-redis-url',
      REDIS_URL: 'redis://127.0.0.1:1',
    },
  })
  expect(schedules.map(({ functionName, expression }) => [functionName, expression])).toEqual(
    expect.arrayContaining([
      [POLLER, 'rate(1 minute)'],
      [CLAIMER, 'rate(1 minute)'],
    ]),
  )
  expect(new Set(schedules.map(({ functionName }) => functionName))).toEqual(
    new Set(functions.flatMap(({ name }) => (name.endsWith('Read') ? [] : [name]))),
  )
  expect(skipped).toEqual([])
})

test('the packaged functions run on the local Lambda, woken by their schedules', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const { functions, schedules } = await unpack({ REDIS_URL: redis.url })
  const ofOrders = [POLLER, CLAIMER]
  const lambda = await startLambda({
    functions: functions.filter(({ name }) => ofOrders.includes(name)),
    schedules: schedules.filter(({ functionName }) => ofOrders.includes(functionName)),
  })

  lambda.tick()
  await lambda.idle()

  expect(lambda.reports.map(({ functionName }) => functionName).sort()).toEqual([CLAIMER, POLLER])
  expect(lambda.reports.filter(({ functionError }) => functionError)).toEqual([])
  expect(JSON.parse(lambda.reports[0]?.payload ?? '')).toMatchObject({
    consumers: [{ stream: 'orders', group: 'billing' }],
  })
})

test("functions find the AWS SDK without bundling it, as in Lambda's runtime", async () => {
  const lambda = await startLambda(await unpack({ AWS_ENDPOINT_URL_SSM: 'http://127.0.0.1:1', AWS_MAX_ATTEMPTS: '1' }))

  const { payload } = await lambda.invoke(POLLER)

  expect((payload as { errorMessage: string }).errorMessage).toMatch(/^Cannot read REDIS_URL_PARAMETER .*ECONNREFUSED/)
})

test('a template without its zip files is refused', async () => {
  const lone = join(folder, 'lone.json')
  await writeFile(lone, JSON.stringify(packaged.template))

  await expect(unpackService(lone, { folder })).rejects.toThrow(
    `Cannot unpack function ${POLLER}: there is no ordersPoller.zip beside the template`,
  )
})

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

const NAMES = [
  'REDIS_URL',
  'REDIS_URL_PARAMETER',
  'ORDERS_STREAM',
  'ALERTS_TOPIC_ARN',
  'PARTNERS_URL',
  'CHECKOUT_TIMEOUT_MS',
  'WEBHOOKS_TIMEOUT_MS',
  'WEBHOOKS_ALLOWED',
]
const SECRET = 'rediss://:hunter2@redis.example:6380'

beforeEach(() => {
  vi.resetModules()
  for (const name of NAMES) vi.stubEnv(name, undefined)
})

afterEach(() => {
  vi.unstubAllEnvs()
  vi.doUnmock('@aws-sdk/client-ssm')
})

describe('ORDERS_STREAM', () => {
  test('is "orders" unless it is set', async () => {
    expect((await loadEnv({ REDIS_URL: SECRET })).ordersStream).toBe('orders')
  })

  test('names the stream', async () => {
    expect((await loadEnv({ REDIS_URL: SECRET, ORDERS_STREAM: 'shop:orders' })).ordersStream).toBe('shop:orders')
  })

  test.each(['', ' '])('must not be blank, as %j is', async (ORDERS_STREAM) => {
    await expect(loadEnv({ REDIS_URL: SECRET, ORDERS_STREAM })).rejects.toThrow(
      `Cannot read the environment: ORDERS_STREAM must name a stream, got ${JSON.stringify(ORDERS_STREAM)}`,
    )
  })
})

describe('ALERTS_TOPIC_ARN', () => {
  const ARN = 'arn:aws:sns:eu-central-1:123456789012:shop-alerts'

  test('is asked for by functions that send alerts, but for local runs', async () => {
    expect((await loadEnv({ REDIS_URL: SECRET, ALERTS_TOPIC_ARN: ARN })).alertsTopicArn()).toBe(ARN)
    vi.resetModules()
    vi.stubEnv('ALERTS_TOPIC_ARN', undefined)
    expect((await loadEnv({ REDIS_URL: SECRET })).alertsTopicArn()).toBeUndefined()
    vi.resetModules()
    vi.stubEnv('REDIS_URL', undefined)
    expect((await loadEnv({ REDIS_URL_PARAMETER: '/shop/redis-url' })).alertsTopicArn).toThrow(
      'Cannot read the environment: ALERTS_TOPIC_ARN must be set',
    )
  })

  test('must be the ARN of a topic', async () => {
    await expect(loadEnv({ REDIS_URL: SECRET, ALERTS_TOPIC_ARN: 'shop-alerts' })).rejects.toThrow(
      'ALERTS_TOPIC_ARN must be the ARN of an SNS topic, got "shop-alerts"',
    )
  })
})

describe('WEBHOOKS_TIMEOUT_MS and WEBHOOKS_ALLOWED', () => {
  test('are 15 seconds, and no address, unless they are set', async () => {
    expect(await loadEnv({ REDIS_URL: SECRET })).toMatchObject({
      webhooksTimeoutMs: 15_000,
      webhooksAllowed: new Set(),
    })
    vi.resetModules()
    const env = await loadEnv({ REDIS_URL: SECRET, WEBHOOKS_TIMEOUT_MS: '300', WEBHOOKS_ALLOWED: '127.0.0.1,::1' })
    expect(env).toMatchObject({ webhooksTimeoutMs: 300, webhooksAllowed: new Set(['127.0.0.1', '::1']) })
  })

  test.each([
    ['WEBHOOKS_TIMEOUT_MS', '99'],
    ['WEBHOOKS_TIMEOUT_MS', '35001'],
    ['WEBHOOKS_TIMEOUT_MS', '1e3'],
    ['WEBHOOKS_ALLOWED', 'localhost'],
    ['WEBHOOKS_ALLOWED', '10.0.0.0/8'],
    ['WEBHOOKS_ALLOWED', '127.0.0.1, ::1'],
  ])('refuse %s=%s', async (name, value) => {
    await expect(loadEnv({ REDIS_URL: SECRET, [name]: value })).rejects.toThrow(`${name} must be `)
  })
})

describe('PARTNERS_URL', () => {
  test('says where the partners are; without it, nobody is asked', async () => {
    expect((await loadEnv({ REDIS_URL: SECRET })).partnersUrl).toBeUndefined()
    vi.resetModules()
    expect((await loadEnv({ REDIS_URL: SECRET, PARTNERS_URL: '' })).partnersUrl).toBeFalsy()
  })

  test.each(['https://a.example', 'https://a.example/', 'http://a.example/v1', 'http://a.example/v1//'])(
    'is what a request is resolved against: %s',
    async (url) => {
      const { partnersUrl = '' } = await loadEnv({ REDIS_URL: SECRET, PARTNERS_URL: url })

      expect(new URL('charges', partnersUrl).href).toBe(`${url.replace(/\/+$/, '')}/charges`)
    },
  )

  test.each(['partners', 'redis://a.example', 'https://a.example?key=1', 'http://['])(
    'must be an HTTP URL: %s',
    async (url) => {
      await expect(loadEnv({ REDIS_URL: SECRET, PARTNERS_URL: url })).rejects.toThrow('PARTNERS_URL must be an http://')
    },
  )
})

describe('WAREHOUSE_URL', () => {
  test('is what a request is resolved against', async () => {
    const { warehouseUrl } = await loadEnv({ REDIS_URL: SECRET, WAREHOUSE_URL: 'https://a.example/v1' })

    expect(new URL('rows', warehouseUrl()).href).toBe('https://a.example/v1/rows')
  })

  test('must be an HTTP URL', async () => {
    const { warehouseUrl } = await loadEnv({ REDIS_URL: SECRET, WAREHOUSE_URL: 'warehouse' })

    expect(() => warehouseUrl()).toThrow('WAREHOUSE_URL must be an http:// or https:// URL')
  })
})

describe('EVENT_BUS_NAME and AUDIT_BUCKET', () => {
  test('may be left out of local runs', async () => {
    const local = await loadEnv({ REDIS_URL: SECRET, EVENT_BUS_NAME: '' })

    expect([local.eventBusName(), local.auditBucket()]).toEqual([undefined, undefined])
  })

  test('may not be left out of any other', async () => {
    const deployed = await loadEnv({ REDIS_URL_PARAMETER: '/shop/redis-url', AUDIT_BUCKET: 'records' })

    expect(deployed.auditBucket()).toBe('records')
    expect(() => deployed.eventBusName()).toThrow('EVENT_BUS_NAME must be set')
  })
})

describe('CHECKOUT_TIMEOUT_MS', () => {
  test('is 15 minutes unless it is set', async () => {
    expect((await loadEnv({ REDIS_URL: SECRET })).checkoutTimeoutMs).toBe(900_000)
  })

  test.each(['', '99', '1e5', '-100'])('must be milliseconds, as %j is not', async (CHECKOUT_TIMEOUT_MS) => {
    await expect(loadEnv({ REDIS_URL: SECRET, CHECKOUT_TIMEOUT_MS })).rejects.toThrow(
      'CHECKOUT_TIMEOUT_MS must be 100 or more milliseconds',
    )
  })
})

describe('REDIS_URL', () => {
  test('is used as it is, without loading the SSM client', async () => {
    vi.doMock('@aws-sdk/client-ssm', () => {
      throw new Error('the SSM client was loaded')
    })
    const { redisUrl } = await loadEnv({ REDIS_URL: SECRET, REDIS_URL_PARAMETER: '/shop/redis-url' })

    expect(await redisUrl()).toBe(SECRET)
  })

  test.each(['hunter2', 'https://:hunter2@redis.example'])(
    'must be a Redis URL; %s is not shown',
    async (REDIS_URL) => {
      const error = await loadEnv({ REDIS_URL }).catch((thrown: Error) => thrown)

      expect(error).toEqual(new Error('Cannot read the environment: REDIS_URL must be a redis:// or rediss:// URL'))
    },
  )

  test('or REDIS_URL_PARAMETER must be set', async () => {
    await expect(loadEnv({ REDIS_URL: '' })).rejects.toThrow(
      'Cannot read the environment: REDIS_URL_PARAMETER, or REDIS_URL for local runs, must be set',
    )
  })
})

describe('REDIS_URL_PARAMETER', () => {
  test('must be a name; a URL in its place is not shown', async () => {
    const error = await loadEnv({ REDIS_URL_PARAMETER: SECRET }).catch((thrown: Error) => thrown)

    expect(error).toEqual(
      new Error(
        'Cannot read the environment: REDIS_URL_PARAMETER must be the name of an SSM parameter, as in /shop/redis-url',
      ),
    )
  })

  test.each(['/shop/redis-url', 'redis-url', 'arn:aws:ssm:eu-central-1:123456789012:parameter/shop/redis-url'])(
    'names the parameter that is fetched and decrypted: %s',
    async (name) => {
      await using ssm = await aParameterStore(() => [200, { Parameter: { Value: SECRET } }])
      const { redisUrl } = await loadEnv({ REDIS_URL_PARAMETER: name, ...ssm.environment })

      expect(await redisUrl()).toBe(SECRET)
      expect(ssm.requests).toEqual([{ Name: name, WithDecryption: true }])
    },
  )

  test('is named in the error, with the reason, when the parameter cannot be read', async () => {
    await using ssm = await aParameterStore(() => [400, { __type: 'AccessDeniedException', message: 'not authorized' }])
    const { redisUrl } = await loadEnv({ REDIS_URL_PARAMETER: '/shop/redis-url', ...ssm.environment })

    await expect(redisUrl()).rejects.toThrow(
      'Cannot read REDIS_URL_PARAMETER "/shop/redis-url": AccessDeniedException: not authorized',
    )
  })

  test('is named in the error, without the value, when it holds no Redis URL', async () => {
    await using ssm = await aParameterStore(() => [200, { Parameter: { Value: 'hunter2' } }])
    const { redisUrl } = await loadEnv({ REDIS_URL_PARAMETER: '/shop/redis-url', ...ssm.environment })

    await expect(redisUrl()).rejects.toEqual(
      new Error('Cannot use REDIS_URL_PARAMETER "/shop/redis-url": it must hold a redis:// or rediss:// URL'),
    )
  })

  test('is given up on before the start-up time is over', async () => {
    await using ssm = await aParameterStore(() => undefined)
    const { redisUrl } = await loadEnv({ REDIS_URL_PARAMETER: '/shop/redis-url', ...ssm.environment })
    vi.spyOn(AbortSignal, 'timeout').mockImplementationOnce((ms) => {
      expect(ms).toBe(5_000)
      return AbortSignal.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'))
    })

    await expect(redisUrl()).rejects.toThrow(
      'Cannot read REDIS_URL_PARAMETER "/shop/redis-url": no answer within 5000 ms; a function in a VPC needs an endpoint for SSM',
    )
  })
})

async function loadEnv(environment: Readonly<Record<string, string>>) {
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  return import('../../functions/shared/env.ts')
}

/** A parameter store on loopback: what `answer` gives is its status and body; nothing, and it never answers. */
async function aParameterStore(answer: () => [status: number, body: unknown] | undefined) {
  const requests: unknown[] = []
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests.push(JSON.parse(Buffer.concat(await request.toArray()).toString()))
    const answered = answer()
    if (!answered) return
    response.writeHead(answered[0], { 'content-type': 'application/x-amz-json-1.1' })
    response.end(JSON.stringify(answered[1]))
  }
  const server = createServer((request, response) => void serve(request, response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    requests,
    environment: {
      AWS_ENDPOINT_URL_SSM: `http://127.0.0.1:${port}`,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'nobody',
      AWS_SECRET_ACCESS_KEY: 'nothing',
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

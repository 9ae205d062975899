import { once } from 'node:events'
import type { RequestListener, Server } from 'node:http'
import { createServer, Agent as HttpAgent } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { aBatch, aBatchContext, failuresOf } from '../support/batch.ts'

beforeEach(() => {
  vi.resetModules() // the client is one an environment
  vi.stubEnv('AWS_REGION', 'eu-west-1')
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'anyone')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'anything')
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

/** The function of a fresh environment whose Lambda is this server. */
async function aFunctionAt(url: string) {
  vi.stubEnv('AWS_ENDPOINT_URL_LAMBDA', url)
  const { lambdaFunction } = await import('../../src/calls/lambda-function.ts')
  return lambdaFunction('f')
}

async function startServer(listener: RequestListener): Promise<{ readonly server: Server; readonly url: string }> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** A Lambda whose functions answer null, and how many connections it was asked over. */
async function startAnswering() {
  const { server, url } = await startServer((request, response) => {
    request.resume().on('end', () => response.end('null'))
  })
  let connections = 0
  server.on('connection', () => connections++)
  return { url, server, connections: () => connections }
}

describe('a call of lambdaFunction()', () => {
  test('goes over the connections of its own invocation, never over older ones', async () => {
    const { url, connections } = await startAnswering()
    const call = await aFunctionAt(url)
    const counts: number[] = []
    for (const awsRequestId of ['first', 'first', 'second', 'second']) {
      await call(aBatch(1), aBatchContext({ awsRequestId }))
      counts.push(connections())
    }
    expect(counts).toEqual([1, 1, 2, 2])
  })

  test('is not sent again after its connection is lost, since the function may have run', async () => {
    let requests = 0
    const { url } = await startServer((request) => {
      requests++
      request.resume().on('end', () => request.socket.destroy())
    })
    const failures = failuresOf(await (await aFunctionAt(url))(aBatch(2), aBatchContext()))

    expect(failures).toMatchObject(
      [1, 2].map((n) => [n, { code: 'ERR_FUNCTION_FAILED', message: expect.stringContaining('whether it ran') }]),
    )
    expect(requests).toBe(1)
  })

  test('has failed if what came back makes no sense: it was sent', async () => {
    const { url } = await startServer((request) => {
      request.resume().on('end', () => request.socket.end('not HTTP\r\n\r\n'))
    })
    const failures = failuresOf(await (await aFunctionAt(url))(aBatch(1), aBatchContext()))

    expect(failures).toMatchObject([
      [1, { code: 'ERR_FUNCTION_FAILED', message: expect.stringContaining('Parse Error') }],
    ])
  })

  test.each([429, 500, 503])('is not made again if Lambda answers %d', async (status) => {
    let requests = 0
    const { url } = await startServer((request, response) => {
      requests++
      request.resume().on('end', () => response.writeHead(status).end('{}'))
    })
    const failures = failuresOf(await (await aFunctionAt(url))(aBatch(1), aBatchContext()))

    expect([failures, requests]).toMatchObject([[[1, { code: 'ERR_UNAVAILABLE', isLasting: false }]], 1])
  })

  test('has begun nothing where nobody listens', async () => {
    const { url, server } = await startAnswering()
    server.close()
    const failures = failuresOf(await (await aFunctionAt(url))(aBatch(1), aBatchContext()))

    expect(failures).toMatchObject([
      [1, { code: 'ERR_UNAVAILABLE', isLasting: false, message: expect.stringContaining('ECONNREFUSED') }],
    ])
  })

  test('has begun nothing where no connection is answered', async () => {
    const connecting = () => new Socket().connect({ host: 'nowhere', port: 9, lookup: () => {} })
    vi.spyOn(HttpAgent.prototype, 'createConnection').mockImplementation(connecting)
    const timers = vi.spyOn(globalThis, 'setTimeout')
    const call = await aFunctionAt('http://127.0.0.1:9')
    const answer = call(aBatch(1), aBatchContext())
    const [giveUp] = await vi.waitUntil(() => timers.mock.calls.find(([, ms]) => ms === 3_100))
    ;(giveUp as () => void)()

    expect(failuresOf(await answer)).toMatchObject([
      [1, { code: 'ERR_UNAVAILABLE', isLasting: false, message: expect.stringContaining('no connection within') }],
    ])
  })

  test('leaves no timer of its connection', async () => {
    const { url } = await startAnswering()
    const call = await aFunctionAt(url)
    const started = vi.spyOn(globalThis, 'setTimeout')
    const stopped = vi.spyOn(globalThis, 'clearTimeout')
    await call(aBatch(1), aBatchContext())

    const own = started.mock.results.filter((_, n) => started.mock.calls[n]?.[1] === 3_100).map(({ value }) => value)
    const cleared = stopped.mock.calls.map(([timer]) => timer)
    expect([own.length, own.every((timer) => cleared.includes(timer))]).toEqual([1, true])
  })

  test('says what is missing where there are no credentials: nothing was sent', async () => {
    const { url, connections } = await startAnswering()
    vi.stubEnv('AWS_ACCESS_KEY_ID', undefined)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', undefined)
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
    vi.stubEnv('AWS_CONFIG_FILE', '/dev/null')
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null')
    const failures = failuresOf(await (await aFunctionAt(url))(aBatch(1), aBatchContext()))

    expect([failures, connections()]).toMatchObject([
      [[1, { code: 'ERR_UNAVAILABLE', isLasting: true, message: expect.stringContaining('CredentialsProviderError') }]],
      0,
    ])
  })
})

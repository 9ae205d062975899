import { once } from 'node:events'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'

/** Nothing is sent but what a test sends. */
const quiet = { enableReadyCheck: false, disableClientInfo: true, protocol: 2 } as const

let server: PrivateRedis
let proxy: FaultProxy
/** Straight to the server. */
let direct: Redis
/** Through the proxy; it gives up at once and connects anew for the next command. */
let client: Redis

beforeAll(async () => {
  server = await startRedisServer()
  direct = new Redis(server.url)
})

beforeEach(async () => {
  await direct.flushall()
  proxy = await startFaultProxy(server)
  client = new Redis(proxy.url, { ...quiet, maxRetriesPerRequest: 0 })
  client.on('error', () => {})
  await once(client, 'ready')
})

afterEach(async () => {
  client.disconnect()
  await proxy.close()
})

afterAll(async () => {
  direct.disconnect()
  await server.stop()
})

test('cutBefore() severs the connection before the server sees the command, once', async () => {
  const cut = proxy.cutBefore('RPUSH')
  await expect(client.rpush('list', 'a')).rejects.toThrow()
  await cut
  expect(await direct.llen('list')).toBe(0)
  await client.rpush('list', 'b')
  expect(await direct.lrange('list', 0, -1)).toEqual(['b'])
})

test('cutAfter() severs the connection once the server has run the command', async () => {
  const cut = proxy.cutAfter('rpush')
  await expect(client.rpush('list', 'a')).rejects.toThrow()
  await cut
  expect(await direct.lrange('list', 0, -1)).toEqual(['a'])
})

test('a trap lets requests without its text through', async () => {
  void proxy.cutBefore('del')
  expect(await client.rpush('list', 'a')).toBe(1)
  expect(proxy).toMatchObject({ connections: 1, requests: 1 })
})

test('pauseOn() holds a command back until it is released, and what follows it', async () => {
  const paused = proxy.pauseOn('rpush')
  const replies = Promise.all([client.rpush('list', 'a'), client.llen('list')])
  const held = await paused
  expect(await direct.llen('list')).toBe(0)
  held.release()
  expect(await replies).toEqual([1, 1])
})

test('stall() lets nothing through until resume(), on new connections too', async () => {
  proxy.stall()
  const late = client.rpush('list', 'a')
  const other = new Redis(proxy.url, { ...quiet, commandTimeout: 50 })
  await expect(other.ping()).rejects.toThrow('Command timed out')
  other.disconnect()
  expect(await direct.llen('list')).toBe(0)
  proxy.resume()
  expect(await late).toBe(1)
})

test('freezeLinks() lets nothing through any more on what is connected, and what connects later works', async () => {
  proxy.freezeLinks()
  const lost = client.rpush('list', 'a').catch(() => 'lost')
  const other = new Redis(proxy.url, quiet)
  expect(await other.rpush('list', 'b')).toBe(1)
  other.disconnect()
  proxy.severAll()
  expect([await lost, await direct.lrange('list', 0, -1)]).toEqual(['lost', ['b']])
})

test('latencyMs delays each request, and several at once', async () => {
  proxy.latencyMs = 100
  const startedAt = performance.now()
  const replies = []
  for (let n = 0; n < 10; n += 1) {
    replies.push(client.incr('n'))
    await new Promise(setImmediate)
  }
  expect(await Promise.all(replies)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  const tookMs = performance.now() - startedAt
  expect(tookMs).toBeGreaterThan(95)
  expect(tookMs).toBeLessThan(10 * 100)
})

test('a request larger than what may wait arrives whole', async () => {
  const value = 'x'.repeat(5 * 1024 * 1024)
  proxy.latencyMs = 1
  await client.set('big', value)
  expect(await client.strlen('big')).toBe(value.length)
  expect(await client.get('big')).toBe(value)
})

test('severAll() closes every connection and close() leaves nobody connected', async () => {
  proxy.severAll()
  await once(client, 'ready')
  expect(proxy.connections).toBe(2)
  client.disconnect()
  await proxy.close()
  await expect.poll(() => direct.info('clients')).toContain('connected_clients:1\r\n')
})

test('a server that is down shows as a closed connection', async () => {
  const gone = await startFaultProxy({ host: '127.0.0.1', port: 1 })
  const lost = new Redis(gone.url, { maxRetriesPerRequest: 0, retryStrategy: () => null })
  lost.on('error', () => {})
  await expect(lost.ping()).rejects.toThrow()
  await gone.close()
})

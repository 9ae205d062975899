import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { type Authority, makeAuthority } from '../support/authority.ts'
import { claimOnce } from '../support/claim-once.ts'
import { billing, OrderPaid } from '../support/consumer.ts'

let authority: Authority
let server: PrivateRedis
let port: number

beforeAll(async () => {
  authority = await makeAuthority()
  port = await freePort()
  const file = (name: string) => join(authority.dir, name)
  const args = ['--tls-port', `${port}`, '--tls-cert-file', file('server.pem'), '--tls-key-file', file('server.key')]
  server = await startRedisServer({
    args: [...args, '--tls-ca-cert-file', file('ca.pem'), '--tls-auth-clients', 'yes'],
  })
})
afterAll(() => Promise.all([server.stop(), rm(authority.dir, { recursive: true })]))

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port: free } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return free
}

type Tls = Readonly<Record<'ca' | 'cert' | 'key', Buffer>>

const KINDS: Readonly<Record<string, (tls: Tls) => Connection>> = {
  'a URL': (tls) => connectIoredis(`rediss://127.0.0.1:${port}`, { tls }),
  'ioredis 6 over RESP3': (tls) =>
    connectIoredis(() => new Redis({ host: '127.0.0.1', port, tls, protocol: 3, replyMapping: 'resp3' })),
  'ioredis 5': (tls) => connectIoredis(() => new Redis5({ host: '127.0.0.1', port, tls }) as never),
}

test.each(Object.keys(KINDS))('the server’s own TLS, with a client’s certificate, over %s', async (kind) => {
  const { ca, clientCert: cert, clientKey: key } = authority
  const redis = KINDS[kind]?.({ ca, cert, key }) as Connection
  onTestFinished(() => redis.close())
  const consumer = billing((event: { payload: { orderId: string } }) => {
    if (event.payload.orderId === 'b') throw new Error('not yet')
  })
  await createPublisher({ stream: 'orders', redis }).publishMany([
    [OrderPaid, { orderId: 'a' }],
    [OrderPaid, { orderId: 'b' }],
  ])

  const [polled, claimed] = [await poll(consumer, { redis }), await claimOnce(consumer, { redis })]

  expect([polled.acked, polled.retried, claimed.unsettled]).toEqual([1, 1, 0])
})

import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectIoredis } from '../../../src/clients/ioredis.ts'
import type { Connection } from '../../../src/group/connection.ts'
import { type PrivateRedis, startRedisServer } from '../../../tools/redis-server.ts'
import { anAddress, aSlot, describeGroup } from '../group.contract.ts'
import { describeServer, openRedis } from './redis-outside.ts'

const clients: readonly [name: string, connect: (url: string) => Connection][] = [
  ['ioredis 6', (url) => connectIoredis(url)],
  ['ioredis 5', (url) => connectIoredis(() => new Redis5(url, { commandTimeout: 5_000 }))],
  [
    'ioredis 6 over RESP3',
    (url) => connectIoredis(() => new Redis(url, { protocol: 3, replyMapping: 'resp3', commandTimeout: 5_000 })),
  ],
]

/** The server that every test runs on, and those that MILLRACE_REDIS_BINARIES lists: other versions, or Valkey. */
const programs = ['', ...(process.env.MILLRACE_REDIS_BINARIES ?? '').split(/[:,\s]+/).filter(Boolean)]
const settings = programs.flatMap((program) => clients.map(([name, connect]) => ({ program, name, connect })))

describe.each(settings)('$program $name', ({ program, name, connect }) => {
  let server: PrivateRedis
  beforeAll(async () => {
    server = await startRedisServer({ program: program || undefined })
  })
  afterAll(() => server.stop())
  const open = () => openRedis(server.url, () => connect(server.url))

  describeGroup(`the group on Redis, over ${name}`, open)
  describeServer('on a server', open)

  test('fields are bytes as they were written', async () => {
    const outside = await open()
    const fields = [Buffer.from([0xff, 0x00, 0xfe]), Buffer.from([0xc3, 0x28]), Buffer.alloc(0), Buffer.from('a')]
    await outside.raw.xadd(anAddress().stream, '*', ...fields, ...fields)
    const group = outside.connect().group(anAddress())
    const { entries } = await group.settleAndRead(await aSlot(group), [], { count: 1 })
    expect(entries[0]?.fields.flat()).toEqual([...fields, ...fields])
    await outside.close()
  })
})

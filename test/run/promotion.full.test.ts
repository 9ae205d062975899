import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createPublisher, defineEvent } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const run = promisify(execFile)
const ENTRIES = 40_000
const CHUNK = 2_000
const DRAINS = 3
/** As large from the start as it grows to be: what is promoted is then what something keeps alive. */
const YOUNG_MB = 8

let server: PrivateRedis

beforeAll(async () => {
  server = await startRedisServer()
  const redis = connectIoredis(server.url)
  const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })
  const publisher = createPublisher({ stream: 'orders', redis })
  for (let n = 0; n < ENTRIES; n += CHUNK)
    await publisher.publishMany(Array.from({ length: CHUNK }, () => [Paid, { orderId: 'o-1' }] as const))
  await redis.close()
}, 60_000)

afterAll(() => server.stop())

test.each([
  ['a function literal assigned to a member of each call', 'with-literal.ts'],
  ['a Set of the calls under way', 'with-set.ts'],
])(
  'a drain lets V8 promote at most half of what it promotes with %s',
  async (_mistake, file) => {
    expect(await leastPromotedBytes()).toBeLessThanOrEqual((await leastPromotedBytes(file)) / 2)
  },
  60_000,
)

/** Of a few drains: on a busy machine more is under way at a time, and V8 promotes what is under way. */
async function leastPromotedBytes(mistake?: string): Promise<number> {
  const drains: number[] = []
  for (let n = 0; n < DRAINS; n++) drains.push(await promotedBytes(mistake))
  return Math.min(...drains)
}

/** Bytes that V8 promotes to old space while all entries are drained. @param mistake A module that puts one back. */
async function promotedBytes(mistake?: string): Promise<number> {
  const here = join(import.meta.dirname, 'promotion')
  const flags = ['--trace-gc-nvp', `--min-semi-space-size=${YOUNG_MB}`, `--max-semi-space-size=${YOUNG_MB}`]
  const imports = mistake === undefined ? [] : ['--import', join(here, mistake)]
  const { stdout } = await run(process.execPath, [...flags, ...imports, join(here, 'drain.ts'), server.url], {
    maxBuffer: 64 * 1_048_576,
  })
  expect(stdout).toContain(`acked=${ENTRIES}`)
  const promoted = [...stdout.matchAll(/\bpromoted=(\d+)/g)].map(([, bytes]) => Number(bytes))
  expect(promoted.length).toBeGreaterThan(0)
  return promoted.reduce((sum, bytes) => sum + bytes, 0)
}

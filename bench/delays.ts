import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { createPublisher, defineEvent, promoteDelays } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import { startRedisServer } from '../tools/redis-server.ts'

const USAGE = `npm run bench:delays -- [--events 1000000] [--payload 200]

Delays events, due at random times of a year, and promotes them all. Prints how many a second that were, and what a delayed event takes on the server beyond the bytes of its
payload; fails above 200 of these.`

/** What a delayed event may take beside its payload. */
const MOST_BYTES = 200
const PER_CALL = 1_000
const DAY_MS = 86_400_000

/** Makes everything due, in its order: events lie on pages at times after their page's. */
const DUE = `
for _, page in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZINCRBY', KEYS[1], -${366 * DAY_MS}, page) end
`

const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1000000' },
    payload: { type: 'string', default: '200' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else process.exitCode = (await measure(Number(values.events), Number(values.payload))) > MOST_BYTES ? 1 : 0

/** @returns Bytes beyond its payload that a delayed event takes. */
async function measure(events: number, payloadBytes: number): Promise<number> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  let entryBytes = 0
  const observe = {
    published({ bytes }: { readonly bytes: readonly number[] }) {
      entryBytes += sum(bytes)
    },
  }
  const publisher = createPublisher({ stream: 'orders', redis, observe, maxLength: Infinity })
  const payload = { orderId: 'x'.repeat(payloadBytes - '{"orderId":""}'.length) }
  try {
    await publisher.publish(Reminder, payload, { eventId: 'first', delayMs: DAY_MS })
    await publisher.cancel('first')
    entryBytes = 0
    const before = await usedMemory(raw)
    const delaying = await seconds(async () => {
      for (let n = 0; n < events; n += PER_CALL)
        await publisher.publishMany(
          Array.from({ length: Math.min(PER_CALL, events - n) }, () => {
            const delayMs = Math.floor(Math.random() * 365 * DAY_MS)
            return [Reminder, payload, { delayMs }] as const
          }),
        )
    })
    const bytes = ((await usedMemory(raw)) - before) / events - payloadBytes
    console.log(
      `redis ${/redis_version:(\S+)/.exec(await raw.info('server'))?.[1]}, ${events} events of ${entryBytes / events} bytes`,
    )
    console.log(`delayed    ${Math.round(events / delaying)} a second`)
    console.log(`memory     ${bytes.toFixed(1)} bytes a delayed event beyond its payload`)
    await raw.eval(DUE, 1, '{orders}:delayed')
    const promoting = await seconds(() => promoteAll(redis))
    console.log(`promoted   ${Math.round(events / promoting)} a second; ${await raw.xlen('orders')} entries`)
    return bytes
  } finally {
    await redis.close()
    raw.disconnect()
    await server.stop()
  }
}

async function promoteAll(redis: ReturnType<typeof connectIoredis>): Promise<void> {
  const promoter = promoteDelays()
  for (let left = true; left; ) {
    const { nextDueAt = Infinity, nowMs, refusals } = await promoter.promote({ redis, stream: 'orders' })
    if (refusals[0]) throw refusals[0]
    left = nextDueAt <= nowMs
  }
}

async function usedMemory(raw: Redis): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1_000
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

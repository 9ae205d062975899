import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import type { Consumer, ConsumerOptions } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  createPublisher,
  defineConsumer,
  defineEvent,
  on,
  poll,
  rateLimit,
} from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import { startRedisServer } from '../tools/redis-server.ts'
import { median } from './median.ts'
import { commandsRun, micros, serverMicros, usedMemory } from './server-cost.ts'

const USAGE = `npm run bench:flow -- [--entries 5000] [--rounds 5] [--keys 100000]

Drains a stream by a plain consumer, and by ones with circuitBreaker, concurrencyLimit and rateLimit, in turn, and prints what an event takes of each: commands, the server's time, and
time by the clock. Then what so many names of a rate limit take of memory, and what is left of it once they are idle; and how many of the turns of a limit of 200 a second one poller uses.`

const PER_CALL = 1_000
const RATE = { max: 200, perMs: 1_000 }
const RATED = 1_000
const IDLE_MS = 3_000

const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })

const KINDS: Readonly<Record<string, ConsumerOptions['use']>> = {
  plain: [],
  circuitBreaker: [circuitBreaker({ failures: 10, perMs: 60_000, probeAfterMs: 10_000 })],
  concurrencyLimit: [concurrencyLimit({ max: 10 })],
  rateLimit: [rateLimit({ max: 1_000_000, perMs: 1_000 })],
}

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '5' },
    keys: { type: 'string', default: '100000' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else await measure(Number(values.entries), Number(values.rounds), Number(values.keys))

function consumerWith(use: ConsumerOptions['use'], handle: () => void = () => {}): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, handle)],
    use: use ?? [],
    maxParked: 1e7,
  })
}

async function measure(entries: number, rounds: number, keys: number): Promise<void> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  const publisher = createPublisher({ stream: 'orders', redis, maxLength: Infinity })
  const publish = async (count: number) => {
    for (let n = 0; n < count; n += PER_CALL)
      await publisher.publishMany(
        Array.from({ length: Math.min(PER_CALL, count - n) }, (_, m) => [Paid, { orderId: `o-${n + m}` }] as const),
      )
  }
  const drain = (consumer: Consumer) => poll(consumer, { redis, remainingMs: 600_000 })
  const costs = new Map<string, number[][]>(Object.keys(KINDS).map((kind) => [kind, []]))
  try {
    // the first warms up
    for (let round = -1; round < rounds; round++)
      for (const [kind, use] of Object.entries(KINDS)) {
        await raw.flushall()
        await publish(entries)
        await raw.config('RESETSTAT')
        const before = await serverMicros(raw)
        const clock = await micros(entries, async () => {
          const { acked, parked } = await drain(consumerWith(use))
          if (acked + parked < entries) throw new Error(`acked ${acked} of ${entries}`)
        })
        const ofServer = ((await serverMicros(raw)) - before) / entries
        if (round >= 0) costs.get(kind)?.push([(await commandsRun(raw)) / entries, ofServer, clock])
      }
    for (const [kind, all] of costs) {
      const [commands, ofServer, clock] = [0, 1, 2].map((n) =>
        median(all.map((cost) => cost[n] as number)).toFixed(n === 0 ? 2 : 1),
      )
      console.log(`${kind.padEnd(16)} ${commands} commands, ${ofServer} µs of the server, ${clock} µs by the clock`)
    }
    await measureKeys(raw, keys, async () => {
      await publish(keys)
      const by = ({ payload }: { payload: unknown }) => (payload as { orderId: string }).orderId
      await drain(consumerWith([rateLimit({ max: 1, perMs: 1_000, by })]))
    })
    await raw.flushall()
    await publish(RATED)
    const at: number[] = []
    await drain(consumerWith([rateLimit(RATE)], () => void at.push(performance.now())))
    const peak = Math.max(...at.map((from) => at.filter((time) => time >= from && time < from + RATE.perMs).length))
    const share = (at.length - 1) / ((((at.at(-1) as number) - (at[0] as number)) / RATE.perMs) * RATE.max)
    console.log(`${RATED} at ${RATE.max} a second: ${share.toFixed(3)} of max, at most ${peak} in a second`)
  } finally {
    await redis.close()
    raw.disconnect()
    await server.stop()
  }
}

/** Of all keys of the rate limit together, while they are there, and once they are idle. */
async function measureKeys(raw: Redis, keys: number, drain: () => Promise<void>): Promise<void> {
  await raw.flushall()
  const before = await usedMemory(raw)
  let most = 0
  const look = async () => {
    most = Math.max(most, await raw.dbsize().catch(() => 0))
  }
  const watching = setInterval(() => void look(), 200)
  await drain()
  clearInterval(watching)
  const [sample] = await raw.keys('*:rate:*')
  const bytes = sample === undefined ? 0 : Number(await raw.memory('USAGE', sample))
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
  const left = (await raw.keys('*:rate:*')).length
  await raw.del('orders')
  const rest = (await usedMemory(raw)) - before
  console.log(
    `${keys} names: at most ${most} keys at once, ${bytes} bytes each, ${left} left when idle, ${rest} bytes beside the stream`,
  )
}

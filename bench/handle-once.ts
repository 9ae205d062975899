import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { createPublisher, defineConsumer, defineEvent, effects, idempotent, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import { startRedisServer } from '../tools/redis-server.ts'
import { median } from './median.ts'
import { commandsRun, micros, serverMicros, usedMemory } from './server-cost.ts'

const USAGE = `npm run bench:handle-once -- [--entries 20000] [--rounds 7]

Drains a stream by a plain consumer, by ones with idempotent, with an effect, and with both, in turn, and prints what an event takes of each: commands, the server's time, time by the
clock, and bytes that stay.`

const PER_CALL = 1_000
const DAY_MS = 86_400_000

const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })
const payload = { orderId: 'x'.repeat(186) }
const plain = on(Paid, () => {})
const counted = on(Paid, (_event, context) => void effects(context).increment('{orders}:paid'))
const use = [idempotent({ ttlMs: DAY_MS })]

const KINDS = {
  plain: { routes: [plain] },
  idempotent: { routes: [plain], use },
  effects: { routes: [counted] },
  both: { routes: [counted], use },
}

/** What an event takes, in microseconds and bytes. */
interface Cost {
  readonly commands: number
  readonly server: number
  readonly clock: number
  readonly bytes: number
}

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '7' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else await compare(Number(values.entries), Number(values.rounds))

async function compare(entries: number, rounds: number): Promise<void> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  const costs = new Map<string, Cost[]>(Object.keys(KINDS).map((kind) => [kind, []]))
  const publisher = createPublisher({ stream: 'orders', redis, maxLength: Infinity })
  try {
    // the first warms up
    for (let round = -1; round < rounds; round++)
      for (const [kind, how] of Object.entries(KINDS)) {
        await raw.flushall()
        for (let n = 0; n < entries; n += PER_CALL)
          await publisher.publishMany(Array.from({ length: PER_CALL }, () => [Paid, payload] as const))
        const consumer = defineConsumer({ stream: 'orders', group: 'billing', ...how })
        const drain = async () => {
          const { acked } = await poll(consumer, { redis, remainingMs: 600_000 })
          if (acked !== entries) throw new Error(`acked ${acked} of ${entries}`)
        }
        const cost = await costOf(raw, entries, drain)
        if (round >= 0) costs.get(kind)?.push(cost)
      }
    for (const [kind, all] of costs) {
      const of = (name: keyof Cost) => median(all.map((cost) => cost[name])).toFixed(1)
      console.log(
        `${kind.padEnd(10)} ${of('commands')} commands, ${of('server')} µs of the server, ${of('clock')} µs by the clock, ${of('bytes')} bytes`,
      )
    }
  } finally {
    await redis.close()
    raw.disconnect()
    await server.stop()
  }
}

async function costOf(raw: Redis, entries: number, drain: () => Promise<void>): Promise<Cost> {
  const bytes = await usedMemory(raw)
  await raw.config('RESETSTAT')
  const before = await serverMicros(raw)
  const clock = await micros(entries, drain)
  const server = ((await serverMicros(raw)) - before) / entries
  return {
    clock,
    server,
    commands: (await commandsRun(raw)) / entries,
    bytes: ((await usedMemory(raw)) - bytes) / entries,
  }
}

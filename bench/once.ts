import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { createPublisher, defineEvent, type Publisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import { startRedisServer } from '../tools/redis-server.ts'
import { median } from './median.ts'
import { commandsRun, micros, serverMicros, usedMemory } from './server-cost.ts'

const USAGE = `npm run bench:once -- [--ids 1000000] [--rounds 11]

Publishes events with deduplicateMs beside plain ones, in turn, and prints what each takes: commands, the server's time, time of a request and events a second. Then publishes so
many ids, and prints the bytes of each beyond its entry; fails above 300.`

const MOST_BYTES = 300
const PER_CALL = 1_000
const ONE_BY_ONE = 1_000
const MANY = 20_000
const HOUR_MS = 3_600_000

const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })
const payload = { orderId: 'x'.repeat(186) }

const { values } = parseArgs({
  options: {
    ids: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '11' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else process.exitCode = (await measure(Number(values.ids), Number(values.rounds))) > MOST_BYTES ? 1 : 0

/** @returns Bytes that an id takes. */
async function measure(ids: number, rounds: number): Promise<number> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  // the stream stays as long as it is: what grows is markers
  const options = { stream: 'orders', redis, maxLength: PER_CALL, exactTrimming: true }
  const kinds = { plain: createPublisher(options), once: createPublisher({ ...options, deduplicateMs: HOUR_MS }) }
  try {
    console.log(`redis ${/redis_version:(\S+)/.exec(await raw.info('server'))?.[1]}, entries of 300 bytes`)
    await compare(raw, kinds, rounds)
    return await weigh(raw, kinds.once, ids)
  } finally {
    await redis.close()
    raw.disconnect()
    await server.stop()
  }
}

/** What an event of each kind takes, in microseconds. */
interface Cost {
  readonly request: number
  readonly many: number
  readonly server: number
  readonly commands: number
}

async function compare(raw: Redis, kinds: Readonly<Record<string, Publisher>>, rounds: number): Promise<void> {
  const costs = new Map<string, Cost[]>(Object.keys(kinds).map((kind) => [kind, []]))
  // the first two warm up
  for (let round = -2; round < rounds; round++)
    for (const [kind, publisher] of Object.entries(kinds)) {
      const cost = await costOf(raw, publisher)
      if (round >= 0) costs.get(kind)?.push(cost)
      await raw.call('FLUSHALL')
    }
  for (const [kind, all] of costs) {
    const of = (name: keyof Cost) => median(all.map((cost) => cost[name])).toFixed(1)
    console.log(
      `${kind.padEnd(6)} ${of('commands')} commands, ${of('server')} µs of the server; ${of('request')} µs a publish(), ${of('many')} µs an event of publishMany()`,
    )
  }
}

async function costOf(raw: Redis, publisher: Publisher): Promise<Cost> {
  const request = await micros(ONE_BY_ONE, async () => {
    for (let n = 0; n < ONE_BY_ONE; n++) await publisher.publish(Paid, payload)
  })
  await raw.config('RESETSTAT')
  const before = await serverMicros(raw)
  const many = await micros(MANY, () => publishIds(publisher, MANY))
  const server = ((await serverMicros(raw)) - before) / MANY
  return { request, many, server, commands: (await commandsRun(raw)) / MANY }
}

async function weigh(raw: Redis, publisher: Publisher, ids: number): Promise<number> {
  await publishIds(publisher, PER_CALL)
  const before = await usedMemory(raw)
  const took = await micros(ids, () => publishIds(publisher, ids))
  const bytes = ((await usedMemory(raw)) - before) / ids
  console.log(
    `memory ${bytes.toFixed(1)} bytes an id, of ${ids}, published at ${Math.round(1_000_000 / took)} a second`,
  )
  return bytes
}

async function publishIds(publisher: Publisher, ids: number): Promise<void> {
  for (let n = 0; n < ids; n += PER_CALL)
    await publisher.publishMany(Array.from({ length: PER_CALL }, () => [Paid, payload] as const))
}

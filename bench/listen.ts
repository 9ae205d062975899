import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { defineConsumer, defineEvent, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { startRedisServer } from '../tools/redis-server.ts'

const USAGE = `Usage: npm run bench:listen -- [--samples N] [--rounds N] [--handovers N]

Microseconds from publishing to a handler's start, p50 and p99: a poller that listens against a bare loop of XREADGROUP BLOCK, in alternating rounds on one private server. Then the same while pollers take over from
each other, an event every 10 ms, against the steady state.`

const Sampled = defineEvent('Sampled', { payload: anything() })

const { values } = parseArgs({
  options: {
    samples: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '10' },
    handovers: { type: 'string', default: '20' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else await main(Number(values.samples), Number(values.rounds), Number(values.handovers))

/** Takes samples while something reads. */
interface Reading {
  /** Called when an event is in the reader's hands. */
  received: () => void
  end(): Promise<unknown>
}

async function main(samples: number, rounds: number, handovers: number): Promise<void> {
  if (![samples, rounds, handovers].every((value) => Number.isInteger(value) && value > 0)) throw new RangeError(USAGE)
  const server = await startRedisServer()
  const publisher = new Redis(server.url)
  try {
    const times = { bare: [] as number[], listening: [] as number[] }
    for (let round = 0; round <= rounds; round++) {
      const isWarmUp = round === 0
      for (const [side, start] of [
        ['bare', bareLoop],
        ['listening', listening],
      ] as const) {
        const group = `${side}-${round}`
        const reading = await start(server.url, group)
        const taken = await sample(publisher, reading, samples)
        await reading.end()
        if (!isWarmUp) times[side].push(...taken)
      }
    }
    print('bare XREADGROUP BLOCK', times.bare)
    print('mode listen', times.listening)
    printRatio(times.listening, times.bare)
    const steady = await paced(publisher, server.url, 'steady', handovers * 100, 600_000)
    const handing = await paced(publisher, server.url, 'handing', handovers * 100, 2_500)
    print('every 10 ms, one poller', steady)
    print(`every 10 ms, ${handovers} hand-overs`, handing)
    printRatio(handing, steady)
  } finally {
    publisher.disconnect()
    await server.stop()
  }
}

/** Publishes one event after the other, each once the one before was received. */
async function sample(publisher: Redis, reading: Reading, samples: number): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < samples; n++) {
    const { promise, resolve } = Promise.withResolvers<void>()
    reading.received = () => {
      times.push(performance.now() - sentAt)
      resolve()
    }
    const sentAt = performance.now()
    void publish(publisher, n)
    await promise
    // the reader waits again by then
    await delay(1)
  }
  return times
}

/** An event every 10 ms, while pollers listen for so long, each started a second before the one before ends. */
async function paced(
  publisher: Redis,
  url: string,
  group: string,
  events: number,
  listenMs: number,
): Promise<number[]> {
  const times: number[] = []
  const redis = connectIoredis(url)
  const sentAt = new Map<number, number>()
  const consumer = quick(group, ({ payload }) => void times.push(performance.now() - (sentAt.get(payload.n) as number)))
  const polls: Promise<unknown>[] = []
  const stop = new AbortController()
  const startPoll = () => polls.push(poll(consumer, { redis, remainingMs: listenMs, signal: stop.signal }))
  startPoll()
  await delay(200)
  const period = listenMs - 1_500
  let next = performance.now() + period
  for (let n = 0; n < events; n++) {
    if (performance.now() > next) {
      startPoll()
      next += period
    }
    sentAt.set(n, performance.now())
    void publish(publisher, n)
    await delay(10)
  }
  await delay(200)
  stop.abort()
  await Promise.all(polls)
  await redis.close()
  if (times.length !== events) throw new Error(`${events} events were published, ${times.length} handled`)
  return times
}

async function bareLoop(url: string, group: string): Promise<Reading> {
  const reader = new Redis(url, { protocol: 2 })
  const other = new Redis(url)
  await other.xgroup('CREATE', 'orders', group, '$', 'MKSTREAM')
  let isOver = false
  const reading: Reading = {
    received: () => {},
    async end() {
      isOver = true
      await looping
      reader.disconnect()
      other.disconnect()
    },
  }
  const loop = async () => {
    while (!isOver) {
      const args = ['GROUP', group, 'c', 'COUNT', 100, 'BLOCK', 1_000, 'STREAMS', 'orders', '>']
      const reply = (await reader.call('XREADGROUP', ...args)) as [string, [string, string[]][]][] | null
      for (const [id, fields] of reply?.[0]?.[1] ?? []) {
        JSON.parse(fields.at(-1) as string)
        reading.received()
        void other.xack('orders', group, id)
      }
    }
  }
  const looping = loop()
  await delay(50)
  return reading
}

async function listening(url: string, group: string): Promise<Reading> {
  const redis = connectIoredis(url)
  const stop = new AbortController()
  const reading: Reading = {
    received: () => {},
    async end() {
      stop.abort()
      await polling
      await redis.close()
    },
  }
  const polling = poll(
    quick(group, () => reading.received()),
    { redis, remainingMs: 600_000, signal: stop.signal },
  )
  await delay(200)
  return reading
}

function quick(group: string, handler: (event: { readonly payload: { readonly n: number } }) => void) {
  const settings = { mode: 'listen', startAt: '$', handlerTimeoutMs: 500, reserveMs: 100, minIdleMs: 10_000 } as const
  return defineConsumer({ stream: 'orders', group, routes: [on(Sampled, handler as never)], ...settings })
}

function publish(publisher: Redis, n: number): Promise<unknown> {
  return publisher.xadd('orders', 'MAXLEN', '~', 10_000, '*', 'eventType', 'Sampled', 'payload', JSON.stringify({ n }))
}

function print(name: string, times: readonly number[]): void {
  const us = (part: number) => Math.round(quantile(times, part) * 1_000)
  console.log(`${name.padEnd(28)} p50 ${us(0.5)} µs, p99 ${us(0.99)} µs, ${times.length} samples`)
}

function printRatio(ours: readonly number[], others: readonly number[]): void {
  const ratio = (part: number) => (quantile(ours, part) / quantile(others, part)).toFixed(2)
  console.log(`${'ratio'.padEnd(28)} p50 ${ratio(0.5)}, p99 ${ratio(0.99)}`)
}

function quantile(times: readonly number[], part: number): number {
  return times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(part * times.length))] as number
}

/** A schema that takes everything. */
function anything() {
  const validate = (value: unknown) => ({ value: value as { n: number } })
  return { '~standard': { version: 1 as const, vendor: 'bench', validate } }
}

import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import type { Consumer, ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import { startRedisServer } from '../tools/redis-server.ts'
import { median } from './median.ts'
import { measureHotKey, measureLane, measureLanes } from './order-lanes.ts'
import { commandsRun } from './server-cost.ts'

const USAGE = `npm run bench:order -- [--entries 100000] [--rounds 7] [--keys 1000] [--only rate,slow,one,hot,lane,lanes]

Drains a stream by a plain consumer and by one with orderedBy, in turn, and prints events a second and commands per event of each (rate; slow: of handlers that take 2 ms); then the same of one key, beside a loop that
awaits each handler (one); how long a hot key takes to be back on the free path after one failure (hot); what 10,000 events cost behind one that failed (lane), and a run 100,000 keys that wait (lanes).

With --entries 1800000 --only rate each drain takes some ten seconds.`

const FIGURES = ['rate', 'slow', 'one', 'hot', 'lane', 'lanes'] as const

const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '7' },
    keys: { type: 'string', default: '1000' },
    only: { type: 'string', default: FIGURES.join() },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else await measure(Number(values.entries), Number(values.rounds), Number(values.keys), new Set(values.only.split(',')))

function consumerWith(use: ConsumerOptions['use'], handle: () => unknown = () => {}): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, handle)],
    use: use ?? [],
    maxPollers: 1,
    concurrency: 10,
  })
}

async function measure(entries: number, rounds: number, keys: number, only: ReadonlySet<string>): Promise<void> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  const order = orderedBy(({ aggregateId }) => aggregateId)
  const publish = async (count: number, among: number) => {
    const publisher = createPublisher({ stream: 'orders', redis, maxLength: 10_000_000 })
    for (let at = 0; at < count; at += 1_000)
      await publisher.publishMany(
        Array.from({ length: Math.min(1_000, count - at) }, (_, n) => {
          const key = `k${(at + n) % among}`
          return [Paid, { orderId: `o-${at + n}` }, { aggregateId: key }] as const
        }),
      )
  }
  /** Events per second, and commands per event. */
  const drain = async (use: ConsumerOptions['use'], count: number, among: number, handle?: () => unknown) => {
    await raw.flushall()
    // a group that was lost ends the run that makes it again
    await poll(consumerWith(use), { redis })
    await publish(count, among)
    const before = await commandsRun(raw)
    const start = performance.now()
    const report = await poll(consumerWith(use, handle), { redis, remainingMs: 600_000 })
    const ms = performance.now() - start
    if (report.acked !== count) throw new Error(`acked ${report.acked} of ${count}`)
    return {
      perSecond: (count / ms) * 1_000,
      commands: ((await commandsRun(raw)) - before) / count,
      trips: report.roundTrips / count,
    }
  }
  const compare = async (what: string, count: number, among: number, handle?: () => unknown) => {
    const plain: Awaited<ReturnType<typeof drain>>[] = []
    const ordered: typeof plain = []
    for (let round = 0; round < rounds; round++) {
      const sides = [
        () => drain([], count, among, handle).then((one) => plain.push(one)),
        () => drain([order], count, among, handle).then((one) => ordered.push(one)),
      ]
      for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side()
    }
    const of = (some: typeof plain, name: 'perSecond' | 'commands' | 'trips') => median(some.map((one) => one[name]))
    const shares = plain.map(({ perSecond }, n) => (ordered[n]?.perSecond ?? 0) / perSecond)
    const text = (some: typeof plain) =>
      `${Math.round(of(some, 'perSecond'))} events/s, ${of(some, 'commands').toFixed(3)} commands and ${of(some, 'trips').toFixed(4)} requests per event`
    console.log(
      `${what}: plain ${text(plain)}; orderedBy ${text(ordered)}; ${median(shares).toFixed(2)} x (${shares.map((share) => share.toFixed(2)).join(', ')})`,
    )
  }
  try {
    if (only.has('rate')) await compare(`${keys} keys, a handler that returns at once`, entries, keys)
    if (only.has('slow'))
      await compare(
        `${keys} keys, handlers of 2 ms`,
        Math.min(5_000, entries),
        keys,
        () => new Promise((resolve) => setTimeout(resolve, 2)),
      )
    if (only.has('one')) await oneKey()
    const world = { raw, redis }
    if (only.has('hot')) console.log(await measureHotKey(world))
    if (only.has('lane')) console.log(await measureLane(world, 10_000))
    if (only.has('lanes')) console.log(await measureLanes(world, 100_000))
  } finally {
    await redis.close()
    raw.disconnect()
    await server.stop()
  }

  async function oneKey(): Promise<void> {
    const wait = () => new Promise<void>((resolve) => void setTimeout(resolve, 1))
    const one: number[] = []
    const loop: number[] = []
    for (let round = 0; round < rounds; round++) {
      const start = performance.now()
      for (let n = 0; n < 1_000; n++) await wait()
      loop.push(1_000_000 / (performance.now() - start))
      one.push((await drain([order], 1_000, 1, wait)).perSecond)
    }
    console.log(
      `1 key, handlers of 1 ms: a loop ${Math.round(median(loop))} events/s; orderedBy ${Math.round(median(one))}; ${(median(one) / median(loop)).toFixed(2)} x`,
    )
  }
}

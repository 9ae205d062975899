import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startRedisServer } from '../tools/redis-server.ts'
import { TwoReaders } from './listen/hand-over.ts'
import type { Reader, ReaderName } from './listen/readers.ts'
import { publish, READERS, untilWaiting } from './listen/readers.ts'

const USAGE = `Usage: npm run bench:listen -- [--samples N] [--rounds N] [--handovers N]

Microseconds from publishing to a handler's start, p50 and p99: a poller that listens against a bare loop of XREADGROUP BLOCK, in alternating rounds on one private server. Then an event every 10 ms, for one
reader alone and for readers in two processes that take over from each other, in alternating rounds as well.`

const NAMES: readonly ReaderName[] = ['bare', 'listening']
const TITLES = { bare: 'bare XREADGROUP BLOCK', listening: 'mode listen' } as const satisfies Record<ReaderName, string>
/** The hand-overs are parted into so many rounds. */
const PACED_ROUNDS = 4
const WARM_UP = { events: 200, handovers: 3 } as const

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

async function main(samples: number, rounds: number, handovers: number): Promise<void> {
  if (![samples, rounds, handovers].every((value) => Number.isInteger(value) && value > 0)) throw new RangeError(USAGE)
  const server = await startRedisServer()
  const publisher = new Redis(server.url)
  try {
    await compareReaders(publisher, server.url, samples, rounds)
    for (const name of NAMES) await compareHandOvers(publisher, server.url, name, handovers)
  } finally {
    publisher.disconnect()
    await server.stop()
  }
}

async function compareReaders(publisher: Redis, url: string, samples: number, rounds: number): Promise<void> {
  const readers = NAMES.map((name) => [name, READERS[name](url)] as const)
  const times = { bare: [] as number[], listening: [] as number[] }
  // the first does not count
  for (let round = 0; round <= rounds; round++)
    for (const [name, reader] of readers) {
      const taken = await sample(publisher, reader, `${name}-${round}`, samples)
      if (round > 0) times[name].push(...taken)
    }
  for (const [, reader] of readers) await reader.close()
  for (const name of NAMES) print(TITLES[name], times[name])
  printRatio(times.listening, times.bare)
}

/** Publishes one event after the other, each once the one before was received. */
async function sample(publisher: Redis, reader: Reader, group: string, samples: number): Promise<number[]> {
  const times: number[] = []
  let received = () => {}
  const reading = reader.read(group, 600_000, () => received())
  await untilWaiting(publisher)
  for (let n = 0; n < samples; n++) {
    const { promise, resolve } = Promise.withResolvers<void>()
    received = () => {
      times.push(performance.now() - sentAt)
      resolve()
    }
    const sentAt = performance.now()
    void publish(publisher, n)
    await promise
    // the reader waits again by then
    await delay(1)
  }
  reader.stop()
  await reading
  return times
}

async function compareHandOvers(publisher: Redis, url: string, name: ReaderName, handovers: number): Promise<void> {
  const two = new TwoReaders(name, publisher, url)
  const each = Math.max(1, Math.ceil(handovers / PACED_ROUNDS))
  const [steady, handing]: [number[], number[]] = [[], []]
  try {
    await two.steady(WARM_UP.events)
    await two.handing(WARM_UP.handovers)
    for (let round = 0; round < PACED_ROUNDS; round++) {
      steady.push(...(await two.steady(each * 50)))
      handing.push(...(await two.handing(each)))
    }
  } finally {
    two.close()
  }
  print(`${TITLES[name]}, one`, steady)
  print(`${TITLES[name]}, ${PACED_ROUNDS * each} hand-overs`, handing)
  printRatio(handing, steady)
}

function print(name: string, times: readonly number[]): void {
  const us = (part: number) => Math.round(quantile(times, part) * 1_000)
  console.log(`${name.padEnd(36)} p50 ${us(0.5)} µs, p99 ${us(0.99)} µs, ${times.length} samples`)
}

function printRatio(ours: readonly number[], others: readonly number[]): void {
  const ratio = (part: number) => (quantile(ours, part) / quantile(others, part)).toFixed(2)
  console.log(`${'ratio'.padEnd(36)} p50 ${ratio(0.5)}, p99 ${ratio(0.99)}`)
}

function quantile(times: readonly number[], part: number): number {
  return times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(part * times.length))] as number
}

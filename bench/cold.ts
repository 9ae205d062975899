import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { bundle } from '../tools/bundle.ts'
import { startRedisServer } from '../tools/redis-server.ts'
import { BARE_GROUP, bare, ioredis, millrace } from './cold/contenders.ts'
import { type ColdStart, startCold } from './cold/start.ts'
import { median } from './median.ts'

const USAGE = 'Usage: npm run bench:cold -- [--rounds N] [--json]'
/** What this package is meant to reach. */
const TARGETS = { ratio: 1.2, overIoredisKb: 100 }
const WARM_UPS = 2

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, json: { type: 'boolean', default: false } },
})
if (!/^[1-9]\d*$/.test(options.rounds))
  throw new RangeError(
    `Cannot run the benchmark: --rounds must be a whole number from 1, got ${options.rounds}. ${USAGE}`,
  )

const folder = await mkdtemp(join(tmpdir(), 'millrace-cold-'))
const server = await startRedisServer()
try {
  const sizes = {
    millrace: toKb(await bundle(millrace.source, join(folder, 'millrace.mjs'))),
    ioredis: toKb(await bundle(ioredis, join(folder, 'ioredis.mjs'))),
  }
  await bundle(bare.source, join(folder, 'bare.mjs'))
  await prepare()
  const starts = await measure(Number(options.rounds))
  print(starts, sizes)
  const ratio = round(median(starts.map((pair) => total(pair.millrace) / total(pair.bare))), 3)
  if (options.json) console.log(JSON.stringify({ ratio, bundleKb: sizes.millrace, ioredisKb: sizes.ioredis }))
} finally {
  await server.stop()
  await rm(folder, { recursive: true })
}

interface Pair {
  readonly millrace: ColdStart
  readonly bare: ColdStart
}

/** An empty stream with a group for each, so that both read nothing and neither makes its group. */
async function prepare(): Promise<void> {
  const redis = new Redis(server.url)
  await redis.xgroup('CREATE', 'orders', BARE_GROUP, '$', 'MKSTREAM')
  redis.disconnect()
  await startCold(join(folder, 'millrace.mjs'), server.url)
}

/** In pairs whose order changes, so that a machine that slows down for a while hurts both alike. */
async function measure(rounds: number): Promise<Pair[]> {
  const pairs: Pair[] = []
  for (let n = -WARM_UPS; n < rounds; n++) {
    const first = n % 2 === 0 ? 'millrace' : 'bare'
    const second = first === 'bare' ? 'millrace' : 'bare'
    const starts = {} as Record<keyof Pair, ColdStart>
    for (const name of [first, second] as const) starts[name] = await startCold(join(folder, `${name}.mjs`), server.url)
    if (n >= 0) pairs.push(starts)
  }
  return pairs
}

function print(pairs: readonly Pair[], sizes: { readonly millrace: number; readonly ioredis: number }): void {
  const of = (name: keyof Pair, part: (start: ColdStart) => number) =>
    round(median(pairs.map((pair) => part(pair[name]))), 1).toFixed(1)
  const row = (name: keyof Pair) =>
    [of(name, ({ initMs }) => initMs), of(name, ({ firstMs }) => firstMs), of(name, total)]
      .map((cell) => cell.padStart(8))
      .join('')
  const ratio = round(median(pairs.map((pair) => total(pair.millrace) / total(pair.bare))), 2)
  console.log(`Cold start in AWS's runtime interface client, milliseconds, medians of ${pairs.length} interleaved pairs
                            init   first   total
the sample poller       ${row('millrace')}
a bare ioredis handler  ${row('bare')}

The poller takes ${ratio} x as long (<= ${TARGETS.ratio} ${met(ratio <= TARGETS.ratio)})
Its bundle has ${sizes.millrace} KB, ${round(sizes.millrace - sizes.ioredis, 1)} more than ioredis's own (<= ${TARGETS.overIoredisKb} ${met(sizes.millrace - sizes.ioredis <= TARGETS.overIoredisKb)})
init is from the process's start until it asks for an event, first until it asks for the next; the stream is empty
${availableParallelism()} cores, Node.js ${process.version}`)
}

function total({ initMs, firstMs }: ColdStart): number {
  return initMs + firstMs
}

function met(isMet: boolean): string {
  return isMet ? 'met' : 'not met'
}

function toKb(bytes: number): number {
  return round(bytes / 1_024, 1)
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

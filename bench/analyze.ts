import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { Redis } from 'ioredis'
import { startRedisServer } from '../tools/redis-server.ts'
import { fillStream } from './analyze/fill-stream.ts'
import { median } from './median.ts'

const USAGE = `npm run bench:analyze -- [--few 100000] [--many 10000000] [--rounds 3] [--per-second 60000]

Fills two streams on a private server, runs millrace analyze over each, with the values of a field, of which there are 1,000,000, and prints entries a
second, from the program's start to its end, and its peak memory; fails below so many a second of the larger one, or where that takes more than 10 % more
memory than the smaller one. The default needs 2 GB of memory.`

const MOST_GROWTH = 1.1
const PROGRAM = join(import.meta.dirname, '../dist/cli/main.js')
/** Loaded before the program: reports the memory that it took at most, in kilobytes, on its standard error. */
const REPORT_PEAK = `data:text/javascript,${encodeURIComponent("process.on('exit', () => console.error('peak', process.resourceUsage().maxRSS))")}`

const { values } = parseArgs({
  options: {
    few: { type: 'string', default: '100000' },
    many: { type: 'string', default: '10000000' },
    rounds: { type: 'string', default: '3' },
    'per-second': { type: 'string', default: '60000' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else process.exitCode = (await measure([Number(values.few), Number(values.many)], Number(values.rounds))) ? 0 : 1

interface Measured {
  readonly seconds: number
  readonly peakKb: number
}

/** @returns Whether both limits hold. */
async function measure(sizes: readonly number[], rounds: number): Promise<boolean> {
  const server = await startRedisServer()
  const raw = new Redis(server.url)
  const peaks: number[] = []
  let perSecond = 0
  try {
    for (const entries of sizes) {
      const stream = `orders-${entries}`
      await fillStream(raw, stream, entries)
      const all: Measured[] = []
      for (let round = 0; round < rounds; round++) all.push(await run(server.url, stream))
      perSecond = median(all.map(({ seconds }) => entries / seconds))
      const peakMb = median(all.map(({ peakKb }) => peakKb / 1_024))
      peaks.push(peakMb)
      console.log(`${entries} entries: ${Math.round(perSecond)} a second, at most ${peakMb.toFixed(1)} MB`)
    }
  } finally {
    raw.disconnect()
    await server.stop()
  }
  const growth = (peaks[1] as number) / (peaks[0] as number)
  console.log(`memory grows by ${((growth - 1) * 100).toFixed(1)} %`)
  return perSecond >= Number(values['per-second']) && growth <= MOST_GROWTH
}

async function run(url: string, stream: string): Promise<Measured> {
  const start = performance.now()
  const args = ['--import', REPORT_PEAK, PROGRAM, 'analyze', stream, '--redis', url, '--by', 'action']
  const { stderr } = await promisify(execFile)(process.execPath, args)
  return { seconds: (performance.now() - start) / 1_000, peakKb: Number(/^peak (\d+)$/m.exec(stderr)?.[1]) }
}

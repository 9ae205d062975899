import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startRedisServer } from './redis-server.ts'

const USAGE = `npm run letters -- [--count N]

Shows what memory millrace dlq takes for few and for many letters: lists them as a table and as JSON, redrives them, and drops them, on a private
server. Ends with 1 if a command fails, or if its memory grows by more than 30 MB from a hundredth of the letters to all.

  count  letters (default: 1,000,000)`

const MOST_GROWTH_BYTES = 30_000_000
const AT_ONCE = 10_000
const SAMPLE_MS = 50
/** A small young generation: of 2 MB that live V8 makes one of 134 MB, where it is left to itself, which says nothing of what is kept. */
const V8_OPTIONS = ['--max-old-space-size=48', '--max-semi-space-size=1']
const GROUP = ['--stream', 'orders', '--group', 'billing']
const DLQ = '{orders}:billing:dlq'

/** What is run, in that order: redriving takes away what drop would find, so that letters are added anew before it. */
const COMMANDS: readonly { readonly name: string; readonly args: readonly string[]; readonly empties?: boolean }[] = [
  { name: 'ls', args: ['ls', '--limit', '100000000'] },
  { name: 'ls --json', args: ['ls', '--json'] },
  { name: 'redrive', args: ['redrive', '--all'], empties: true },
  { name: 'drop', args: ['drop', '--all', '--yes'], empties: true },
]

const { values } = parseArgs({ options: { count: { type: 'string' }, help: { type: 'boolean' } } })
if (values.help) console.log(USAGE)
else process.exitCode = await main(Number(values.count ?? 1_000_000))

async function main(count: number): Promise<number> {
  const server = await startRedisServer()
  const redis = new Redis(server.url)
  let isFine = true
  try {
    console.log('| command | letters | lines | seconds | peak MB |\n| --- | --- | --- | --- | --- |')
    for (const { name, args, empties } of COMMANDS) {
      const peaks: number[] = []
      for (const letters of [count / 100, count]) {
        await setUp(redis, letters, !empties)
        const { code, lines, seconds, peakBytes } = await measure([...args, ...GROUP, '--redis', server.url])
        peaks.push(peakBytes)
        if (code !== 0) isFine = false
        console.log(`| ${name} | ${letters} | ${lines} | ${seconds.toFixed(1)} | ${(peakBytes / 1e6).toFixed(0)} |`)
        if (empties && (await redis.xlen(DLQ)) > 0) isFine = false
      }
      if (Number(peaks[1]) - Number(peaks[0]) > MOST_GROWTH_BYTES) isFine = false
    }
  } finally {
    redis.disconnect()
    await server.stop()
  }
  console.log(isFine ? 'all of it in memory that does not grow' : 'a command failed, or its memory grew')
  return isFine ? 0 : 1
}

/** That many letters, whose entries are in the stream. */
async function setUp(redis: Redis, count: number, mayKeep: boolean): Promise<void> {
  if (mayKeep && (await redis.xlen(DLQ)) === count) return
  await redis.flushall()
  await redis.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
  const head = `'originalStream','orders','originalId',n..'-1','group','billing','consumer','poller-0','eventId','','eventType','OrderPaid',
    'reason','invalid','errorName','E','errorMessage','m','deliveryCount','1','lastDeliveredAt','x','failedAt','x','fieldCount','1','payload','1'`
  for (let from = 1; from <= count; from += AT_ONCE) {
    const to = Math.min(count, from + AT_ONCE - 1)
    const script = `for n = ${from}, ${to} do
      redis.call('XADD', KEYS[1], n..'-1', 'payload', '1')
      redis.call('XADD', KEYS[2], n..'-0', ${head})
    end`
    await redis.eval(script, 2, 'orders', DLQ)
  }
  await redis.xgroup('SETID', 'orders', 'billing', '$')
}

interface Measured {
  readonly code: number
  readonly lines: number
  readonly seconds: number
  readonly peakBytes: number
}

/** Runs `millrace dlq`, counts its lines, and asks Linux for the most memory it had. */
async function measure(args: readonly string[]): Promise<Measured> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, [...V8_OPTIONS, 'dist/cli/main.js', 'dlq', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let lines = 0
  createInterface(child.stdout).on('line', () => lines++)
  let peakBytes = 0
  const closed = once(child, 'close') as Promise<[number]>
  let isOver = false
  void closed.then(() => {
    isOver = true
  })
  while (!isOver) {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    peakBytes = Math.max(peakBytes, 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0))
    await sleep(SAMPLE_MS)
  }
  const [code] = await closed
  return { code, lines, seconds: (performance.now() - startedAt) / 1_000, peakBytes }
}

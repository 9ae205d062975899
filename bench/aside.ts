import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startRedisServer } from '../tools/redis-server.ts'
import { CALLS, type CallName, measureCalls, type Times } from './aside/calls.ts'
import { place, STATES, type State, seed } from './aside/world.ts'
import { median } from './median.ts'

const USAGE = `Usage: npm run bench:aside -- [--entries N[,N]] [--rounds N]

Milliseconds that a claimer's calls take of the server's main thread beside what is set aside, the median and the worst, and bytes per entry of its index. On the
redis-server that is found, and on those that MILLRACE_REDIS_BINARIES lists. What took longer than its bound by the clock is listed, with the commands inside it: on a busy
machine other programs have some of that time. Ends with 1 where the thread ran for longer than the bound in a page, a start, a settlement or a take.`

/** No other command is served meanwhile: above so many milliseconds a call of that kind is too long. */
const BOUND_MS: Readonly<Partial<Record<CallName, number>>> = { page: 10, start: 10, settle: 10, take: 10 }

/** What is listed of the other calls. */
const LONG_MS = 10

/** A line of the table. */
interface Row {
  readonly server: string
  readonly entries: number
  readonly state: State
  readonly bytes: number
  readonly times: Times
}

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '100000,1000000' },
    rounds: { type: 'string', default: '50' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) console.log(USAGE)
else await main(values.entries.split(',').map(Number), Number(values.rounds))

async function main(sizes: readonly number[], rounds: number): Promise<void> {
  if (!sizes.every(isWhole) || !isWhole(rounds)) throw new RangeError(USAGE)
  console.log(`| server | set aside | state | ${CALLS.map((name) => `\`${name}\``).join(' | ')} | bytes per entry |`)
  console.log(`| --- | --- | --- |${' --- |'.repeat(CALLS.length + 1)}`)
  for (const program of programs()) for (const entries of sizes) await measure(program, entries, rounds)
}

function isWhole(value: number): boolean {
  return Number.isInteger(value) && value > 0
}

function programs(): (string | undefined)[] {
  return [undefined, ...(process.env.MILLRACE_REDIS_BINARIES ?? '').split(/[:,\s]+/).filter(Boolean)]
}

async function measure(program: string | undefined, entries: number, rounds: number): Promise<void> {
  const server = await startRedisServer({ program })
  const redis = new Redis(server.url, { maxRetriesPerRequest: 0 })
  try {
    const name = await nameOf(redis)
    await seed(redis, entries)
    for (const state of STATES) {
      const bytes = await place(redis, entries, state)
      print({ server: name, entries, state, bytes, times: await measureCalls(redis, state, rounds) })
    }
  } finally {
    redis.disconnect()
    await server.stop()
  }
}

async function nameOf(redis: Redis): Promise<string> {
  const info = await redis.info('server')
  const [, valkey] = /^valkey_version:(\S+)/m.exec(info) ?? []
  return valkey ? `Valkey ${valkey}` : `Redis ${/^redis_version:(\S+)/m.exec(info)?.[1]}`
}

function print({ server, entries, state, bytes, times }: Row): void {
  const cells = CALLS.map((name) => cellOf(times[name].map(({ cpuMs }) => cpuMs)))
  console.log(
    `| ${server} | ${entries.toLocaleString('en-US')} | ${state} | ${cells.join(' | ')} | ${Math.round(bytes)} |`,
  )
  for (const name of CALLS) {
    const bound = BOUND_MS[name] ?? LONG_MS
    const long = times[name].filter(({ ms }) => ms > bound).toSorted((a, b) => b.cpuMs - a.cpuMs)
    const [worst] = long
    if (!worst) continue
    const what = `${long.length} of ${times[name].length} ${name}`
    console.error(
      `${server}, ${entries}, ${state}: ${what} took more than ${bound} ms; at most ${worst.cpuMs.toFixed(1)} ms of CPU: ${worst.profile}`,
    )
    if (BOUND_MS[name] !== undefined && worst.cpuMs > bound) process.exitCode = 1
  }
}

/** The median, and the worst. */
function cellOf(ms: readonly number[]): string {
  return ms.length === 0 ? '' : `${median(ms).toFixed(2)} / ${Math.max(...ms).toFixed(2)}`
}

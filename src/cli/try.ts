import { readServerNameAndVersion, type TryCheckResult, tryServer } from '../operate/try/try-server.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { connectInspectionTargets, TARGET_CLI_OPTIONS } from './targets.ts'
import { printable } from './text/printable.ts'

const USAGE = `millrace try [--redis URL]

Tries a server against all that Millrace needs of it, in two minutes at most. It does so in keys of its own, {millrace-try-…}, and removes them; they take
a few megabytes meanwhile. Prints what the server does otherwise, and the row for the table of servers.

  --redis URL  the server: redis://, rediss:// or https:// (default: the variable REDIS_URL)

Its user may do everything with those keys, DEL among it. Ends with 0 where the server does all of it, else with 1.`

/**
 * `millrace try`: checks a server, and prints its row.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {RedisConnectionError} The server cannot be reached.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { redis: url, help } = TARGET_CLI_OPTIONS
  const { values } = parseCommandLine({ name: 'try', usage: USAGE }, args, { redis: url, help }, false)
  if (values.help) return console.log(USAGE)
  const { redis } = await connectInspectionTargets('try', [], values)
  try {
    const server = await readServerNameAndVersion(redis)
    const tried: TryCheckResult[] = []
    for await (const one of tryServer(redis, signal)) {
      tried.push(one)
      console.log(printable(one.problem === undefined ? `ok    ${one.name}` : `fails ${one.name}: ${one.problem}`))
    }
    if (signal.aborted) return console.error('Stopped before the end')
    console.log(`\n| server | over | checks | what fails |\n| --- | --- | --- | --- |`)
    console.log(rowOf(server, redis.maxPendingPerName === undefined ? 'TCP' : 'REST', tried))
    if (tried.some(hasFailed)) process.exitCode = 1
  } finally {
    await redis.close()
  }
}

function rowOf(server: string, over: 'TCP' | 'REST', tried: readonly TryCheckResult[]): string {
  const failed = tried.filter(hasFailed)
  const names = failed.map(({ name }) => name).join('; ') || 'nothing'
  return `| ${printable(server)} | ${over} | ${tried.length - failed.length} of ${tried.length} | ${names} |`
}

function hasFailed({ problem }: TryCheckResult): boolean {
  return problem !== undefined
}

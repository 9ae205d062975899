import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { parseArgs, promisify } from 'node:util'
import { DEBIAN_SERVERS, unpackServer } from './debian-servers.ts'
import { findRedisServer } from './redis-server.ts'

/** What is run on a server, by name: the tests whose outcome may depend on it. Clusters and Sentinel start servers of their own, by the dozen. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  contract: ['test/group/redis-group', 'test/group/upstash-group', 'test/group/commands'],
  scenarios: ['test/scenarios', '--exclude', 'test/scenarios/{cluster,sentinel}.test.ts'],
  model: ['test/model'],
  acl: ['test/infra/acl.test.ts'],
  doctor: ['test/doctor'],
  cli: ['test/cli'],
  runbook: ['test/docs/runbook.test.ts'],
}

interface Server {
  readonly name: string
  /** Of what starts it. @throws {Error} It cannot be had here. */
  readonly program: () => Promise<string>
}

interface Row {
  readonly server: string
  readonly version: string
  /** By suite: how many passed, or what failed. */
  readonly results: Readonly<Record<string, string>>
}

const USAGE = `npm run test:matrix -- [--servers NAME,…] [--suites NAME,…]

Runs tests on every server that can be had: this machine's own, those that Debian has in other suites (unpacked into a cache, not installed), and
those that MILLRACE_REDIS_BINARIES lists by their paths. Says what ran, and what could not be had.

  servers  own, ${DEBIAN_SERVERS.map(({ name }) => name).join(', ')}, given (default: all)
  suites   ${Object.keys(SUITES).join(', ')} (default: all)`

const { values } = parseArgs({
  options: { servers: { type: 'string' }, suites: { type: 'string' }, help: { type: 'boolean' } },
})
if (values.help) console.log(USAGE)
else process.exitCode = await main(values.servers?.split(','), values.suites?.split(','))

/** @returns The exit code: 1 if a test failed. What could not be had is said. */
async function main(wanted: readonly string[] | undefined, suites = Object.keys(SUITES)): Promise<number> {
  for (const suite of suites) if (!SUITES[suite]) throw new Error(`No suite ${suite}; known are ${Object.keys(SUITES)}`)
  const servers = allServers().filter(({ name }) => wanted === undefined || wanted.includes(name))
  const rows: Row[] = []
  const missing: string[] = []
  for (const { name, program } of servers) {
    const path = await program().catch((error: Error) => void missing.push(`${name}: ${reasonOf(error)}`))
    if (path !== undefined) rows.push(await runOn(name, path, suites))
  }
  print(rows, suites)
  for (const text of missing) console.log(`could not be had: ${text}`)
  console.log(`${rows.length} of ${servers.length} servers ran`)
  const failed = rows.some(({ results }) => Object.values(results).some((result) => /fail/.test(result)))
  return failed ? 1 : 0
}

function allServers(): Server[] {
  const given = (process.env.MILLRACE_REDIS_BINARIES ?? '').split(/[:,\s]+/).filter(Boolean)
  return [
    { name: 'own', program: findRedisServer },
    ...DEBIAN_SERVERS.map((server) => ({ name: server.name, program: () => unpackServer(server) })),
    ...given.map((path) => ({ name: 'given', program: async () => path })),
  ]
}

async function runOn(server: string, path: string, suites: readonly string[]): Promise<Row> {
  const { stdout } = await promisify(execFile)(path, ['--version'])
  const version = /(\w+) server v=(\S+)/.exec(stdout)?.slice(1).join(' ') ?? 'unknown'
  const results: Record<string, string> = {}
  for (const suite of suites) {
    console.log(`\n== ${server} (${version}): ${suite}`)
    results[suite] = await runSuite(path, SUITES[suite] ?? [])
  }
  return { server, version, results }
}

/** Runs a suite's files against a server, and shows what failed. */
async function runSuite(path: string, files: readonly string[]): Promise<string> {
  const env = { ...process.env, MILLRACE_REDIS_SERVER: path, MILLRACE_REDIS_BINARIES: '' }
  const child = spawn('npx', ['vitest', 'run', ...files], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let summary = 'no tests ran: failed'
  const lines = createInterface(child.stdout)
  lines.on('line', (line) => {
    if (line.startsWith('tests: ')) summary = line.slice('tests: '.length)
    else if (/FAIL|Error/.test(line)) console.log(line)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  const [, passed = '0', failed = '0', skipped = '0'] = /(\d+) passed, (\d+) failed, (\d+) skipped/.exec(summary) ?? []
  if (code !== 0) return `${failed} of ${Number(passed) + Number(failed)} fail`
  return skipped === '0' ? `${passed} pass` : `${passed} pass, ${skipped} skipped`
}

/** The table, as the README has it. */
function print(rows: readonly Row[], suites: readonly string[]): void {
  const line = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`)
  console.log('')
  line(['server', ...suites])
  line(['---', ...suites.map(() => '---')])
  for (const { version, results } of rows) line([version, ...suites.map((suite) => results[suite] ?? '')])
  console.log('')
}

function reasonOf(error: Error): string {
  return error.message.split('\n').find((line) => line.startsWith('E: ')) ?? error.message.split('\n')[0] ?? ''
}

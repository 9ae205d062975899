import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { parseArgs, promisify } from 'node:util'
import { DEBIAN_SERVERS, unpackServer } from './debian-servers.ts'
import { findRedisServer } from './redis-server.ts'

interface Suite {
  readonly files: readonly string[]
  /** What scenarios connect over, by its name in test/support/clients.ts. Default: a URL. */
  readonly client?: string
}

/** Without those that start a dozen servers of their own; a cluster is run only by the suite. */
const SCENARIOS = ['test/scenarios', '--exclude', 'test/scenarios/{cluster,sentinel}.test.ts']
/** Without those of the settings that a URL brings, which a client of a factory has not. */
const OF_FACTORIES = ['test/scenarios', '--exclude', 'test/scenarios/{cluster,sentinel,faults,leftovers}.test.ts']

/** What hangs most on a server: deliveries, what is pending, trimmed, due, lost, redriven, and inspected. */
const ESSENTIALS = [
  'answers',
  'claimer',
  'coverage',
  'inspect',
  'last-moments',
  'lost-groups',
  'main-job',
  'over-rest',
  'pending-list',
  'poison',
  'publishing',
  'redrive',
  'servers',
  'settlement',
  'trimmed',
  'wake-up',
].map((name) => `test/scenarios/${name}.test.ts`)

/** What is run on a server, by name: the tests whose outcome may depend on it. The contract is run over ioredis 5 and 6, RESP2 and RESP3, and REST. */
const SUITES: Readonly<Record<string, Suite>> = {
  contract: { files: ['test/group/redis/redis-group', 'test/group/redis/upstash-group', 'test/group/redis/commands'] },
  scenarios: { files: SCENARIOS },
  'scenarios-ioredis-5': { files: OF_FACTORIES, client: 'ioredis 5' },
  'scenarios-resp3': { files: OF_FACTORIES, client: 'RESP3' },
  sentinel: { files: ['test/scenarios/sentinel.full.test.ts'] },
  tls: { files: ['test/clients/server-tls.test.ts', 'test/clients/tls.full.test.ts'] },
  model: { files: ['test/model'] },
  acl: { files: ['test/infra/acl.test.ts'] },
  doctor: { files: ['test/operate/doctor'] },
  cli: { files: ['test/cli'] },
  runbook: { files: ['test/docs/runbook.test.ts'] },
}

/** Parts of suites, which are run where they are named. */
const PARTS: Readonly<Record<string, Suite>> = { essentials: { files: ESSENTIALS } }

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
  suites   ${Object.keys(SUITES).join(', ')} (default: all), ${Object.keys(PARTS).join(', ')}`

const { values } = parseArgs({
  options: { servers: { type: 'string' }, suites: { type: 'string' }, help: { type: 'boolean' } },
})
if (values.help) console.log(USAGE)
else process.exitCode = await main(values.servers?.split(','), values.suites?.split(','))

/** @returns The exit code: 1 if a test failed. What could not be had is said. */
async function main(wanted: readonly string[] | undefined, suites = Object.keys(SUITES)): Promise<number> {
  const known = { ...SUITES, ...PARTS }
  for (const suite of suites) if (!known[suite]) throw new Error(`No suite ${suite}; known are ${Object.keys(known)}`)
  const all = allServers()
  for (const name of wanted ?? [])
    if (!all.some((server) => server.name === name))
      throw new Error(`No server ${name}; known are ${all.map((server) => server.name)}`)
  const servers = all.filter(({ name }) => wanted === undefined || wanted.includes(name))
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
    results[suite] = await runSuite(path, SUITES[suite] ?? (PARTS[suite] as Suite))
  }
  return { server, version, results }
}

/** Runs a suite's files against a server, and shows what failed. */
async function runSuite(path: string, { files, client }: Suite): Promise<string> {
  const over = client === undefined ? {} : { MILLRACE_CLIENT: client }
  const env = { ...process.env, MILLRACE_REDIS_SERVER: path, MILLRACE_REDIS_BINARIES: '', ...over }
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

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findRedisServer } from './find-redis-server.ts'
import { guard, unref } from './guard.ts'

export { findRedisServer } from './find-redis-server.ts'

const HOST = '127.0.0.1'
/** Where a user's own Redis listens; nothing here may touch it. */
const WELL_KNOWN_PORT = 6379
const PORT_ATTEMPTS = 10
const PORT_RETRY_MS = 50
const START_TIMEOUT_MS = 10_000
const STOP_TIMEOUT_MS = 2_000
const PING_INTERVAL_MS = 4
const PING_TIMEOUT_MS = 1_000
const BIND_FAILURE_MS = 50
const LAST_OUTPUT_MS = 20
const KEPT_OUTPUT_CHARACTERS = 8_000

/** How a private server differs from the plain one. */
export interface PrivateRedisOptions {
  /** More arguments for redis-server, after and so above our own: `['--maxmemory', '4mb']`. */
  readonly args?: readonly string[]
  /** The server's program. Default: what `findRedisServer()` finds. */
  readonly program?: string | undefined
  /** Its working directory, created if missing and kept by `stop()`. Default: a temporary one, removed by `stop()`. */
  readonly dir?: string
  /** Lines of a configuration file, which `args` come after: a sentinel keeps its state in it. Default: no file. */
  readonly config?: readonly string[]
  /** Port on 127.0.0.1, never 6379. Default: a free one. */
  readonly port?: number
}

/** A redis-server of our own: in memory only, on loopback only, gone when this process is. */
export interface PrivateRedis {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly dir: string
  /** The running process; another one after `restart()`. */
  readonly process: ChildProcess
  readonly pid: number
  /** Sends the signal and does not wait: SIGKILL for a crash, SIGSTOP and SIGCONT for a hang. */
  kill(signal: NodeJS.Signals): void
  /** Stops the server if it runs, and starts it on the same port and directory. Data survives only if `args` say so. */
  restart(): Promise<void>
  /** Stops the server, SIGTERM then SIGKILL, and removes its temporary directory. May be called twice. */
  stop(): Promise<void>
}

/**
 * Starts a private redis-server and waits until it answers.
 *
 * @throws {RangeError} `options.port` is 6379.
 * @throws {Error} The server did not start; the message ends with what it printed.
 */
export async function startRedisServer(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  if (options.port === WELL_KNOWN_PORT) throw new RangeError('Cannot start a private Redis: port must not be 6379')
  const program = options.program ?? (await findRedisServer())
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'millrace-redis-')))
  await mkdir(dir, { recursive: true })
  const removeDir = () => (options.dir === undefined ? rm(dir, { recursive: true, force: true }) : undefined)

  const file = options.config === undefined ? [] : [join(dir, 'redis.conf')]
  for (const path of file) await writeFile(path, (options.config ?? []).join('\n'))
  const launch = { program, dir, file, args: options.args ?? [] }
  let server = await launchServer(launch, options.port).catch(async (error: unknown) => {
    await removeDir()
    throw error
  })
  const { port } = server
  return {
    url: `redis://${HOST}:${port}`,
    host: HOST,
    port,
    dir,
    get process() {
      return server.child
    },
    get pid() {
      return pidOf(server.child)
    },
    kill(signal) {
      server.child.kill(signal)
    },
    async restart() {
      await stopServer(server)
      server = await launchServer(launch, port)
    },
    async stop() {
      await stopServer(server)
      await removeDir()
    },
  }
}

interface Launch {
  readonly program: string
  readonly dir: string
  /** The configuration file, if there is one. */
  readonly file: readonly string[]
  readonly args: readonly string[]
}

interface SpawnedServer {
  readonly child: ChildProcess
  readonly port: number
  /** The end of what it has printed. */
  readonly output: () => string
}

/** Between choosing a port and redis binding it another process may take it, so there are several attempts. */
async function launchServer(launch: Launch, fixedPort: number | undefined): Promise<SpawnedServer> {
  for (let attempt = 1; ; attempt++) {
    const port = fixedPort ?? (await findFreePort())
    const server = spawnServer(launch, port)
    const failure = await waitUntilReady(server)
    if (failure === undefined) return server
    await stopServer(server)
    const isPortTaken = failure.includes('Address already in use')
    if (!isPortTaken || attempt === PORT_ATTEMPTS)
      throw new Error(`Cannot start redis-server on port ${port}: ${failure}`)
    await sleep(PORT_RETRY_MS)
  }
}

function spawnServer({ program, dir, file, args }: Launch, port: number): SpawnedServer {
  const own = [...file, '--port', `${port}`, '--bind', HOST, '--dir', dir, '--save', '', '--appendonly', 'no']
  const child = spawn(program, [...own, '--daemonize', 'no', '--loglevel', 'warning', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const keep = (chunk: string) => {
    output = (output + chunk).slice(-KEPT_OUTPUT_CHARACTERS)
  }
  child.stdout.setEncoding('utf8').on('data', keep)
  child.stderr.setEncoding('utf8').on('data', keep)
  child.on('error', (error) => keep(error.message))
  unref(child)
  guard(child)
  return { child, port, output: () => output.trim() }
}

/** Resolves to nothing once the server answers, or to why it never will. */
async function waitUntilReady({ child, port, output }: SpawnedServer): Promise<string | undefined> {
  const giveUpAt = Date.now() + START_TIMEOUT_MS
  while (isRunning(child)) {
    const answer = await ping(port)
    if (answer === pidOf(child)) return undefined
    if (answer === 'refused' && (await keepsRunning(child))) return undefined
    if (Date.now() > giveUpAt) return `no answer to PING within ${START_TIMEOUT_MS} ms. ${output()}`
    await sleep(PING_INTERVAL_MS)
  }
  await sleep(LAST_OUTPUT_MS)
  return output() || `it ended with ${child.exitCode ?? child.signalCode}`
}

/** What answers on the port: a server that reports its process id, one that wants a password first, or none yet. */
type Answer = number | 'refused' | 'none'

/** Asks for the process id as well: on a port that was taken meanwhile, somebody else's server answers. */
function ping(port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port, timeout: PING_TIMEOUT_MS })
    const settle = (answer: Answer) => {
      resolve(answer)
      socket.destroy()
    }
    let reply = ''
    socket.once('connect', () => socket.write('PING\r\nINFO server\r\n'))
    socket.setEncoding('utf8').on('data', (chunk) => {
      reply += chunk
      const answer = readAnswer(reply)
      if (answer !== undefined) settle(answer)
    })
    for (const end of ['timeout', 'error', 'close']) socket.once(end, () => settle('none'))
  })
}

function readAnswer(reply: string): Answer | undefined {
  if (reply.startsWith('-LOADING')) return 'none'
  if (/^(\+PONG\r\n)?-/.test(reply)) return 'refused'
  const pid = /process_id:(\d+)\r\n/.exec(reply)?.[1]
  return pid === undefined ? undefined : Number(pid)
}

/** A server that could not bind its port ends within this time. */
async function keepsRunning(child: ChildProcess): Promise<boolean> {
  await sleep(BIND_FAILURE_MS)
  return isRunning(child)
}

async function stopServer({ child }: SpawnedServer): Promise<void> {
  if (!isRunning(child)) return
  child.ref()
  const exited = once(child, 'exit')
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  child.kill('SIGTERM')
  child.kill('SIGCONT') // a stopped process does not see its SIGTERM
  await exited
  clearTimeout(killer)
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('redis-server has no process id: it never started')
  return child.pid
}

async function findFreePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, HOST)
    await once(server, 'listening')
    const address = server.address()
    server.close()
    await once(server, 'close')
    if (address !== null && typeof address === 'object' && address.port !== WELL_KNOWN_PORT) return address.port
  }
}

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, realpath, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { guard, unref } from './guard.ts'
import { findInPath, findOrInstall, isExecutable } from './install-once.ts'

const run = promisify(execFile)
const START_TIMEOUT_MS = 30_000
const CHECK_EVERY_MS = 10
const READY = 'ready to accept connections'
/** Where Debian has its programs, a folder a version. */
const DEBIAN_FOLDER = '/usr/lib/postgresql'
const HOST = '127.0.0.1'
const ARGUMENTS = ['-h', HOST, '-c', 'fsync=off', '-c', 'max_connections=50']

/** A PostgreSQL of our own: on loopback only, gone when this process is. */
export interface PrivatePostgres {
  /** `postgres://…`, as drivers take it. */
  readonly url: string
  /** Stops the server and removes its folder. May be called twice. */
  stop(): Promise<void>
}

/**
 * Finds the program `postgres`, and installs it without asking if there is none: along `PATH`, in Debian's folder, then with apt-get or brew. `initdb` is beside it.
 *
 * @throws {Error} Nothing here can install it, or the installation failed.
 */
function findPostgres(): Promise<string> {
  return findOrInstall({
    name: 'postgres',
    find: async () => (await findInPath('postgres')) ?? (await findInDebian()),
    aptPackages: ['postgresql'],
    brewFormula: 'postgresql',
    howToInstall: 'Install PostgreSQL 14 or newer ("apt-get install postgresql", "brew install postgresql")',
  })
}

async function findInDebian(): Promise<string | undefined> {
  const versions = await readdir(DEBIAN_FOLDER).catch(() => [])
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) {
    const program = join(DEBIAN_FOLDER, version, 'bin/postgres')
    if (await isExecutable(program)) return program
  }
  return undefined
}

/**
 * Starts a private PostgreSQL with an empty database, and waits until it takes connections.
 *
 * @throws {Error} It did not start; the message ends with what it printed.
 */
export async function startPostgres(): Promise<PrivatePostgres> {
  const program = await realpath(await findPostgres())
  const folder = await mkdtemp(join(tmpdir(), 'millrace-postgres-'))
  const who = await userFor(folder)
  const data = join(folder, 'data')
  try {
    const initdb = ['--pgdata', data, '--username', 'postgres', '--auth', 'trust', '--encoding', 'UTF8', '--no-sync']
    await run(join(dirname(program), 'initdb'), [...initdb, '--locale', 'C.UTF-8'], { ...who, cwd: folder })
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  const port = await findFreePort()
  const child = spawn(program, ['-D', data, '-k', folder, '-p', `${port}`, ...ARGUMENTS], {
    ...who,
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  unref(child)
  guard(child)
  const stop = async () => {
    await end(child)
    await rm(folder, { recursive: true, force: true })
  }
  const giveUpAt = Date.now() + START_TIMEOUT_MS
  while (!output.includes(READY)) {
    if (isRunning(child) && Date.now() < giveUpAt) await sleep(CHECK_EVERY_MS)
    else {
      await stop()
      throw new Error(`Cannot start postgres: ${output.trim()}`)
    }
  }
  return { url: `postgres://postgres@${HOST}:${port}/postgres`, stop }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** It refuses to run as root: then it runs as Debian's `postgres`, or as nobody. */
async function userFor(folder: string): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {}
  const idOf = async (option: string) => Number((await run('id', [option, 'postgres'])).stdout)
  const [uid, gid] = await Promise.all([idOf('-u'), idOf('-g')]).catch(() => [65_534, 65_534])
  await chown(folder, uid as number, gid as number)
  return { uid: uid as number, gid: gid as number }
}

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  child.ref()
  const exited = once(child, 'exit')
  child.kill('SIGQUIT') // at once: nothing in it is of use any more
  await exited
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}
